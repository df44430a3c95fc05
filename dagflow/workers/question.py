"""Question: takes a prompt apart into the passages of its context and the question at its end.

What it expects is what a template makes of `context` and `input`: passages, each headed `[1]`,
`[2]`, ... with its source in brackets where there is one, then a line that begins with
`Question:`. Without such a line the last paragraph is the question, and without numbers what
stands before it is one passage.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

_QUESTION: Final = re.compile(r"^[ \t]*question[ \t]*:[ \t]*", re.IGNORECASE | re.MULTILINE)
_ANSWER: Final = re.compile(r"^[ \t]*answer[ \t]*(?::[ \t]*)?$", re.IGNORECASE | re.MULTILINE)
_MARKER: Final = re.compile(r"^\[(\d{1,4})\][ \t]*(?:\([^()\n]*\))?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Context:
    """One passage: its marker, such as `[1]` or nothing, and its text."""

    marker: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the passages in which its answer may be."""

    text: str
    contexts: tuple[Context, ...]


def read_question(prompt: str) -> Question:
    """Take a prompt apart."""
    prompt = _ANSWER.sub("", prompt).strip()
    heads = list(_QUESTION.finditer(prompt))
    if heads:
        before = prompt[: heads[-1].start()]
        text, *_ = prompt[heads[-1].end() :].split("\n\n")
    else:
        before, _, text = prompt.rpartition("\n\n" if "\n\n" in prompt else "\n")
    return Question(text.strip(), tuple(_read_contexts(before)))


def _read_contexts(text: str) -> Iterator[Context]:
    heads: list[re.Match[str]] = []
    for head in _MARKER.finditer(text):
        if int(head[1]) == len(heads) + 1:  # any other number at the start of a line belongs to a passage
            heads.append(head)
    if not heads and text.strip():
        yield Context("", text)
    for head, following in zip_longest(heads, heads[1:]):
        end = following.start() if following else len(text)
        yield Context(f"[{head[1]}]", text[head.end() : end])
