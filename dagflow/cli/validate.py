"""`dagflow validate`: find every mistake in a file at once. Starts nothing."""

from __future__ import annotations

from typing import Annotated

import typer

from dagflow.cli.common import DiagnosticFormat, FileArgument, SetOption, load_plan


def validate(
    file: FileArgument,
    overrides: SetOption = None,
    format: Annotated[
        DiagnosticFormat, typer.Option("--format", "-f", help="How to print what is found.")
    ] = DiagnosticFormat.TEXT,
) -> None:
    """Find every mistake in a file at once.

    Exits with 78 if there is an error. Nothing is started.
    """
    plan = load_plan(file, overrides or [], format)
    if format == DiagnosticFormat.TEXT:
        nodes, edges = len(plan.nodes), len(plan.edges)
        print(f"{file}: valid, {nodes} node{'s' * (nodes != 1)}, {edges} edge{'s' * (edges != 1)}")
