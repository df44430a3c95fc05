"""PII stream: step `redact` on a text that comes in pieces.

A text is given up to a cut that no finding can reach across, whatever follows. After most words
there is one: no kind goes on behind a space that follows a small letter or a mark. So a word is held
back until its end, and groups of digits, or of capital letters, until what follows them.

A run without any such place is cut where all decisions before it have been made, since no match is
longer than `LONGEST`. Only matches that overlap one another without a gap hold back more.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dagflow.stages.pii import KINDS, LONGEST, LOOKAHEAD, redact

if TYPE_CHECKING:
    from collections.abc import Mapping

# Behind a character that no pattern has, or a space that stands where no pattern has one.
_UP_TO_CUT: Final = re.compile(r"(?s).*(?:[^A-Za-z\d_%+\-.@ /()]|(?<![A-Z\d)]) )")
_SUSPICIOUS: Final = re.compile(r"[@\d]")  # every kind has one of these
_MOST_HELD: Final = 2 * LONGEST


class Redacting:
    """Replaces each finding by the text that `replacements` gives for its kind."""

    __slots__ = ("_before", "_held", "_replacements")

    def __init__(self, replacements: Mapping[str, str]) -> None:
        self._replacements = replacements
        self._before = ""  # the character before what is held: patterns look back at one
        self._held = ""

    def feed(self, text: str) -> str:
        text = self._held + text
        whole = self._before + text
        found = _UP_TO_CUT.match(whole)
        cut = 0 if found is None else found.end()
        if len(whole) - cut > _MOST_HELD:
            cut = max(cut, self._settled(whole))
        start = len(self._before)
        if cut <= start:
            self._held = text
            return ""
        given = self._redacted(whole, start, cut)
        self._before, self._held = whole[cut - 1], whole[cut:]
        return given

    def end(self) -> str:
        whole = self._before + self._held
        return self._redacted(whole, len(self._before), len(whole))

    def _redacted(self, whole: str, start: int, end: int) -> str:
        if _SUSPICIOUS.search(whole, start, end) is None:
            return whole[start:end]
        return redact(whole, self._replacements, start, end)

    def _settled(self, whole: str) -> int:
        """The last place before which all is decided, and which no match reaches across."""
        place = len(whole) - LONGEST - LOOKAHEAD
        start = len(self._before)
        spans = [match.span() for kind in self._replacements for match in KINDS[kind][0].finditer(whole, start)]
        for begin, end in sorted(spans, reverse=True):
            if begin < place < end:
                place = begin
        return place
