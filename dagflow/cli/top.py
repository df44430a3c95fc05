"""`dagflow top`: a running pipeline in the terminal, live."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dagflow.cli.common import SetOption
from dagflow.cli.operate import AddressOption, RunningFile, TokenFileOption, find_beacon, run_until_left

if TYPE_CHECKING:
    from dagflow.admin.beacon import Beacon


def top(
    file: RunningFile = None,
    overrides: SetOption = None,
    address: AddressOption = None,
    token_file: TokenFileOption = None,
    interval: Annotated[str, typer.Option(metavar="DURATION", help="How often it is read.")] = "1s",
    count: Annotated[int | None, typer.Option(min=1, metavar="N", help="End after so many readings.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line, for programs.")] = False,
    link: Annotated[
        bool, typer.Option("--link", help="Print the address of the live page, with its token, and end.")
    ] = False,
) -> None:
    """Watch a running pipeline: nodes, edges, workers and outcomes. Its file needs an `[admin]` table."""
    interval_s = _duration(interval)
    beacon = find_beacon(file, overrides, address, token_file)
    if link:
        print(f"{beacon.address}/#token={beacon.token}")
        return
    run_until_left(_watch(beacon, interval_s, count, as_json))


async def _watch(beacon: Beacon, interval_s: float, count: int | None, as_json: bool) -> None:
    import asyncio
    from contextlib import nullcontext

    from dagflow.admin.client import AdminClient
    from dagflow.cli.top_view import Rates, Screen

    rates, shown = Rates(), 0
    with nullcontext() if as_json or not sys.stdout.isatty() else Screen() as screen:
        async with AdminClient(beacon) as client:
            while True:
                status = await client.get("/status")
                rates.read(status)
                _show(status, rates, screen, as_json)
                shown += 1
                if shown == count:
                    return
                await asyncio.sleep(interval_s)


def _show(status: dict[str, Any], rates: Any, screen: Any, as_json: bool) -> None:
    from dagflow.cli.top_view import render_text

    if as_json:
        print(json.dumps(status | {"rates": rates.as_dict()}), flush=True)
    elif screen is not None:
        screen.show(status, rates)
    else:
        print(render_text(status, rates), flush=True)


def _duration(text: str) -> float:
    from dagflow.units import parse_duration

    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--interval") from None
    if seconds <= 0:
        raise typer.BadParameter("expected more than none", param_hint="--interval")
    return seconds
