"""Text streams: the steps `trim` and `replace` on a text that comes in pieces.

Each holds back only the end that the next piece could change.
"""

from __future__ import annotations


class Trimming:
    """Drops white space at both ends, and what is too much at the end."""

    __slots__ = ("_held", "_room")

    def __init__(self, max_chars: int | None) -> None:
        self._room = max_chars  # how many characters may still be given; None for any number
        self._held: str | None = None  # white space that is the end, unless more comes; None before the text begins

    def feed(self, text: str) -> str:
        text = text.lstrip() if self._held is None else self._held + text
        given = text.rstrip()
        if given:
            self._held = text[len(given) :]
        elif self._held is not None:
            self._held = text
        return given if self._room is None else self._cut(given)

    def _cut(self, text: str) -> str:
        if len(text) > self._room:
            text = text[: self._room].rstrip()
            self._room = 0
        else:
            self._room -= len(text)
        return text

    def end(self) -> str:
        return ""


class Replacing:
    """Replaces a plain text; holds back the longest end that could begin it."""

    __slots__ = ("_find", "_held", "_replacement")

    def __init__(self, find: str, replacement: str) -> None:
        self._find = find
        self._replacement = replacement
        self._held = ""

    def feed(self, text: str) -> str:
        *before, rest = (self._held + text).split(self._find)
        held_from = self._begins_at(rest)
        self._held = rest[held_from:]
        return self._replacement.join([*before, rest[:held_from]]) if before else rest[:held_from]

    def _begins_at(self, text: str) -> int:
        """Where the longest end that could begin a match starts."""
        find = self._find
        start = text.find(find[0], max(0, len(text) - len(find) + 1))
        while start >= 0 and not find.startswith(text[start:]):
            start = text.find(find[0], start + 1)
        return len(text) if start < 0 else start

    def end(self) -> str:
        return self._held
