"""Edges over Kafka, on a real broker with groups: what is handed off there is taken over here."""

from __future__ import annotations

import itertools
import json

import pytest
from mesh_rig import check_books, delivered, make, outcomes, part, running, text
from service import until

from dagflow.compile import compile_text
from dagflow.errors import NotPublished, OpenFailed
from dagflow.mesh.kafka.lag import Lag
from dagflow.mesh.needs import apply, needs_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]

QUICK = 'session_timeout = "1s"\nhandover = "500ms"\ncommit_interval = "20ms"\nrequest_timeout = "5s"\n'
_NUMBERS = itertools.count()


@pytest.fixture
def bus(tansu):
    """The table of a transport; what it knows of idempotent producers is nothing."""
    return f'type = "kafka"\nservers = ["{tansu.address}"]\nidempotent = false\npartitions = 4\n{QUICK}'


def file_of(bus, **more):
    """A file of a pipeline with a name of its own."""
    return text(bus, **more).replace('name = "p"', f'name = "k{next(_NUMBERS)}"')


async def test_three_programs_share_one_pipeline(bus):
    """Each record is accepted once, handed off and taken over twice, and delivered once."""
    file = file_of(bus, source="sessions = 7")
    await make(file)
    engines = [part(file, name) for name in ("in", "work", "out")]
    async with running(*engines):
        await until(lambda: delivered(*engines) == 200)
    first, middle, last = (engine.report() for engine in engines)
    assert (first["accepted"], first["handed_off"], first["exit_code"]) == (200, 200, 0)
    assert (middle["taken_over"], middle["handed_off"]) == (200, 200)
    assert (last["taken_over"], outcomes(last)) == (200, {"delivered": 200})
    check_books(*engines)


async def test_sessions_keep_their_order(bus, tmp_path):
    """A session is the key, so that it stays in one partition."""
    lanes = 'affinity = "session"\nconcurrency = 2'
    sink = f'type = "jsonl"\npath = "{tmp_path / "out"}"\nfields = ["n", "session"]\n'
    file = file_of(bus, source="sessions = 7", stage='affinity = "session"', sink=sink + lanes)
    file = file.replace('path = "', 'mode = "append"\npath = "')
    await make(file)
    engines = [part(file, name) for name in ("in", "work", "out")]
    async with running(*engines):
        await until(lambda: delivered(*engines) == 200)
    seen: dict[str, list[int]] = {}
    for line in (tmp_path / "out").read_text().splitlines():
        seen.setdefault(json.loads(line)["session"], []).append(json.loads(line)["n"])
    assert len(seen) == 7
    assert all(numbers == sorted(numbers) for numbers in seen.values())


@pytest.mark.parametrize("settings", ['when_full = "drop_newest"', 'block_timeout = "50ms"'])
async def test_what_does_not_fit_is_shed_at_the_sender(bus, settings):
    """A sender holds back while so many are open as `capacity` says, and sheds if it may not wait."""
    file = file_of(bus, first=f", capacity = 20, {settings}")
    await make(file)
    first = part(file, "in")
    async with running(first) as (run,):
        await run
    assert outcomes(first.report()) == {"shed": 180}
    assert first.report()["handed_off"] == 20


async def test_room_comes_back_as_records_are_done(bus):
    """With room for twenty, two hundred come through."""
    file = file_of(bus, first=", capacity = 20")
    await make(file)
    engines = [part(file, "in"), part(file, "work", "out")]
    async with running(*engines):
        await until(lambda: delivered(*engines) == 200)
    check_books(*engines)


async def test_what_a_drain_cuts_off_goes_on_elsewhere(bus):
    """Its offset stays open, so that it is read again, with what lies behind it."""
    file = file_of(bus).replace('delay = "1ms"', 'delay = "30s"').replace('"2s"', '"50ms"', 1)
    await make(file)
    first, stuck = part(file, "in"), part(file, "work")
    async with running(first, stuck):
        await until(lambda: stuck.report()["nodes"]["work"]["busy"] == 4)
    report = stuck.report()
    assert report["given_back"] == report["taken_over"] >= 4
    rest = part(file.replace('"30s"', '"1ms"'), "work", "out")
    async with running(rest):
        await until(lambda: delivered(rest) == 200)


async def test_a_missing_topic_names_the_command(bus):
    """A run creates none, and says what does."""
    file = file_of(bus)
    for node in ("in", "out"):
        with pytest.raises(OpenFailed, match="dagflow mesh apply"):
            await part(file, node).run()


async def test_what_is_there_is_left_alone(bus):
    """A topic cannot be marked: one that differs is told, and not changed."""
    file = file_of(bus)
    await make(file)
    found = await apply(needs_of(compile_text(file.replace("partitions = 4", "partitions = 3"))))
    topics = [one for one in found if one.need.kind == "topic"]
    assert [(one.state, dict(one.differences)) for one in topics] == [("differs", {"partitions": (4, 3)})] * 2
    replicated = needs_of(compile_text(file.replace("partitions = 4", "partitions = 4\nreplicas = 3")))
    assert replicated[0].settings["replicas"] == 3


async def test_the_lag_is_what_was_stored_and_is_not_done():
    """What is on its way counts as well, until it is noted or has failed."""
    lag = Lag(None, "g", 2, 0.0)

    async def nothing_new():
        return None

    lag._look = nothing_new
    await lag.enter("t")
    await lag.enter("t")
    with pytest.raises(NotPublished, match="2 records of it are open"):
        await lag.enter("t")
    lag.noted("p", 4)
    lag._done["p"] = 4
    lag.left()
    lag.left()
    await lag.enter("t")
    with pytest.raises(NotPublished, match="are open"):
        await lag.enter("t")
