"""Words: which of a text's words carry its meaning, and what they are forms of.

For English; words of other languages pass through unchanged, which still lets equal words
meet. Used where a question is matched with passages.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_WORD: Final = re.compile(r"\w+")

STOP_WORDS: Final = frozenset(
    _WORD.findall(
        """
        a about after all also am an and any are as at be because been before being but by can could did do does doing
        each else few for from get had happen happened happens has have having he her here hers him his how i if in
        into is it its itself just like may me might mine more most much must my no nor not of off on once only onto
        or other our ours out over own per please same shall she should so some such tell than that the their theirs
        them then there these they this those through to too under until up upon us very was we were what when where
        whether which while who whom whose why will with within without would you your yours
        """
    )
)

# Longest first, each with the least length of what must remain. A light stemmer: it need not give
# words, only the same stem for the forms of one word.
_SUFFIXES: Final = (
    ("ization", "ize", 3),
    ("ations", "ate", 3),
    ("ation", "ate", 3),
    ("ingly", "", 3),
    ("ments", "", 4),
    ("ment", "", 4),
    ("edly", "", 3),
    ("ness", "", 3),
    ("ies", "y", 2),
    ("ied", "y", 2),
    ("ing", "", 2),
    ("ed", "", 2),
    ("ly", "", 3),
    ("es", "", 3),
    ("s", "", 3),
)


_VOWELS: Final = frozenset("aeiouy")


def words(text: str) -> list[str]:
    """Give the words of a text in order, case-folded; `when_full` is one word."""
    return _WORD.findall(text.casefold())


def content_words(text: str) -> list[str]:
    """Give the words that are no stop words, in order, with repetitions."""
    return [word for word in words(text) if word not in STOP_WORDS]


def stems(text: str) -> list[str]:
    """Give the stems of the content words, in order, with repetitions."""
    return [stem(word) for word in content_words(text)]


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """Cut an English word down to what its forms share: `sheds`, `shedding` and `shed` give `shed`."""
    if not word.isascii() or not word.isalpha() or word.endswith(("ss", "ee", "eed")):
        return word
    for suffix, ending, least in _SUFFIXES:
        rest = word.removesuffix(suffix)
        # Without a vowel in what remains, it was no suffix: `string`, `thing`.
        if rest != word and len(rest) >= least and not _VOWELS.isdisjoint(rest):
            return _without_echo(rest + ending)
    return _without_echo(word)


def _without_echo(word: str) -> str:
    """Undo a doubled last consonant and a silent `e`: `shedd`, `cache` give `shed`, `cach`."""
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        return word[:-1]
    return word[:-1] if len(word) > 2 and word[-1] == "e" else word
