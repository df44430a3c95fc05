"""`dagflow run`: run a pipeline to its end, or until a signal drains it."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from dagflow.cli.common import (
    EXIT_FAILED,
    EXIT_INVALID,
    EXIT_RECORDS_FAILED,
    EXIT_UNFINISHED,
    FileArgument,
    OnlyOption,
    SetOption,
    load_plan,
    names_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagflow.engine.engine import Engine
    from dagflow.engine.succession import Succession
    from dagflow.engine.supervise import Company, Load
    from dagflow.graph.plan import Plan

ReportOption = Annotated[
    Path | None,
    typer.Option(
        "--report", metavar="FILE", help="Write the report as JSON to this file, or to standard output (`-`)."
    ),
]
AllowFailuresOption = Annotated[bool, typer.Option("--allow-failures", help="Exit with 0 even if records failed.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Show neither progress nor the final report.")]


FreshOption = Annotated[
    bool, typer.Option("--fresh", help="Start over: forget what the checkpoint says has been done.")
]


def run(
    file: FileArgument,
    overrides: SetOption = None,
    report_path: ReportOption = None,
    allow_failures: AllowFailuresOption = False,
    quiet: QuietOption = False,
    fresh: FreshOption = False,
    only: OnlyOption = None,
) -> None:
    """Run a pipeline: a batch to its end, a service until a signal drains it."""
    from dagflow.admin.listener import serving
    from dagflow.admin.view import SuccessionView
    from dagflow.processes.crew import Crew
    from dagflow.processes.view import CrewView

    plan = load_plan_to_run(file, overrides, report_path, only)
    if only is not None and plan.runtime.processes != 1:
        raise typer.BadParameter("a part of a pipeline runs in one process", param_hint="--only")
    alone = plan.runtime.processes == 1
    company = partial(serving, view_of=SuccessionView if alone else CrewView)
    load = partial(_load_again, file, overrides or [], only)
    build = partial(_succession if alone else Crew, fresh=fresh)
    execute(plan, report_path, allow_failures, quiet, build, company=company, load=load)


def _succession(plan: Plan, fresh: bool) -> Succession:
    from dagflow.engine.engine import Engine
    from dagflow.engine.succession import Succession

    return Succession(plan, lambda plan, before: Engine(plan, fresh=fresh, before=before))


def _load_again(file: Path, overrides: list[str], only: str | None) -> Plan:
    from dagflow.compile import compile_file
    from dagflow.graph.cutting import cut_plan

    return cut_plan(compile_file(file, overrides), [] if only is None else names_in(only))


def load_plan_to_run(
    file: Path, overrides: list[str] | None, report_path: Path | None, only: str | None = None
) -> Plan:
    """Compile a file, and check that the report of its run can be written where it is to be."""
    from dagflow.cli.report import check_report_is_apart, check_report_path

    if report_path is not None:
        with _wrong_report_path():
            check_report_path(report_path)
    plan = load_plan(file, overrides or [], only=only)
    if report_path is not None:
        with _wrong_report_path():
            check_report_is_apart(report_path, plan)
    return plan


def execute(
    plan: Plan,
    report_path: Path | None,
    allow_failures: bool,
    quiet: bool,
    build: Callable[[Plan], Any] | None = None,
    left: int = 0,
    company: Company | None = None,
    load: Load | None = None,
) -> NoReturn:
    """Run a plan, tell how it went, and exit with its code.

    Args:
        build: makes the engine, if it is not the usual one.
        left: how many records are left that are not even tried.
        company, load: what the engine has around it, and what SIGHUP replaces its plan by, as for `run_blocking`.
    """
    from dagflow.cli.report import render_report, write_report
    from dagflow.errors import CheckpointMismatch, DagflowError

    try:
        report = _run(plan, quiet, build, company, load)
        if left and not report["exit_code"]:
            report["exit_code"] = EXIT_UNFINISHED
        if allow_failures and report["exit_code"] == EXIT_RECORDS_FAILED:
            report["exit_code"] = 0
        if report_path is not None:
            write_report(report_path, report)
        if not quiet:
            with _readers_may_leave():
                render_report(report, sys.stderr)
    except CheckpointMismatch as error:
        print(f"error[{error.code}]: {error}", file=sys.stderr)
        _leave(EXIT_INVALID)
    except DagflowError as error:
        print(f"error[{error.code}]: {error}", file=sys.stderr)
        _leave(EXIT_FAILED)
    _leave(report["exit_code"])


def _run(
    plan: Plan,
    quiet: bool,
    build: Callable[[Plan], Any] | None,
    company: Company | None,
    load: Load | None,
) -> dict[str, Any]:
    from dagflow.cli.display import Progress, is_interactive
    from dagflow.engine.engine import Engine
    from dagflow.engine.supervise import alone, run_blocking, settle_memory
    from dagflow.redaction import Redactor
    from dagflow.telemetry.logging import configure_logging

    configure_logging(plan.logging, Redactor.of(plan))
    settle_memory()

    async def watch(engine: Engine) -> None:
        await engine.started.wait()
        interactive = is_interactive(plan, sys.stdout, sys.stderr)
        await Progress(engine.report, sys.stderr, engine.clock, interactive).run()

    return run_blocking(plan, None if quiet else watch, build or Engine, company or alone, load)


@contextmanager
def _wrong_report_path() -> Iterator[None]:
    """Tell of a wrong path as of any wrong option."""
    from dagflow.errors import DagflowError

    try:
        yield
    except DagflowError as error:
        raise typer.BadParameter(str(error), param_hint="--report") from None


@contextmanager
def _readers_may_leave() -> Iterator[None]:
    """Write to a standard error that may take nothing more: how the run went stands in the exit code, too."""
    try:
        yield
        sys.stderr.flush()
    except OSError:
        # What is still buffered would fail once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _leave(code: int) -> NoReturn:
    """Exit, without waiting for threads of plugins that never return."""
    hanging = [t for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]
    if hanging:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code)
