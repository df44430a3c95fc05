"""Prose: what of a Markdown text can be read as sentences.

Code blocks, rules, images and markup go; a table row becomes `first cell: other cells`; a list
item is a paragraph of its own. Code within a sentence keeps its backticks. Every pattern runs in time
linear in the text, whoever wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

_TARGET: Final = r"\((?:[^()]|\([^()]*\))*\)"  # of a link; may have brackets in it

_NOT_PROSE: Final = re.compile(
    r"^[ \t]*(```|~~~).*?(?:^[ \t]*\1[`~]*[ \t]*$|\Z)"  # a fenced block
    r"|<!--.*?(?:-->|\Z)"
    rf"|!\[[^\[\]]*\]{_TARGET}"  # an image
    r"|^[ \t]*\|[^\n]*\n(?=[ \t:|]*-)[ \t:|-]*$",  # a table's header row with the rule below
    re.DOTALL | re.MULTILINE,
)
_HEADING: Final = re.compile(r"#{1,6}\s+(.*?)(?:(?<!\s)\s+#+)?")
_UNDERLINE: Final = re.compile(r"([=\-~^*_])\1{2,}")
_ITEM: Final = re.compile(r"(?:[-*+]|\d+[.)])\s+(?:\[[ xX]\]\s+)?")
_INDENTED: Final = re.compile(r" {4}|\t")

_CODE: Final = re.compile(r"(`+[^`]+`+)")
_LINK: Final = re.compile(rf"\[([^\[\]]+)\]{_TARGET}")
_EMPHASIS: Final = re.compile(r"\*\*|(?<!\w)[*_]{1,2}(?=\w)|(?<=[\w.,;:!?])[*_]{1,2}(?!\w)")

_SENTENCE_END: Final = re.compile(r"([.!?][\"')\]]*)\s+(?=[\"'(\[]*[A-Z0-9`])")
_NO_END: Final = re.compile(r"(?:^|[\s(])(?:e\.g|i\.e|etc|cf|vs|approx|no|fig|mr|mrs|ms|dr|\w|\d+)\.$", re.IGNORECASE)
_NO_END_CHARS: Final = 12  # so long is the longest of these at most


def read_sentences(text: str) -> Iterator[tuple[str, str]]:
    """Give the sentences of a text in order, each with the heading that it stands under, or with none."""
    heading = ""
    for is_heading, paragraph in _read_paragraphs(_NOT_PROSE.sub("", text).splitlines()):
        if is_heading:
            heading = paragraph
        else:
            for sentence in split_sentences(paragraph):
                yield _close(sentence), heading


def split_sentences(paragraph: str) -> list[str]:
    """Split a paragraph where its sentences end; `e.g.` and `3.` end none."""
    sentences, start = [], 0
    for end in _SENTENCE_END.finditer(paragraph):
        stop = end.end(1)
        # From the blank before the sentence on, since one may be no more than `e.g.`
        if not _NO_END.search(paragraph, max(0, start - 1, stop - _NO_END_CHARS), stop):
            sentences.append(paragraph[start:stop].strip())
            start = end.end()
    rest = paragraph[start:].strip()
    return [*sentences, rest] if rest else sentences


def _read_paragraphs(lines: list[str]) -> Iterator[tuple[bool, str]]:
    """Give headings (True) and paragraphs (False), each in one line without markup."""
    held: list[str] = []
    for line in [*lines, ""]:
        bare = line.lstrip("> ").strip() if line.lstrip().startswith(">") else line.strip()
        heading = _HEADING.fullmatch(bare)
        underline = bool(_UNDERLINE.fullmatch(bare))
        item = _ITEM.match(bare)
        row = bare.startswith("|")
        if held and (not bare or heading or underline or item or row):
            yield underline and len(held) == 1, _plain(" ".join(held))
            held = []
        if heading:
            yield True, _plain(heading[1])
        elif row:
            yield False, _plain(_row_text(bare))
        elif item:
            held = [bare[item.end() :]]
        elif bare and not underline and (held or not _INDENTED.match(line)):
            held.append(bare)


def _row_text(row: str) -> str:
    cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", row.strip("|"))]
    first, others = cells[0], [cell for cell in cells[1:] if cell]
    return f"{first}: {'; '.join(others)}" if first and others else first or "; ".join(others)


def _plain(text: str) -> str:
    """Take out links and emphasis, but not within code."""
    parts = _CODE.split(text)
    parts[::2] = [_EMPHASIS.sub("", _LINK.sub(r"\1", part)) for part in parts[::2]]
    return " ".join("".join(parts).split())


def _close(sentence: str) -> str:
    """End a sentence with a full stop where it ends with less."""
    return sentence if re.search(r"[.!?:][\"')\]]*$", sentence) else sentence.rstrip(";, ") + "."
