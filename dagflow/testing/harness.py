"""Harness: runs the text of a pipeline in memory, with given inputs, and tells what came out.

    run = run_text(TEXT, [{"input": "hello"}], plugins={"shout": Shout})
    assert run.outputs["out"][0]["input"] == "HELLO"

It is the engine that runs, on the plan that the text gives. Only sources and sinks have stand-ins, unless
their class is one of the test's own.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from anyio import wait_all_tasks_blocked

from dagflow.compile import compile_text
from dagflow.engine.engine import Engine
from dagflow.testing.alone import SILENT
from dagflow.testing.local import LocalRegistry
from dagflow.testing.staging import Inputs, Run, stage_plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from dagflow.plugin import ModelWorker, Sink
    from dagflow.testing.local import Classes


class Harness:
    """A pipeline that runs for a block; leaving the block waits for its end.

        async with Harness(TEXT, inputs, sinks={"out": gate}) as harness:
            await gate.wait_held(1)
            assert harness.report()["edges"]["in -> out"]["buffered"] == 3
            gate.release_all()
        assert harness.run.outcomes["0"] == "delivered"

    Attributes:
        run: what came out so far.
    """

    def __init__(
        self,
        text: str,
        inputs: Inputs = None,
        *,
        plugins: Classes | None = None,
        workers: Mapping[str, ModelWorker] | None = None,
        sinks: Mapping[str, Sink] | None = None,
        overrides: Sequence[str] = (),
        environ: Mapping[str, str] | None = None,
        folder: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Compile the text; starts nothing.

        Args:
            inputs: what the sources give, as records or their fields; a mapping gives each source of
                the file its own. Ids are `0`, `1`, ... where they have none. Without inputs, the
                sources run themselves.
            plugins: the test's own classes by the `type` that they have in the text, or several of different
                kinds; nodes of them run themselves.
            workers: workers that stand in for those of the text, by name.
            sinks: sinks that stand in for those of the text, by name.
            overrides: `KEY=VALUE` each, as for `--set`.
            environ: the variables for `${env:NAME}`; those of the process by default.
            folder: where the text is said to stand; its paths are relative to that.

        Raises:
            ConfigError: the text is invalid.
            ValueError: a name is not in the text.
        """
        path = None if folder is None else folder / "pipeline.toml"
        registry = LocalRegistry(plugins or {})
        plan = compile_text(text, path, overrides, registry, environ)
        self.run = Run()
        staged = stage_plan(plan, self.run, inputs, registry.classes, workers or {}, sinks or {})
        self._engine = Engine(staged, clock=clock, log=SILENT)
        self._task: asyncio.Task[dict[str, Any]] | None = None

    def report(self) -> dict[str, Any]:
        """Give the run report as of now."""
        return self._engine.report()

    def stop(self) -> None:
        """Ask for no more records, and drain."""
        self._engine.stop("stopped by the test")

    async def wait_blocked(self) -> None:
        """Wait until nothing can go on by itself."""
        await wait_all_tasks_blocked()

    async def finish(self) -> Run:
        """Wait for the end, and give what came out.

        Raises:
            OpenFailed: a plugin could not be opened.
        """
        assert self._task is not None, "enter the harness with `async with` first"
        self.run.report = await self._task
        return self.run

    async def __aenter__(self) -> Harness:
        self._task = asyncio.ensure_future(self._engine.run())
        started = asyncio.ensure_future(self._engine.started.wait())
        await asyncio.wait([self._task, started], return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._task.done():
            self._task.result()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._task is not None
        if error is not None and not self._task.done():
            self._engine.force("the test failed")
        await self.finish()


def run_text(text: str, inputs: Inputs = None, **settings: Any) -> Run:
    """Run a text to its end, in a loop of its own, and give what came out.

    Takes what `Harness` takes, and raises what it raises.
    """

    async def main() -> Run:
        async with Harness(text, inputs, **settings) as harness:
            return await harness.finish()

    return asyncio.run(main())
