"""Tables in a terminal: coloured by rich where it is one, aligned plain text elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType


@dataclass(frozen=True, slots=True)
class Column:
    """One column; where it is an alarm, what is not zero stands out."""

    title: str
    is_number: bool = False
    is_alarm: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, under columns."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]


Block = str | Table


def print_blocks(blocks: Sequence[Block], stream: TextIO) -> None:
    """Print paragraphs and tables, with an empty line between them; control characters are replaced."""
    blocks = [_printable(block) for block in blocks]
    if stream.isatty():
        _print_rich(blocks, stream)
        return
    texts = [block if isinstance(block, str) else "\n".join(_plain_lines(block)) for block in blocks]
    stream.write("\n\n".join(texts) + "\n")


def as_rich(block: Block) -> RenderableType:
    """Give a block as rich draws it; control characters are replaced."""
    from rich.text import Text

    printable = _printable(block)
    return Text(printable) if isinstance(printable, str) else _rich_table(printable)


def _printable(block: Block) -> Block:
    # Ids and messages come from the input: an escape sequence in them is not for the reader's terminal.
    if isinstance(block, Table):
        return Table(block.columns, [[_printable(cell) for cell in row] for row in block.rows])
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in block)


def _plain_lines(table: Table) -> list[str]:
    rows = [[column.title for column in table.columns], *table.rows]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return [_plain_line(table.columns, widths, row) for row in rows]


def _plain_line(columns: Sequence[Column], widths: Sequence[int], row: Sequence[str]) -> str:
    cells = [
        cell.rjust(width) if column.is_number else cell.ljust(width)
        for column, width, cell in zip(columns, widths, row, strict=True)
    ]
    return "  ".join(cells).rstrip()


def _print_rich(blocks: Sequence[Block], stream: TextIO) -> None:
    from rich.console import Console

    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    for i, block in enumerate(blocks):
        if i:
            console.print()
        console.print(block if isinstance(block, str) else _rich_table(block))


def _rich_table(table: Table) -> RenderableType:
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for column in table.columns:
        drawn.add_column(column.title, justify="right" if column.is_number else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(cell, _style(column, cell)) for column, cell in zip(table.columns, row, strict=True)))
    return drawn


def _style(column: Column, cell: str) -> str:
    if cell in ("0", "-"):
        return "dim"
    return "bold red" if column.is_alarm else ""
