"""Lettering of a drawing: the lines of text that stand in a node or a label, and the room that they take.

Text is set in a fixed-width font, so that its width is known without the font.
"""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Final
from unicodedata import combining, east_asian_width

from dagflow.graph.render.labels import edge_bound, edge_terms, node_terms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagflow.graph.plan import EdgePlan, NodePlan

_ADVANCE: Final = 0.61  # width of a character, in font sizes: the widest of the usual fixed-width fonts
_LINE_HEIGHT: Final = 1.36  # of a line, in font sizes
_LONGEST_NAME: Final = 26  # characters; the rest is in the title
_LONGEST_LINE: Final = 26
_LIVE_NODE: Final = 20  # `16/16 busy · 12.5ms`
_LIVE_RATE: Final = 8  # `12,500/s`
_MOST_TERMS: Final = 2  # lines of an edge's terms


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text: what it is, for its style, its font size, and for how many characters there is room at least."""

    text: str
    role: str
    size: float
    room: int = 0

    @property
    def width(self) -> float:
        """The room that the text needs at most."""
        return max(sum(map(_cells, self.text)), self.room) * _ADVANCE * self.size

    @property
    def height(self) -> float:
        """The room from this line to the next."""
        return self.size * _LINE_HEIGHT


def node_lines(node: NodePlan) -> list[Line]:
    """Give a node's name, its kind and type, and the concurrency of all but sources."""
    terms = node_terms(node)[:1] if node.kind != "source" else []
    return [
        Line(shorten(node.name, _LONGEST_NAME), "name", 13.0),
        *(Line(shorten(text, _LONGEST_LINE), "detail", 11.0) for text in (f"{node.kind} {node.type}", *terms)),
    ]


def edge_lines(edge: EdgePlan) -> list[Line]:
    """Give an edge's port, its bound and policy, and its other terms in few lines."""
    port = [Line(shorten(edge.port, _LONGEST_LINE), "port", 11.0)] if edge.port else []
    terms = wrap(", ".join(edge_terms(edge)), _LONGEST_LINE, max_lines=_MOST_TERMS, placeholder=" …")
    return [*port, Line(edge_bound(edge), "bound", 11.0), *(Line(text, "term", 10.0) for text in terms)]


def live_node_lines(node: NodePlan) -> list[Line]:
    """Give a node's name, its kind and type, and a line that is free for what it does just now."""
    return [*node_lines(node)[:2], Line("", "live", 11.0, _LIVE_NODE)]


def live_edge_lines(edge: EdgePlan) -> list[Line]:
    """Give an edge's port, and two lines that are free for its depth and its rate."""
    port = [line for line in edge_lines(edge) if line.role == "port"]
    depth = len(f"{edge.capacity:,} / {edge.capacity:,}")
    return [*port, Line("", "live depth", 11.0, depth), Line("", "live rate", 11.0, _LIVE_RATE)]


def shorten(text: str, most: int) -> str:
    """Cut a text to `most` characters, the last of which then is an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def measure(lines: Sequence[Line], padding: tuple[float, float]) -> tuple[float, float]:
    """Give the width and height of lines with room on each side."""
    width = max(line.width for line in lines) + 2 * padding[0]
    return width, sum(line.height for line in lines) + 2 * padding[1]


def _cells(character: str) -> int:
    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1
