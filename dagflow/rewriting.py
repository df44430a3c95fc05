"""Rewriting: how the chunks of a live completion are changed while they come.

A `Transform` gets a text piece by piece and gives back what can no longer change, so that it may
hold back an end that the next piece could alter. A `Rewriting` puts the chunks of one completion
through transforms, and never changes what else a chunk says. It awaits nothing and reads no stream.

Invariants: what all pieces give is what the whole text would give; the chunk that ends the stream
stays here until the end, so that what was held back goes out with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dagflow.exchange import Chunk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Transform(Protocol):
    """Changes one text that comes in pieces. Either method may raise a RecordError, which ends the stream."""

    def feed(self, text: str) -> str:
        """Take the next piece; give what is certain by now. An empty piece gives nothing."""

    def end(self) -> str:
        """Give the rest. It is not called where the stream breaks: what was held back is never shown then."""


class Unchanged:
    """Leaves a text as it is."""

    def feed(self, text: str) -> str:
        return text

    def end(self) -> str:
        return ""


class Gathered:
    """Changes a text as a whole: nothing is given before the end."""

    __slots__ = ("_apply", "_parts")

    def __init__(self, apply: Callable[[str], str]) -> None:
        self._apply = apply
        self._parts: list[str] = []

    def feed(self, text: str) -> str:
        self._parts.append(text)
        return ""

    def end(self) -> str:
        return self._apply("".join(self._parts))


class InTurn:
    """Several transforms, each of which gets what the one before it gives."""

    __slots__ = ("_transforms",)

    def __init__(self, transforms: Sequence[Transform]) -> None:
        self._transforms = transforms

    def feed(self, text: str) -> str:
        for transform in self._transforms:
            if not text:
                break
            text = transform.feed(text)
        return text

    def end(self) -> str:
        rest = ""
        for transform in self._transforms:
            rest = (transform.feed(rest) if rest else "") + transform.end()
        return rest


class Rewriting:
    """Puts the texts and the reasoning of chunks through a transform each."""

    __slots__ = ("_carried", "_reasoning", "_text")

    def __init__(self, text: Transform, reasoning: Transform) -> None:
        self._text = text
        self._reasoning = reasoning
        self._carried: Chunk | None = None  # goes out with the next chunk

    @property
    def finishes(self) -> bool:
        """Whether the chunk with the finish reason has come."""
        return self._carried is not None and self._carried.finish_reason is not None

    def feed(self, chunk: Chunk) -> Chunk | None:
        """Give the chunk that may be shown by now, if any."""
        text = self._text.feed(chunk.text) if chunk.text else ""
        reasoning = self._reasoning.feed(chunk.reasoning) if chunk.reasoning else ""
        carried = self._carried
        # A comparison of a text with itself, the usual case, looks at its address only.
        if carried is not None or text != chunk.text or reasoning != chunk.reasoning:
            chunk = _merged(carried or _NOTHING, chunk, text, reasoning)
        if chunk.finish_reason is not None or not (text or reasoning or chunk.tool_calls):
            self._carried = chunk
            return None
        self._carried = None
        return chunk

    def end(self) -> Chunk:
        """Give the last chunk, with what was held back."""
        return _merged(self._carried or _NOTHING, _NOTHING, self._text.end(), self._reasoning.end())


class Rewritings:
    """Two rewritings, one after the other."""

    __slots__ = ("_first", "_second")

    def __init__(self, first: Rewriting | Rewritings, second: Rewriting) -> None:
        self._first = first
        self._second = second

    @property
    def finishes(self) -> bool:
        return self._first.finishes or self._second.finishes

    def feed(self, chunk: Chunk) -> Chunk | None:
        first = self._first.feed(chunk)
        return None if first is None else self._second.feed(first)

    def end(self) -> Chunk:
        self._second.feed(self._first.end())  # it finishes, and so it is carried
        return self._second.end()


_NOTHING = Chunk()


def _merged(before: Chunk, chunk: Chunk, text: str, reasoning: str) -> Chunk:
    return Chunk(
        before.text + text,
        chunk.finish_reason or before.finish_reason,
        chunk.usage or before.usage,
        chunk.model or before.model,
        before.tool_calls + chunk.tool_calls,
        before.reasoning + reasoning,
        chunk.worker or before.worker,
        chunk.shared or before.shared,
    )
