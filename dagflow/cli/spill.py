"""`dagflow spill`: what edges have on disk."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dagflow.cli.common import EXIT_FAILED, FileArgument, SetOption, TextOrJson, load_plan

if TYPE_CHECKING:
    from dagflow.store.segments import Inspection

spill = typer.Typer(help="Look at what edges have put on disk.", no_args_is_help=True, rich_markup_mode=None)


@spill.callback()
def _group() -> None:
    """Keep `check` a command of its own."""


@spill.command("check")
def check(
    file: FileArgument,
    overrides: SetOption = None,
    format: Annotated[TextOrJson, typer.Option("--format", "-f", help="How to print it.")] = TextOrJson.TEXT,
) -> None:
    """Read what edges with `when_full = "spill"` have on disk, and change nothing; exits with 1 if any is damaged."""
    from dagflow.errors import DagflowError, describe
    from dagflow.store.segments import folder_of, inspect

    plan = load_plan(file, overrides or [])
    spilling = [edge for edge in plan.edges if edge.spill is not None]
    try:
        found = {edge.name: inspect(folder_of(edge)) for edge in spilling}
    except (DagflowError, OSError) as error:
        print(f"error: {describe(error)}", file=sys.stderr)
        raise typer.Exit(EXIT_FAILED) from None
    if format == TextOrJson.JSON:
        print(json.dumps({edge: _as_dict(inspection) for edge, inspection in found.items()}))
    else:
        _print(found)
    if any(inspection.damages for inspection in found.values()):
        raise typer.Exit(EXIT_FAILED)


def _as_dict(inspection: Inspection) -> dict[str, Any]:
    damages = [{"path": str(d.path), "offset": d.offset, "bytes": d.size} for d in inspection.damages]
    return {**inspection._asdict(), "damages": damages}


def _print(found: dict[str, Inspection]) -> None:
    from dagflow.cli.numbers import show_count
    from dagflow.cli.tables import Column, Table, print_blocks

    if not found:
        print('no edge has `when_full = "spill"`')
        return
    numbers = [Column(title, is_number=True) for title in ("segments", "bytes", "records")]
    rows = []
    for edge, one in found.items():
        state = "in use by a run" if one.in_use else "damaged" if one.damages else "sound"
        counts = ["-", "-"] if one.in_use else [show_count(one.size), show_count(one.records)]
        rows.append([edge, show_count(one.segments), *counts, state])
    damages = [str(damage) for one in found.values() for damage in one.damages]
    print_blocks([Table([Column("edge"), *numbers, Column("")], rows), *damages], sys.stdout)
