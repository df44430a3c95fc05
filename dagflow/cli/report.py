"""The report of a run: tables for people, on standard error, and a JSON file for programs.

Both say what the engine's books say, and nothing else. The table leaves out columns in which
nothing happened, except those that every reader looks for.
"""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

import msgspec

from dagflow.cli.numbers import show_count, show_counts, show_duration, show_rate, show_share
from dagflow.cli.streams import print_document
from dagflow.cli.tables import Column, Table, print_blocks
from dagflow.errors import DagflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dagflow.graph.plan import Plan

Report = dict[str, Any]

EXIT_MEANINGS: Final = {
    1: "the run failed",
    65: "records failed; `--allow-failures` makes it 0",
    75: "records were left unfinished, or a source was not read to its end",
    130: "a second SIGINT cancelled what was in flight",
    143: "a second SIGTERM cancelled what was in flight",
}
_SHOWN_UNFINISHED: Final = 20


def render_report(report: Report, stream: TextIO) -> None:
    """Print the report: with colours on a terminal, else as aligned plain text."""
    print_blocks(list(_blocks(report)), stream)


def write_report(path: Path, report: Report) -> None:
    """Write the report as JSON; a file is the old one or the whole new one, never a part.

    A link, a pipe or a device is written through and stays what it is; `-` is the standard output.

    Raises:
        DagflowError: it can't be written; the message says why.
    """
    text = msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    if str(path) == "-":
        print_document(text.decode())
        return
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_bytes(text)
        else:
            _replace(path, text)
    except OSError as error:
        raise DagflowError(f"the report can't be written to `{path}`: {error.strerror}") from error


def check_report_path(path: Path) -> None:
    """Check before a run what can be known then of the place of its report.

    Raises:
        DagflowError: it is a folder, or in a folder that does not exist or takes no files.
    """
    if path.is_dir():
        raise DagflowError(f"the report can't be written to `{path}`: it is a folder")
    if not path.parent.is_dir():
        raise DagflowError(f"the report can't be written to `{path}`: there is no folder `{path.parent}`")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise DagflowError(f"the report can't be written to `{path}`: permission denied")


def check_report_is_apart(path: Path, plan: Plan) -> None:
    """Check that a report takes the place of nothing that the run reads or writes.

    Raises:
        DagflowError: it would replace the pipeline file, or a file that a node names in its options.
    """
    if path.exists() and not path.is_file():
        return  # a pipe or a device is shared
    where = str(path.resolve())
    if plan.path is not None and where == str(plan.path.resolve()):
        raise DagflowError(f"the report can't be written to `{path}`: it is the pipeline file")
    if plan.checkpoint is not None and where == str(plan.checkpoint.path.resolve()):
        raise DagflowError(f"the report can't be written to `{path}`: the checkpoint is kept there")
    if plan.dead_letters is not None and where == str(plan.dead_letters.path.resolve()):
        raise DagflowError(f"the report can't be written to `{path}`: dead letters are kept there")
    for node in plan.nodes.values():
        named = [str(value.resolve()) for _, value in node.options if isinstance(value, Path)]
        if any(where == name or fnmatchcase(where, name) for name in named):
            raise DagflowError(f"the report can't be written to `{path}`: {node.kind} `{node.name}` uses this file")


def _replace(path: Path, content: bytes) -> None:
    # In the same folder, since a file can't be renamed from one file system to another.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _blocks(report: Report) -> Iterator[str | Table]:
    yield _headline(report)
    yield _balance(report)
    checkpoint = report.get("checkpoint", {})
    if checkpoint.get("skipped"):
        yield f"{show_count(checkpoint['skipped'])} more had been done by earlier runs; `--fresh` starts over"
    yield _node_table(report["nodes"])
    yield from _lines(_node_notes(report))
    if report.get("workers"):
        yield _worker_table(report["workers"])
        yield from _lines(_worker_notes(report["workers"]))
    yield _edge_table(report["edges"])
    yield from _lines(_edge_notes(report["edges"]))
    if report["errors"]:
        yield _error_table(report["errors"])
    yield from _lines(_failure_notes(report))
    yield from _unfinished(report["unfinished"])
    if report["exit_code"]:
        meaning = EXIT_MEANINGS.get(report["exit_code"], "the run failed")
        yield f"exit code {report['exit_code']}: {meaning}"


def _headline(report: Report) -> str:
    took = show_duration(report["duration_s"])
    reason = report["stopped_by"]
    if reason is None:
        return f"{report['pipeline']}: finished in {took}"
    if reason.startswith("SIG"):
        return f"{report['pipeline']}: stopped by {reason} after {took}"
    return f"{report['pipeline']}: failed after {took}: {reason}"


def _balance(report: Report) -> str:
    """One line that can be checked by adding up."""
    terms = dict(report["outcomes"])
    terms |= {key.replace("_", " "): report[key] for key in ("handed_off", "given_back") if report.get(key)}
    if report["in_flight"]:
        terms["in flight"] = report["in_flight"]
    rate = show_rate(report["accepted"] / report["duration_s"]) if report["duration_s"] else "-"
    total = " + ".join(f"{show_count(number)} {name}" for name, number in terms.items())
    gained = {"taken over": report["taken_over"], "forked": report.get("forked", 0)}
    before = "".join(f" + {show_count(number)} {name}" for name, number in gained.items() if number)
    return f"{show_count(report['accepted'])} accepted ({rate}){before} = {total}"


# A column of numbers: its title, how to write a row's number, whether it is one to worry about.
_Number = tuple[str, "Callable[[Mapping[str, Any]], str]", bool]


def _counted(key: str, title: str = "", *, is_alarm: bool = False) -> _Number:
    return title or key, lambda row: show_count(row.get(key, 0)), is_alarm


def _used(rows: Mapping[str, Mapping[str, Any]], *keys: str, is_alarm: bool) -> list[_Number]:
    return [_counted(key, is_alarm=is_alarm) for key in keys if any(row.get(key) for row in rows.values())]


def _node_table(nodes: Mapping[str, Mapping[str, Any]]) -> Table:
    numbers = [
        _counted("taken"),
        _counted("done"),
        _counted("failed", is_alarm=True),
        *_used(nodes, "shed", "expired", "cancelled", is_alarm=True),
        _counted("retried"),
        *_used(nodes, "not_retried", is_alarm=True),
        *_used(nodes, "busy", is_alarm=False),
        ("p50", lambda row: show_duration(row["p50_s"]), False),
        ("p99", lambda row: show_duration(row["p99_s"]), False),
    ]
    words = {name: (name, f"{row['kind']} {row['type']}") for name, row in nodes.items()}
    return _table(("node", "type"), words, nodes, numbers)


def _worker_table(workers: Mapping[str, Mapping[str, Any]]) -> Table:
    costs = any(row["cost"] for row in workers.values())
    numbers = [
        _counted("calls"),
        _counted("answered"),
        ("failed", lambda row: show_count(sum(row["errors"].values())), True),
        *_used(workers, "turned_away", "unmetered", is_alarm=True),
        _counted("input_tokens", "tokens in"),
        _counted("output_tokens", "tokens out"),
        *([("cost", lambda row: f"{row['cost']:.4g}", False)] if costs else []),
        ("p50", lambda row: show_duration(row["p50_s"]), False),
        ("p99", lambda row: show_duration(row["p99_s"]), False),
    ]
    words = {name: (name, row["type"]) for name, row in workers.items()}
    return _table(("worker", "type"), words, workers, numbers)


def _worker_notes(workers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, row in workers.items():
        if row["errors"]:
            yield f"{name} failed {show_counts(row['errors'])}"
        if row.get("breaker", {}).get("opened"):
            breaker = row["breaker"]
            yield f"{name}: its breaker opened {show_count(breaker['opened'])} times, and is {breaker['state']}"


def _edge_table(edges: Mapping[str, Mapping[str, Any]]) -> Table:
    numbers = [
        _counted("offered"),
        _counted("taken"),
        _counted("shed", is_alarm=True),
        *_used(edges, "expired", "cancelled", "buffered", is_alarm=True),
        _counted("max_depth", "deepest"),
    ]
    words = {name: (name, f"{row['capacity']} {row['when_full']}") for name, row in edges.items()}
    return _table(("edge", "bound"), words, edges, numbers)


def _table(
    titles: tuple[str, ...],
    words: Mapping[str, tuple[str, ...]],
    rows: Mapping[str, Mapping[str, Any]],
    numbers: list[_Number],
) -> Table:
    columns = [Column(title) for title in titles] + [Column(title, True, alarm) for title, _, alarm in numbers]
    return Table(columns, [(*words[name], *(show(row) for _, show, _ in numbers)) for name, row in rows.items()])


def _node_notes(report: Report) -> Iterator[str]:
    for name, row in report["nodes"].items():
        if row["metrics"]:
            yield f"{name}: {show_counts(row['metrics'])}"
        if "join" in row:
            yield f"{name}: {show_counts({key.replace('_', ' '): n for key, n in row['join'].items() if n})}"
    for name, source in report["sources"].items():
        if not source["ended"] and source["progress"] is not None:
            yield f"{name}: {show_share(source['progress'])} of its input was read"


def _edge_notes(edges: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, row in edges.items():
        if row["shed_reasons"]:
            yield f"{name} shed {show_counts(row['shed_reasons'])}"
        if "best_effort" in row:
            ended = {outcome: number for outcome, number in row["best_effort"].items() if number}
            yield f"{name} (best effort): {show_counts(ended) or 'nothing has ended'}"


def _error_table(errors: list[dict[str, Any]]) -> Table:
    columns = [Column("count", True, True), *map(Column, ("failed at", "error", "for example", "which said"))]
    rows = [(show_count(e["count"]), e["node"], e["code"], e["record"], " ".join(e["message"].split())) for e in errors]
    return Table(columns, rows)


def _failure_notes(report: Report) -> Iterator[str]:
    not_kept = {name: row["not_kept"] for name, row in report["nodes"].items() if row["not_kept"]}
    if not_kept:
        # A source has no `on_error`: what it could not read stands in its input still.
        has_say = any(report["nodes"][name]["kind"] != "source" for name in not_kept)
        has_say = has_say and "dead_letters" not in report
        hint = '; a table `[dead_letters]` keeps them, `on_error = "drop"` says that they are not missed'
        yield f"{show_count(sum(not_kept.values()))} failed and not kept{hint if has_say else ''}"
    if letters := report.get("dead_letters"):
        changes = {name: letters[name] for name in ("kept", "purged") if letters[name]}
        yield f"dead letters: {show_counts({**changes, 'in the store': letters['in_store']})}"


def _unfinished(unfinished: list[dict[str, str]]) -> Iterator[str | Table]:
    if not unfinished:
        return
    shown = unfinished[:_SHOWN_UNFINISHED]
    yield f"{show_count(len(unfinished))} unfinished: cancelled, since the time to drain was over"
    yield Table([Column("record"), Column("was at")], [(record["id"], record["where"]) for record in shown])
    if len(unfinished) > len(shown):
        yield f"and {show_count(len(unfinished) - len(shown))} more"


def _lines(notes: Iterator[str]) -> Iterator[str]:
    """Join notes to one paragraph, or to none."""
    if text := "\n".join(notes):
        yield text
