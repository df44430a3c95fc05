"""PII: finds what identifies a person in a text, by its form and, where it has one, its checksum.

It finds forms, not meanings: names and street addresses stay. Each kind is a pattern that runs
in time linear in the text, and a check that a match has to pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

LONGEST: Final = 1200
"""More characters than any match has. An email address is the longest: 9 parts of 64, `@`, and 10 of 63."""

LOOKAHEAD: Final = 2
"""Characters behind a match that its pattern looks at."""

Span = tuple[int, int, str]
"""Start, end and kind of one finding."""


def find_pii(text: str, kinds: Sequence[str], start: int = 0, end: int | None = None) -> list[Span]:
    """Find the given kinds, in the order of the text, without overlaps.

    With `start` and `end`, only what lies between them; patterns look at what stands around.

    Where two kinds claim the same characters, the more specific one has them: the order of `KINDS`.
    """
    found: list[Span] = []
    taken = bytearray(len(text))  # 1 where a finding is
    last = len(text) if end is None else end
    for kind, (pattern, check) in KINDS.items():
        for match in pattern.finditer(text, start) if kind in kinds else ():
            first, behind = match.span()
            if behind <= last and taken.find(1, first, behind) < 0 and check(match[0]):
                taken[first:behind] = b"\x01" * (behind - first)
                found.append((first, behind, kind))
    return sorted(found)


def redact(text: str, replacements: Mapping[str, str], start: int = 0, end: int | None = None) -> str:
    """Give the text from `start` to `end`, each finding in it replaced by what `replacements` gives for its kind."""
    pieces, position = [], start
    for first, behind, kind in find_pii(text, list(replacements), start, end):
        pieces += [text[position:first], replacements[kind]]
        position = behind
    return "".join([*pieces, text[position:end]])


def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


def _is_card(text: str) -> bool:
    """Luhn's check (ISO/IEC 7812-1), over 13 to 19 digits that are not all the same."""
    digits = _digits(text)
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = [sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(int(digit) for digit in digits[::-2])) % 10 == 0


def _is_iban(text: str) -> bool:
    """The check of ISO 13616: the country and check digits moved to the end, modulo 97 it leaves 1."""
    compact = text.replace(" ", "")
    if not 15 <= len(compact) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in compact[4:] + compact[:4])) % 97 == 1


def _is_ipv4(text: str) -> bool:
    return all(int(part) <= 255 for part in text.split("."))


def _is_us_ssn(text: str) -> bool:
    """Areas 000, 666 and 900 to 999, group 00 and serial 0000 are never given out."""
    area, group, serial = re.split("[- ]", text)
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def _is_phone(text: str) -> bool:
    """E.164 allows 15 digits; below 8 there is too little to tell a number by."""
    return 8 <= len(_digits(text)) <= 15


_PHONES: Final = (
    r"\+\d{1,3}(?:[ .\-/]?\(?\d{1,5}\)?){2,6}",  # international: +49 (30) 1234567
    r"\(\d{2,5}\) ?\d{3,4}(?:[ \-]?\d{2,5}){1,2}",  # area in brackets: (555) 123-4567
    r"\d{3}([ .\-])\d{3}\1\d{4}",  # North America: 555-123-4567
    r"0\d{2,4}[ /\-]\d{3,12}(?:[ \-]\d{2,5}){0,3}",  # national, with trunk prefix: 030 1234567
)

KINDS: Final[Mapping[str, tuple[re.Pattern[str], Callable[[str], bool]]]] = {
    "email": (
        re.compile(
            r"(?<![\w.+\-])[A-Za-z0-9_%+\-]{1,64}(?:\.[A-Za-z0-9_%+\-]{1,64}){0,8}"
            r"@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){0,8}\.[A-Za-z]{2,24}\b"
        ),
        lambda text: True,
    ),
    "iban": (re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), _is_iban),
    "credit_card": (re.compile(r"(?<![\w.\-])\d(?:[ \-]?\d){12,18}(?![\w\-]|\.\d)"), _is_card),
    "us_ssn": (re.compile(r"(?<![\w.\-])\d{3}([- ])\d{2}\1\d{4}(?![\w\-]|\.\d)"), _is_us_ssn),
    "ipv4": (re.compile(r"(?<![\w.\-])\d{1,3}(?:\.\d{1,3}){3}(?![\w\-]|\.\d)"), _is_ipv4),
    "phone": (re.compile(rf"(?<![\w.\-/+])(?:{'|'.join(_PHONES)})(?![\w\-/]|\.\d)"), _is_phone),
}
