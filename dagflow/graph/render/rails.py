"""Rails: the lines on the left of a text drawing, one for each node that is still to come.

A rail leads down to one node. All edges to that node join its rail, so that there are never
more rails than nodes that wait to be drawn, and a node stands at the end of its own rail.

Each row is a list of cells, one a rail; a cell is a set of the directions in which its line
leaves it. What a cell looks like is decided last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

UP, DOWN, LEFT, RIGHT, NODE = 1, 2, 4, 8, 16

Row = tuple[int, ...]

_LINES: Final = {
    0: " ",
    UP | DOWN: "│",
    LEFT | RIGHT: "─",
    UP | DOWN | LEFT | RIGHT: "┼",
    UP | DOWN | RIGHT: "├",
    UP | DOWN | LEFT: "┤",
    DOWN | LEFT: "╮",
    DOWN | RIGHT: "╭",
    UP | LEFT: "╯",
    UP | RIGHT: "╰",
    NODE: "●",
}
# In ASCII a crossing shows the rail that passes through, or it would look like a junction.
_ASCII: Final = dict(zip(_LINES.values(), " |-|++..''*", strict=True))


class Rails:
    """The rails at one row of a drawing; each method gives the row that it draws."""

    def __init__(self) -> None:
        self._leads_to: list[str | None] = []

    def node(self, name: str) -> Row:
        """Draw a node at the end of its rail, or at a new one where no edge leads to it."""
        rail = self._claim(name, -1)
        row = self._straight()
        row[rail] = NODE
        return tuple(row)

    def edges(self, name: str, targets: Sequence[str]) -> list[Row]:
        """Draw the edges that leave the node drawn last, one a row; its own rail ends or goes on.

        The first target that has no rail yet gets the node's own, so that the first way through
        a graph is a straight line.
        """
        rail = self._leads_to.index(name)
        heir = next((target for target in targets if target not in self._leads_to), None)
        self._leads_to[rail] = heir
        rows = [self._edge(rail, target, ends=False) for target in targets[:-1]]
        return rows + [self._edge(rail, target, ends=heir is None) for target in targets[-1:]]

    def _edge(self, start: int, target: str, *, ends: bool) -> Row:
        joins = target in self._leads_to
        end = self._claim(target, start)
        row = self._straight()
        row[start] |= UP | DOWN
        if ends:
            row[start] &= ~DOWN
        if end != start:
            row[end] = DOWN | UP if joins else DOWN
            forth, back = (RIGHT, LEFT) if end > start else (LEFT, RIGHT)
            row[start] |= forth
            row[end] |= back
            for between in range(min(start, end) + 1, max(start, end)):
                row[between] |= LEFT | RIGHT
        return tuple(row)

    def _claim(self, name: str, near: int) -> int:
        """Find the node's rail, or give it the nearest one that is free or new."""
        if name in self._leads_to:
            return self._leads_to.index(name)
        free = [i for i, taken in enumerate(self._leads_to) if taken is None and i != near]
        new = len(self._leads_to)
        rail = min([*free, new], key=lambda i: (abs(i - near), i == new, -i))
        if rail == new:
            self._leads_to.append(None)
        self._leads_to[rail] = name
        return rail

    def _straight(self) -> list[int]:
        return [UP | DOWN if taken else 0 for taken in self._leads_to]


def below(row: Row, *, node_goes_on: bool = True) -> Row:
    """Give the rails alone as they leave a row, for a line that goes on with it."""
    leaving = DOWN | NODE if node_goes_on else DOWN
    return tuple(UP | DOWN if cell & leaving else 0 for cell in row)


def render_row(row: Row, *, ascii_only: bool) -> str:
    """Give the characters of a row: two columns a rail, without the space after the last."""
    text = "".join(_LINES[cell] + _LINES[_gap(cell)] for cell in row)[:-1]
    return "".join(_ASCII[char] for char in text) if ascii_only else text


def _gap(cell: int) -> int:
    return LEFT | RIGHT if cell & RIGHT else 0
