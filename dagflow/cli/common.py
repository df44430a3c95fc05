"""What commands share: from a file on the command line to a plan, with diagnostics and exit codes."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TextIO

import typer

from dagflow.cli.streams import print_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagflow.config.diagnostics import Diagnostic
    from dagflow.graph.plan import Plan

EXIT_FAILED: Final = 1
EXIT_RECORDS_FAILED: Final = 65  # EX_DATAERR of sysexits.h
EXIT_UNFINISHED: Final = 75  # EX_TEMPFAIL
EXIT_INVALID: Final = 78  # the file is invalid; EX_CONFIG
EXIT_INTERRUPTED: Final = 130

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The pipeline file.", show_default=False)]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a value of the file; may be repeated."),
]


OnlyOption = Annotated[
    str | None,
    typer.Option("--only", metavar="NODES", help="The nodes that this program runs, as `a,b`; others run elsewhere."),
]


class TextOrJson(StrEnum):
    """The forms that most findings can be printed in."""

    TEXT = "text"
    JSON = "json"


class DiagnosticFormat(StrEnum):
    """The forms that diagnostics can be printed in."""

    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


def load_plan(
    path: Path,
    overrides: Sequence[str] = (),
    format: str = DiagnosticFormat.TEXT,
    prints_warnings: bool = True,
    only: str | None = None,
) -> Plan:
    """Compile a file and print its diagnostics: as text to standard error, else to standard output.

    Args:
        only: names of nodes, with commas between them; what one program runs of the plan is given then.
        prints_warnings: whether those of a valid file are printed; who prints more diagnostics prints them together.

    Raises:
        typer.BadParameter: an override is not KEY=VALUE, or there is no node of a name.
        typer.Exit: with code 78; the file is invalid.
    """
    from dagflow.compile import compile_file
    from dagflow.config.overrides import parse_override
    from dagflow.errors import ConfigError

    for text in overrides:
        try:
            parse_override(text)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--set") from None
    try:
        plan = compile_file(path, overrides)
    except ConfigError as error:
        print_diagnostics(error.diagnostics, format)
        raise typer.Exit(EXIT_INVALID) from None
    if prints_warnings:
        print_diagnostics(plan.warnings, format)
    return plan if only is None else _part_of(plan, only, path, overrides, format)


def names_in(only: str) -> list[str]:
    """Give the nodes that `--only` names."""
    return [name.strip() for name in only.split(",")]


def _part_of(plan: Plan, only: str, path: Path, overrides: Sequence[str], format: str) -> Plan:
    """Give what one program runs of a plan."""
    from dagflow.compile import locate_findings
    from dagflow.errors import ConfigError
    from dagflow.graph.cutting import cut_plan

    names = names_in(only)
    unknown = [name for name in names if name not in plan.nodes]
    if unknown:
        known = ", ".join(f"`{name}`" for name in plan.nodes)
        raise typer.BadParameter(f"there is no node `{unknown[0]}`; there are {known}", param_hint="--only")
    try:
        return cut_plan(plan, names)
    except ConfigError as error:
        print_diagnostics(locate_findings(list(error.diagnostics), path, overrides), format)
        raise typer.Exit(EXIT_INVALID) from None


def print_diagnostics(diagnostics: Sequence[Diagnostic], format: str) -> None:
    """Print diagnostics where their format belongs; text ends with a line that counts them."""
    from dagflow.config.diagnostics import render_github, render_json, render_text

    if format == DiagnosticFormat.JSON:
        print_document(render_json(diagnostics) + "\n")
    elif diagnostics and format == DiagnosticFormat.GITHUB:
        print_document(render_github(diagnostics) + "\n")
    elif diagnostics:
        text = render_text(diagnostics, colour=takes_colour(sys.stderr))
        print(text, _counted(diagnostics), sep="\n\n", file=sys.stderr)


def takes_colour(stream: TextIO) -> bool:
    """Whether colours may be written: to a terminal that knows them, unless the user wants none."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _counted(diagnostics: Sequence[Diagnostic]) -> str:
    counts = {severity: sum(d.severity == severity for d in diagnostics) for severity in ("error", "warning")}
    return ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items() if count)
