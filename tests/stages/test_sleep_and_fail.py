"""Stages `sleep` and `fail`: trouble on purpose."""

from __future__ import annotations

import pytest
from alone import Clock, build, complaints, opened

from dagflow.errors import WorkerError
from dagflow.record import Record
from dagflow.stages import sleep as sleep_module
from dagflow.stages.fail import Fail
from dagflow.stages.sleep import Sleep

pytestmark = pytest.mark.anyio


async def naps(monkeypatch: pytest.MonkeyPatch, delay: str, name: str = "node", **options: int) -> list[float]:
    """Give the lengths of three sleeps."""
    clock = Clock()
    monkeypatch.setattr(sleep_module, "sleep", clock.sleep)
    async with opened(build(Sleep, delay=delay, **options), name=name) as stage:
        for _ in range(3):
            record = Record({"a": 1})
            assert await stage.process(record) is record
            assert dict(record) == {"a": 1}
    return clock.slept


async def test_sleep_takes_its_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each record waits as long."""
    assert await naps(monkeypatch, "20ms") == [0.02] * 3


async def test_sleep_draws_the_same_delays_for_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two stages of one seed do not sleep in step."""
    first = await naps(monkeypatch, "uniform(1s, 9s)", seed=1)
    assert len(set(first)) == 3
    assert await naps(monkeypatch, "uniform(1s, 9s)", seed=1) == first
    assert await naps(monkeypatch, "uniform(1s, 9s)", seed=2) != first
    assert await naps(monkeypatch, "uniform(1s, 9s)", seed=1, name="other") != first


async def failures(**options: object) -> list[bool]:
    """Tell which of 200 attempts fail."""
    failed = []
    async with opened(build(Fail, **options)) as stage:
        for _ in range(200):
            record = Record()
            try:
                assert await stage.process(record) is record
                failed.append(False)
            except WorkerError:
                failed.append(True)
    return failed


async def test_fail_fails_its_share() -> None:
    """All by default, none at 0, and the same ones for the same seed."""
    assert await failures() == [True] * 200
    assert await failures(rate=0.0) == [False] * 200
    some = await failures(rate=0.25, seed=3)
    assert 30 < sum(some) < 70
    assert await failures(rate=0.25, seed=3) == some
    assert await failures(rate=0.25, seed=4) != some


@pytest.mark.parametrize("kind", list(WorkerError.KINDS))
async def test_fail_raises_the_kind_that_it_is_told(kind: str) -> None:
    """Retryable or not, as a worker would raise it."""
    async with opened(build(Fail, error=kind), name="trouble") as stage:
        with pytest.raises(WorkerError, match="stage `trouble` fails on purpose") as caught:
            await stage.process(Record())
    assert (caught.value.kind, caught.value.retryable) == (kind, WorkerError.KINDS[kind])


async def test_fail_can_be_a_bug() -> None:
    """Then it raises what no plugin should."""
    async with opened(build(Fail, error="bug")) as stage:
        with pytest.raises(RuntimeError, match="on purpose"):
            await stage.process(Record())


def test_fields() -> None:
    """Neither touches a field."""
    for stage in (build(Sleep, delay="1s"), build(Fail)):
        assert (stage.reads(), stage.writes()) == (set(), set())


def test_bad_options() -> None:
    """Each is refused when the file is validated."""
    assert complaints(Sleep, delay="5")[0][1].startswith("expected a delay")
    assert complaints(Sleep) == [("delay", "Field required")]
    assert complaints(Fail, rate=1.5) == [("rate", "Input should be less than or equal to 1")]
    assert complaints(Fail, error="boom")[0][0] == "error"
