"""A run with signals and an onlooker: the onlooker never harms it, and a third signal is nobody's to take."""

from __future__ import annotations

import os
import signal

import anyio
from anyio import wait_all_tasks_blocked
from rigs import Flow, FunctionStage, ListSink, ListSource, chain, records

from dagflow.engine.supervise import run_blocking


async def same(record):
    """A stage that changes nothing."""
    return record


def test_an_onlooker_that_fails_does_not_end_the_run(capsys):
    """The display is gone; the records pass, and the log says why nothing is shown."""

    async def watch(engine):
        await engine.started.wait()
        raise BrokenPipeError("the terminal is gone")

    report = run_blocking(chain(records(10), same).plan, watch)
    assert report["outcomes"]["delivered"] == 10
    assert "the terminal is gone" in capsys.readouterr().err


def test_after_the_second_signal_a_third_does_what_it_does_to_any_program():
    """A plugin that ignores its cancellation cannot keep the process."""
    handlers = []

    async def hang(record):
        await anyio.sleep_forever()

    class Looking(ListSink):
        async def close(self):
            await wait_all_tasks_blocked()
            handlers.append(signal.getsignal(signal.SIGTERM))

    async def press(engine):
        await engine.started.wait()
        for _ in range(2):
            await wait_all_tasks_blocked()
            os.kill(os.getpid(), signal.SIGTERM)

    plugins = {"in": ListSource(records(2), finite=False), "s": FunctionStage(hang), "out": Looking()}
    report = run_blocking(Flow(plugins, ["in -> s", "s -> out"]).plan, press)
    assert report["exit_code"] == 143
    assert report["outcomes"]["cancelled"] == 2
    assert handlers == [signal.SIG_DFL]
