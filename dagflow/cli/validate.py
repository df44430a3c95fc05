"""`dagflow validate`: find every mistake in a file at once. Starts nothing, but for probes of workers on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from dagflow.cli.common import (
    EXIT_INVALID,
    DiagnosticFormat,
    FileArgument,
    OnlyOption,
    SetOption,
    load_plan,
    print_diagnostics,
)

if TYPE_CHECKING:
    from pathlib import Path

    from dagflow.graph.plan import Plan


def validate(
    file: FileArgument,
    overrides: SetOption = None,
    format: Annotated[
        DiagnosticFormat, typer.Option("--format", "-f", help="How to print what is found.")
    ] = DiagnosticFormat.TEXT,
    probe: Annotated[bool, typer.Option("--probe", help="Try each worker, all at the same time.")] = False,
    probe_timeout: Annotated[
        str, typer.Option("--probe-timeout", metavar="DURATION", help="How long a worker may take to answer a probe.")
    ] = "10s",
    only: OnlyOption = None,
) -> None:
    """Find every mistake in a file at once.

    Exits with 78 if there is an error, or if a worker does not answer. Nothing is started otherwise.
    """
    timeout_s = _duration(probe_timeout)
    plan = load_plan(file, overrides or [], format, prints_warnings=not probe, only=only)
    if format == DiagnosticFormat.TEXT:
        nodes, edges = len(plan.nodes), len(plan.edges)
        print(f"{file}: valid, {nodes} node{'s' * (nodes != 1)}, {edges} edge{'s' * (edges != 1)}")
    if probe:
        _probe(plan, file, overrides or [], format, timeout_s)


def _duration(text: str) -> float:
    from dagflow.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--probe-timeout") from None


def _probe(plan: Plan, file: Path, overrides: list[str], format: DiagnosticFormat, timeout_s: float) -> None:
    import asyncio

    from dagflow.compile import locate_findings
    from dagflow.config.diagnostics import diagnose
    from dagflow.engine.probe import probe_workers
    from dagflow.errors import OpenFailed

    try:
        findings = asyncio.run(probe_workers(plan, timeout_s))
    except OpenFailed as error:
        print(f"error: {error}")
        raise typer.Exit(EXIT_INVALID) from None
    for finding in findings if format == DiagnosticFormat.TEXT else ():
        if finding.works:
            print(f"worker `{finding.worker}` ({plan.workers[finding.worker].type}): {finding.text}")
    failures = [
        diagnose("worker-does-not-answer", f"worker `{finding.worker}` cannot answer: {finding.text}", key)
        for finding in findings
        if not finding.works
        for key in [("workers", finding.worker)]
    ]
    print_diagnostics([*plan.warnings, *locate_findings(failures, file, overrides)], format)
    if failures:
        raise typer.Exit(EXIT_INVALID)
