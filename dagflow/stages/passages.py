"""Passages: splits documents into pieces of about one size that make sense by themselves.

A heading begins a new passage; within its section, paragraphs fill passages up to the wanted size,
and code blocks stay whole unless they are very long. Every passage knows where it stands:
`file.md#Heading`, or before the first heading `file.md:12`, with its first line.

Understood are the headings and fences of Markdown and the underlined headings of reStructuredText;
everything else is paragraphs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

_HEADING: Final = re.compile(r"(#{1,6})\s+\S.*")
_CLOSING: Final = re.compile(r"(?<!\s)\s+#+$")  # `## Title ##`
_UNDERLINE: Final = re.compile(r"([=\-~^])\1{2,}\s*")
_FENCE: Final = re.compile(r"\s*(`{3,}|~{3,}).*")
_LINK: Final = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_AFTER_SENTENCE: Final = re.compile(r"(?<=[.!?])(?<!\d\.)(?=\s)")  # not after the number of a list item
_CODE_FACTOR: Final = 2  # a code block may be this many times as long as a passage before it is split


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document.

    Attributes:
        text: as it stands in the document; the first of a section begins with its heading.
        title: the headings that it stands under, outermost first, in one line.
        source: where it stands.
    """

    text: str
    title: str
    source: str


@dataclass(slots=True)
class _Block:
    """Lines that belong together; `level` is that of a heading, `line` counts from 1."""

    kind: str  # heading, paragraph, table or code
    lines: list[str]
    line: int
    level: int = 0

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def title(self) -> str:
        """The words of a heading, without its markup."""
        line = _CLOSING.sub("", self.lines[0].strip()).lstrip("#").strip()
        return re.sub(r"[*`]", "", _LINK.sub(r"\1", line))


def split_passages(text: str, name: str, size: int) -> Iterator[Passage]:
    """Split a document; `name` goes into the sources, `size` is in characters."""
    path: list[_Block] = []
    blocks: list[_Block] = []
    for block in _read_blocks(text.splitlines()):
        if block.kind == "heading":
            yield from _split_section(path, blocks, name, size)
            path = [*(outer for outer in path if outer.level < block.level), block]
            blocks = []
        else:
            blocks.append(block)
    yield from _split_section(path, blocks, name, size)


def _split_section(path: list[_Block], blocks: list[_Block], name: str, size: int) -> Iterator[Passage]:
    title = " > ".join(heading.title for heading in path)
    heading = path[-1].text if path else ""
    for line, text in _fill(heading, blocks, size):
        yield Passage(text, title, f"{name}#{path[-1].title}" if path else f"{name}:{line}")


def _fill(heading: str, blocks: Iterable[_Block], size: int) -> Iterator[tuple[int, str]]:
    """Put pieces together up to `size`; gives each with its line. A heading alone makes none."""
    held = [heading] if heading else []
    begin = length = 0
    for block in blocks:
        for piece in _cut(block, size):
            if length and length + len(piece) > size:
                yield begin, "\n\n".join(held)
                held, length = [], 0
            begin = begin if length else block.line
            held.append(piece)
            length += len(piece)
    if length:
        yield begin, "\n\n".join(held)


def _cut(block: _Block, size: int) -> Iterable[str]:
    """Cut a block that is too long: prose between sentences, tables and code between lines."""
    if len(block.text) <= (size * _CODE_FACTOR if block.kind == "code" else size):
        return [block.text]
    if block.kind == "paragraph":
        return _pack(_AFTER_SENTENCE.split(block.text), size)
    if block.kind == "table":
        return _pack([f"{line}\n" for line in block.lines], size)
    opening, *lines, closing = block.lines
    return [f"{opening}\n{piece}\n{closing}" for piece in _pack([f"{line}\n" for line in lines], size)]


def _pack(units: Iterable[str], size: int) -> Iterator[str]:
    piece = ""
    for unit in units:
        # A unit that is too long by itself is cut wherever it must be.
        for part in (unit[start : start + size] for start in range(0, len(unit), size)):
            if piece and len(piece) + len(part) > size:
                yield piece.strip()
                piece = ""
            piece += part
    if piece.strip():
        yield piece.strip()


def _read_blocks(lines: list[str]) -> Iterator[_Block]:
    held: _Block | None = None
    numbered = iter(enumerate(lines, 1))
    for number, line in numbered:
        if fence := _FENCE.fullmatch(line):
            block = _read_code(line, fence[1], number, numbered)
        elif heading := _HEADING.fullmatch(line.rstrip()):
            block = _Block("heading", [line], number, len(heading[1]))
        elif (underline := _UNDERLINE.fullmatch(line)) and (held is None or len(held.lines) == 1):
            block = held and _Block("heading", held.lines, held.line, "=-~^".index(underline[1]) + 1)
            held = None  # its line is the heading; without one above, the underline is a mere rule
        elif line.strip():
            if held is None:
                held = _Block("table" if line.lstrip().startswith("|") else "paragraph", [], number)
            held.lines.append(line)
            continue
        else:
            block = None
        if held is not None:
            yield held
            held = None
        if block is not None:
            yield block
    if held is not None:
        yield held


def _read_code(opening: str, fence: str, number: int, numbered: Iterator[tuple[int, str]]) -> _Block:
    lines = [opening]
    for _, line in numbered:
        lines.append(line)
        if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            return _Block("code", lines, number)
    return _Block("code", [*lines, fence], number)  # never closed: it ends with the document
