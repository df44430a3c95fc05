"""Places: where in the text the value of a key stands.

Only used once there is something to show: tree-sitter is not imported for a file without
findings. The text is valid TOML by then, so that the tree has no holes.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tree_sitter import Node

    from dagflow.config.keys import Key


class Span(NamedTuple):
    """Part of one line: 1-based line and column, and width, in characters."""

    line: int
    column: int
    width: int


class Places:
    """The spans of all keys and values of one text."""

    def __init__(self, text: str) -> None:
        self._lines = [line.removesuffix("\r") for line in text.split("\n")]
        self._bytes = [line.encode() for line in self._lines]
        self._names: dict[Key, Span] = {}
        self._values: dict[Key, Span] = {}
        self._lengths: dict[Key, int] = {}  # of arrays of tables, as far as they have been read
        self._read_document(_parse(text))

    def find(self, key: Key, at: str = "value") -> Span | None:
        """Give the span of the key's name or value; that of the nearest table above where there is none."""
        for length in range(len(key), 0, -1):
            names = self._names if at == "key" and length == len(key) else self._values
            span = names.get(key[:length])
            if span is not None:
                return span
        return None

    def line(self, number: int) -> str:
        """Give one line of the text, 1-based, without its end."""
        return self._lines[number - 1]

    def _read_document(self, root: Node) -> None:
        for child in root.named_children:
            if child.type == "pair":
                self._read_pair(child, ())
            elif child.type in ("table", "table_array_element"):
                self._read_table(child)

    def _read_table(self, node: Node) -> None:
        header, *pairs = (c for c in node.named_children if c.type != "comment")
        brackets = self._span(node.children[0], node.children[2])
        key: Key = ()
        for name, part in _names(header):
            if key in self._lengths:
                key += (self._lengths[key] - 1,)
            key += (name,)
            self._names.setdefault(key, self._span(part, part))
            self._values.setdefault(key, brackets)
        if node.type == "table_array_element":
            index = self._lengths.setdefault(key, 0)
            self._lengths[key] += 1
            key += (index,)
        self._values[key] = brackets
        for pair in pairs:
            self._read_pair(pair, key)

    def _read_pair(self, node: Node, base: Key) -> None:
        name_node, value = (c for c in node.named_children if c.type != "comment")
        key = base
        for name, part in _names(name_node):
            key += (name,)
            self._names.setdefault(key, self._span(part, part))
            self._values.setdefault(key, self._span(node, node))
        self._values[key] = self._span(value, value)
        self._read_value(value, key)

    def _read_value(self, node: Node, key: Key) -> None:
        children = [c for c in node.named_children if c.type != "comment"]
        if node.type == "inline_table":
            for pair in children:
                self._read_pair(pair, key)
        elif node.type == "array":
            for index, element in enumerate(children):
                self._values[(*key, index)] = self._span(element, element)
                self._read_value(element, (*key, index))

    def _span(self, first: Node, last: Node) -> Span:
        row, start = first.start_point
        end_row, end = last.end_point
        start = len(self._bytes[row][:start].decode())
        end = len(self._bytes[row][:end].decode()) if end_row == row else len(self._lines[row].rstrip())
        return Span(row + 1, start + 1, max(1, end - start))


def _parse(text: str) -> Node:
    import tree_sitter
    import tree_sitter_toml

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_toml.language())).parse(text.encode()).root_node


def _names(node: Node) -> Iterator[tuple[str, Node]]:
    """Give the parts of a key, `a` and `b` of `a."b"`, with their nodes."""
    if node.type == "dotted_key":
        for child in node.named_children:
            yield from _names(child)
    else:
        text = (node.text or b"").decode()
        yield (next(iter(tomllib.loads(f"{text} = 0"))) if node.type == "quoted_key" else text), node
