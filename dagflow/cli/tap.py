"""`dagflow tap`: what passes an edge of a running pipeline, or what a worker is sent and answers."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dagflow.cli.common import SetOption
from dagflow.cli.operate import AddressOption, TokenFileOption, find_beacon, run_until_left

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dagflow.admin.beacon import Beacon


def tap(
    target: Annotated[
        list[str],
        typer.Argument(metavar="[FILE] EDGE|WORKER", help='The pipeline file, and an edge ("a -> b") or a worker.'),
    ],
    overrides: SetOption = None,
    address: AddressOption = None,
    token_file: TokenFileOption = None,
    fields: Annotated[
        str | None, typer.Option("--fields", metavar="NAMES", help="Only these fields, with commas between.")
    ] = None,
    payload: Annotated[
        bool, typer.Option("--payload", help="Show values, without secrets and what identifies a person.")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="End after so many samples.")] = None,
    rate: Annotated[float, typer.Option(min=0.001, max=1000, metavar="N", help="At most so many a second.")] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, for programs.")] = False,
) -> None:
    """Show samples of the records that pass an edge, or of a worker's calls: names and sizes of fields, or values."""
    file, name = _target(target, address)
    beacon = find_beacon(file, overrides, address, token_file)
    query = {"edge" if "->" in name else "worker": _edge_name(name), "rate": str(rate)}
    given = {"fields": fields, "payload": "true" if payload else None, "limit": None if limit is None else str(limit)}
    query |= {key: value for key, value in given.items() if value is not None}
    run_until_left(_show(beacon, query, as_json))


async def _show(beacon: Beacon, query: dict[str, str], as_json: bool) -> None:
    from dagflow.admin.client import AdminClient
    from dagflow.cli.tables import print_blocks

    async with AdminClient(beacon) as client:
        async for line in client.lines("/tap", query):
            if as_json:
                print(json.dumps(line), flush=True)
            else:
                print_blocks(["\n".join(_lines(line))], sys.stdout)
                sys.stdout.flush()


def _target(target: list[str], address: str | None) -> tuple[Path | None, str]:
    from pathlib import Path

    wanted = 1 if address is not None else 2
    if len(target) != wanted:
        raise typer.BadParameter(
            "expected an edge or a worker" if wanted == 1 else "expected a pipeline file, and an edge or a worker",
            param_hint="EDGE|WORKER",
        )
    return (None if address is not None else Path(target[0])), target[-1]


def _edge_name(text: str) -> str:
    """Write an edge as reports do, whatever spaces are in it."""
    start, arrow, end = text.partition("->")
    return f"{start.strip()} -> {end.strip()}" if arrow else text


def _lines(sample: dict[str, Any]) -> Iterator[str]:
    if "seen" in sample:
        yield f"{sample['seen']:,} passed, {sample['shown']:,} shown, {sample['dropped']:,} dropped"
        return
    time = datetime.fromtimestamp(sample["time"]).strftime("%H:%M:%S.%f")[:-3]
    if "edge" in sample:
        yield f"{time}  {sample['edge']}  record {sample['record']}"
        yield from _values(sample["fields"])
        return
    yield f"{time}  {sample['worker']}  {sample['duration_s'] * 1000:.0f}ms"
    yield from _values({f"sent {name}": value for name, value in sample["sent"].items()})
    yield from _values({f"answered {name}": value for name, value in sample["answered"].items()})
    if sample["error"]:
        yield f"  error: {sample['error']}"


def _values(values: dict[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        yield f"  {name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
