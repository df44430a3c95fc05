"""`dagflow dlq`: the dead letters of a pipeline. Works while a run writes them."""

from __future__ import annotations

import sys
from contextlib import closing, contextmanager
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Annotated

import typer

from dagflow.cli.common import EXIT_FAILED, FileArgument, SetOption, TextOrJson, load_plan
from dagflow.cli.run import AllowFailuresOption, QuietOption, ReportOption, execute, load_plan_to_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dagflow.graph.plan import Plan
    from dagflow.record import Record
    from dagflow.store.letter import Letter, Selection

_MOST = 2**63 - 1  # the greatest number that SQLite knows

dlq = typer.Typer(
    help="List, show, replay and purge the dead letters of a pipeline.", no_args_is_help=True, rich_markup_mode=None
)

_WHEN = "An ISO time, or an age such as `2h`."
NodeOption = Annotated[str | None, typer.Option("--node", metavar="NODE", help="Only what goes on at this node.")]
ErrorOption = Annotated[str | None, typer.Option("--error", metavar="CODE", help="Only what failed with this code.")]
SinceOption = Annotated[str | None, typer.Option("--since", metavar="TIME", help=f"Only from then on. {_WHEN}")]
BeforeOption = Annotated[str | None, typer.Option("--before", metavar="TIME", help=f"Only from before then. {_WHEN}")]
IdOption = Annotated[
    list[int] | None,
    typer.Option("--id", min=1, max=_MOST, metavar="ID", help="Only the letter of this number; may be repeated."),
]
RecordOption = Annotated[
    list[str] | None, typer.Option("--record", metavar="ID", help="Only of this record; may be repeated.")
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, max=_MOST, metavar="N", help="At most so many, oldest first.")
]


FormatOption = Annotated[TextOrJson, typer.Option("--format", "-f", help="How to print them.")]


@dlq.command("list")
def list_letters(
    file: FileArgument,
    overrides: SetOption = None,
    node: NodeOption = None,
    code: ErrorOption = None,
    since: SinceOption = None,
    before: BeforeOption = None,
    ids: IdOption = None,
    records: RecordOption = None,
    limit: LimitOption = None,
    format: FormatOption = TextOrJson.TEXT,
) -> None:
    """List dead letters, oldest first."""
    from dagflow.cli.letters import print_letters
    from dagflow.store.shelf import find_on

    selection = _selection(node, code, since, before, ids, records, limit)
    plan = _with_letters(load_plan(file, overrides or []))
    with _told():
        print_letters(find_on(plan.dead_letters.path, selection, payloads=False), as_json=format == TextOrJson.JSON)


@dlq.command("show")
def show_letters(
    file: FileArgument,
    overrides: SetOption = None,
    node: NodeOption = None,
    code: ErrorOption = None,
    since: SinceOption = None,
    before: BeforeOption = None,
    ids: IdOption = None,
    records: RecordOption = None,
    limit: LimitOption = None,
    format: FormatOption = TextOrJson.TEXT,
) -> None:
    """Show dead letters with their errors and fields."""
    from dagflow.cli.letters import print_whole_letters
    from dagflow.store.shelf import find_on

    selection = _selection(node, code, since, before, ids, records, limit)
    plan = _with_letters(load_plan(file, overrides or []))
    with _told():
        print_whole_letters(
            find_on(plan.dead_letters.path, selection, payloads=True), as_json=format == TextOrJson.JSON
        )


@dlq.command("purge")
def purge_letters(
    file: FileArgument,
    overrides: SetOption = None,
    node: NodeOption = None,
    code: ErrorOption = None,
    since: SinceOption = None,
    before: BeforeOption = None,
    ids: IdOption = None,
    records: RecordOption = None,
    limit: LimitOption = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all of them.")] = False,
) -> None:
    """Remove dead letters for good, and say how many."""
    from dagflow.store.letters import purge_letters
    from dagflow.store.shelf import open_shelf
    from dagflow.store.writer import commit_alone

    selection = _selection(node, code, since, before, ids, records, limit)
    if selection.is_everything and not everything:
        raise typer.BadParameter("say which letters by a filter, or `--all`", param_hint="--all")
    plan = _with_letters(load_plan(file, overrides or []))
    with _told(), open_shelf(plan.dead_letters.path) as connection:
        count = 0 if connection is None else commit_alone(connection, lambda store: purge_letters(store, selection))
        print(f"purged {_counted(count)}")


@dlq.command("replay")
def replay_letters(
    file: FileArgument,
    overrides: SetOption = None,
    node: NodeOption = None,
    code: ErrorOption = None,
    since: SinceOption = None,
    before: BeforeOption = None,
    ids: IdOption = None,
    records: RecordOption = None,
    limit: LimitOption = None,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Send records in at their source, as it handed them in.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Append to this file, as JSON lines, what `reply` sinks answer."),
    ] = None,
    report_path: ReportOption = None,
    allow_failures: AllowFailuresOption = False,
    quiet: QuietOption = False,
) -> None:
    """Send records in again, where they failed or from the start.

    A letter is removed once its record is delivered or filtered. Sinks add to what they wrote.
    """
    from dagflow.engine.replay import build_replay, choose_entries
    from dagflow.graph.cutting import cut_plan
    from dagflow.store.shelf import choose_letters, read_page

    selection = _selection(node, code, since, before, ids, records, limit)
    # Where edges go over a broker, letters may be of their ends, and nothing is taken over from there meanwhile.
    plan = cut_plan(_with_letters(load_plan_to_run(file, overrides, report_path)))
    path = plan.dead_letters.path
    with _told():
        _check_answers(plan, out)
        entries, refused = choose_entries(plan, choose_letters(path, selection, from_start), from_start)
        for reason, letters in refused.items():
            print(f"not replayed: {_named(letters)}: {reason}", file=sys.stderr)
        if not entries:
            print("nothing to replay", file=sys.stderr)
            raise typer.Exit(EXIT_FAILED if refused else 0)
        with _answers(out) as answer:
            replayed, build = build_replay(plan, entries, lambda page: read_page(path, page), answer)
            execute(replayed, report_path, allow_failures, quiet, build, left=sum(map(len, refused.values())))


def _selection(
    node: str | None,
    code: str | None,
    since: str | None,
    before: str | None,
    ids: list[int] | None,
    records: list[str] | None,
    limit: int | None,
) -> Selection:
    from dagflow.store.letter import Selection

    return Selection(
        node,
        code,
        _moment(since, "--since"),
        _moment(before, "--before"),
        tuple(ids or ()),
        tuple(records or ()),
        limit,
    )


def _moment(text: str | None, option: str) -> float | None:
    from dagflow.units import parse_moment

    try:
        return None if text is None else parse_moment(text, time())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def _with_letters(plan: Plan) -> Plan:
    if plan.dead_letters is None:
        raise typer.BadParameter(f"`{plan.path}` has no `[dead_letters]` table, so it keeps none", param_hint="FILE")
    return plan


@contextmanager
def _told() -> Iterator[None]:
    """Tell what is wrong with a store or a file, and exit with 1."""
    from dagflow.errors import DagflowError

    try:
        yield
    except DagflowError as error:
        print(f"error[{error.code}]: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_FAILED) from None


def _check_answers(plan: Plan, out: Path | None) -> None:
    from dagflow.sinks.reply import Reply

    replies = [sink.name for sink in plan.of_kind("sink") if issubclass(sink.cls, Reply)]
    if out is not None and str(out) == "-":
        raise typer.BadParameter("answers are appended to a file, and `-` is none", param_hint="--out")
    if replies and out is None:
        raise typer.BadParameter(
            f"sink `{replies[0]}` answers callers who are gone; `--out FILE` takes the answers", param_hint="--out"
        )


@contextmanager
def _answers(out: Path | None) -> Iterator[Callable[[Record], None] | None]:
    if out is None:
        yield None
        return
    from dagflow.sinks.jsonl import open_to_append
    from dagflow.sinks.lines import LineOptions

    encode, output = LineOptions().build_encoder(), open_to_append(out)
    with closing(output):
        yield lambda record: output.write(encode(record))


def _named(letters: Sequence[Letter]) -> str:
    first = f"letter {letters[0].id}, record `{letters[0].record}`"
    return first if len(letters) == 1 else f"{_counted(len(letters))}, such as {first}"


def _counted(count: int) -> str:
    return f"{count:,} dead letter{'' if count == 1 else 's'}"
