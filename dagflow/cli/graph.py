"""`dagflow graph`: print the plan of a file as text, Mermaid, DOT, SVG or JSON. Starts nothing."""

from __future__ import annotations

import shutil
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final, TextIO

import typer

from dagflow.cli.common import FileArgument, OnlyOption, SetOption, load_plan
from dagflow.cli.streams import print_document

if TYPE_CHECKING:
    from dagflow.graph.plan import Plan

_WIDTHS: Final = (80, 120)  # narrower breaks too many lines, wider is hard to read across


class Format(StrEnum):
    """The forms that a plan can be printed in."""

    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"
    JSON = "json"


def graph(
    file: FileArgument,
    overrides: SetOption = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="How to print it.")] = Format.TEXT,
    only: OnlyOption = None,
) -> None:
    """Print the plan: every node and edge, with capacities and policies."""
    text = render_plan(load_plan(file, overrides or [], only=only), format, sys.stdout)
    if format is Format.TEXT:
        print(text, end="")
    else:
        print_document(text)


def render_plan(plan: Plan, format: Format, stream: TextIO) -> str:
    """Give the text that suits a stream: its width where it is a terminal, and what it can encode."""
    from dagflow.graph.render.dot import render_dot
    from dagflow.graph.render.json import render_json
    from dagflow.graph.render.mermaid import render_mermaid
    from dagflow.graph.render.svg import render_svg
    from dagflow.graph.render.text import render_text

    if format is Format.TEXT:
        return render_text(plan, _width(), ascii_only=not _takes_lines(stream))
    documents = {
        Format.MERMAID: render_mermaid,
        Format.DOT: render_dot,
        Format.SVG: render_svg,
        Format.JSON: render_json,
    }
    return documents[format](plan)


def _width() -> int:
    least, most = _WIDTHS
    return min(max(shutil.get_terminal_size((100, 24)).columns, least), most)


def _takes_lines(stream: TextIO) -> bool:
    try:
        "├●".encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
