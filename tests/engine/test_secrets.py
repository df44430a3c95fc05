"""Secrets of a plan, in all that a run tells: outcomes, error fields, reports, logs."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
import structlog
from pydantic import BaseModel, SecretStr
from rigs import Flow, FunctionStage, ListSink, ListSource

from dagflow.engine.engine import Engine
from dagflow.errors import OpenFailed, PluginBug, RecordError
from dagflow.record import Record

KEY = "sk-123456"
STARS = "*" * 10


class Options(BaseModel):
    """Has a secret."""

    key: SecretStr = SecretStr(KEY)


def leak(record: Record) -> Any:
    """Raise an exception that tells the secret, twice."""
    try:
        raise KeyError(KEY)
    except KeyError as error:
        raise ValueError(f"no {KEY}") from error


def leaking(plugins: dict[str, Any], edges: list[str], settings: Any = None) -> Flow:
    """A flow in whose plan the secret is an option of each node."""
    flow = Flow(plugins, edges, settings)
    for node in flow.plan.nodes.values():
        object.__setattr__(node, "options", Options())
    return flow


def test_a_failure_tells_no_secret() -> None:
    """Neither its error, with its cause, nor the report."""
    source = ListSource([Record({"key": KEY}, "a")])
    errors = []
    source.settle = lambda record, outcome: errors.append(record.ticket.error)
    flow = leaking({"in": source, "bad": FunctionStage(leak), "out": ListSink()}, ["in -> bad", "bad -> out"])
    report = asyncio.run(flow.run())
    assert [fault["message"] for fault in report["errors"]] == [f"ValueError: no {STARS}"]
    (error,) = errors
    assert isinstance(error, PluginBug)
    assert str(error) == f"ValueError: no {STARS}"
    assert repr(error.__cause__.__cause__) == f"KeyError('{STARS}')"


def test_an_error_port_writes_no_secret_into_a_record() -> None:
    """The fields that were there are never altered."""
    sink = ListSink()
    flow = leaking(
        {"in": ListSource([Record({"key": KEY}, "a")]), "bad": FunctionStage(leak), "out": ListSink(), "err": sink},
        ["in -> bad", "bad -> out", "bad.error -> err"],
        {"bad": {"on_error": "port"}},
    )
    asyncio.run(flow.run())
    ((_, fields),) = sink.written
    assert fields["error"]["message"] == f"ValueError: no {STARS}"
    assert fields["key"] == KEY


class Telling(RecordError):
    """Makes its text of something else than its arguments."""

    def __str__(self) -> str:
        return f"no {KEY}"


@dataclass(frozen=True)
class Frozen(Exception):
    """Lets nobody set an attribute."""

    what: str


@pytest.mark.parametrize("error", [Telling(), Frozen(KEY)], ids=["telling", "frozen"])
@pytest.mark.parametrize("on_error", ["dead_letter", "port"])
def test_odd_exceptions_tell_no_secret_and_end_no_run(error: Exception, on_error: str) -> None:
    """Neither to the source nor to an error port."""
    told: list[Any] = []

    def fail(record: Record) -> None:
        raise error

    source, errors = ListSource([Record({}, "a"), Record({}, "b")]), ListSink()
    source.settle = lambda record, outcome: told.append(str(record.ticket.error))
    flow = leaking(
        {"in": source, "bad": FunctionStage(fail), "out": ListSink(), "err": errors},
        ["in -> bad", "bad -> out", *(["bad.error -> err"] if on_error == "port" else ["bad -> err"])],
        {"bad": {"on_error": on_error}},
    )
    asyncio.run(flow.run())
    told += [fields["error"]["message"] for _, fields in errors.written]
    told += [fault["message"] for fault in flow.report["errors"]]
    assert flow.report["nodes"]["bad"]["failed"] == 2
    assert STARS in str(told)
    assert KEY not in str(told)


@pytest.mark.parametrize("method", ["open", "flush"])
def test_a_plugin_that_fails_as_a_whole_tells_no_secret(method: str) -> None:
    """At the start or at the end."""

    async def fail(*_: Any) -> None:
        raise ValueError(f"no {KEY}")

    sink = ListSink()
    setattr(sink, method, fail)
    flow = leaking({"in": ListSource([]), "out": sink}, ["in -> out"])
    if method == "open":
        with pytest.raises(OpenFailed) as caught:
            asyncio.run(flow.run())
        assert str(caught.value) == f"`out` could not be opened: ValueError: no {STARS}"
        assert str(caught.value.__cause__) == f"no {STARS}"
    else:
        assert asyncio.run(flow.run())["stopped_by"] == f"`out` failed in `flush`: ValueError: no {STARS}"


def test_the_program_s_own_log_gets_no_secret() -> None:
    """What plugins log with their context, exceptions included."""

    async def tell(context: Any) -> None:
        context.logger.info("logged in", key=KEY, urls=[f"http://u:{KEY}@localhost/"])
        try:
            leak(Record())
        except ValueError:
            context.logger.exception("not logged in")

    sink = ListSink()
    sink.open = tell
    flow = leaking({"in": ListSource([]), "out": sink}, ["in -> out"])
    try:
        with structlog.testing.capture_logs() as logs:
            asyncio.run(Engine(flow.plan).run())
    finally:
        structlog.reset_defaults()
    first, second = logs
    assert (first["key"], first["urls"], first["node"]) == (STARS, [f"http://u:{STARS}@localhost/"], "out")
    assert str(second["exc_info"]) == f"no {STARS}"
