"""Results: what becomes of what a plugin gave for a record: one record, none, or several.

Whatever it gave is a branch of the record that it was given, and a branch has a record of its
own: one that is on its way already is copied.
"""

from __future__ import annotations

from asyncio import sleep
from typing import TYPE_CHECKING, Any, Final

from dagflow.errors import NotAStageResult
from dagflow.record import Outcome, Record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dagflow.engine.node_runner import NodeRunner

# Records that are handled in a row without yielding. With five microseconds a record this keeps
# every other task waiting for less than a millisecond.
SLICE: Final = 128


async def pass_on(node: NodeRunner, result: Any, origin: Record) -> None:
    """Send what the plugin of `node` returned for `origin` to where it belongs."""
    if result is None or node.plan.kind == "sink":  # whatever a sink returns, it has returned
        node.place.end(origin, node.none_outcome)
    elif isinstance(result, Record):
        await node.dispatch(inherit(result, origin), origin)
    elif isinstance(result, str | bytes | dict) or not hasattr(result, "__iter__"):
        node.undone += 1
        await node.fail(origin, _not_a_result(result))
    else:
        await _pass_on_parts(node, result, origin)


async def pass_on_yielded(node: NodeRunner, part: Any, origin: Record, index: int) -> None:
    """Send on what a generator yields; the record itself, if it comes first, keeps its name."""
    if index == 0 and isinstance(part, Record) and part.ticket is origin.ticket:
        await node.dispatch(part, origin)
    else:
        await _pass_on_part(node, part, origin, index)


async def _pass_on_parts(node: NodeRunner, result: Iterable[Any], origin: Record) -> None:
    try:
        parts = list(result)
    except Exception as error:
        node.undone += 1
        await node.fail(origin, error)
        return
    if not parts:
        node.place.end(origin, Outcome.FILTERED)
        return
    node.place.split(origin.ticket, len(parts) - 1)
    await _send_parts(node, parts, origin)


async def _send_parts(node: NodeRunner, parts: list[Any], origin: Record) -> None:
    sent = 0
    try:
        for index, part in enumerate(parts, 1):
            sent = index
            await _pass_on_part(node, part, origin, index - 1)
            if not index % SLICE:
                await sleep(0)
    finally:
        for index in range(sent, len(parts)):
            # One letter stands for all of them: replayed, it makes all parts again.
            node.end_unfinished(origin, kept=index == sent)


async def _pass_on_part(node: NodeRunner, part: Any, origin: Record, index: int) -> None:
    """Send one of several records on, named after the one they were made of: `id/0`, `id/1`, ..."""
    if not isinstance(part, Record):
        await node.fail(origin.copy(), _not_a_result(part))
        return
    branch = inherit(part.copy() if part.ticket is origin.ticket else part, origin)
    branch.id = f"{origin.id}/{index}"
    await node.dispatch(branch, origin)


def inherit(result: Record, origin: Record) -> Record:
    """Give a stage's record the ticket of the one it was made of, and what the stage left open."""
    if result.ticket is origin.ticket:
        return result
    if result.ticket is not None:  # it stands for another record: all that can be had is what it says
        result, port = Record(result), result.port
        result.port = port
    result.ticket = origin.ticket
    result.id = result.id or origin.id
    result.session = origin.session if result.session is None else result.session
    result.priority = result.priority or origin.priority
    result.deadline = origin.deadline if result.deadline is None else result.deadline
    result.meta = result.meta or origin.meta
    return result


def _not_a_result(found: object) -> NotAStageResult:
    return NotAStageResult(f"`{type(found).__name__}`")
