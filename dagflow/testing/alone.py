"""One plugin by itself, without an engine: built from options as they stand in a file, and opened."""

from __future__ import annotations

import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import structlog

from dagflow.graph.plan import WorkerPlan
from dagflow.inference.guarded import GuardedWorker
from dagflow.plugin import Context
from dagflow.telemetry.instruments import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from dagflow.plugin import ModelWorker, Plugin

SILENT: Final = structlog.wrap_logger(structlog.ReturnLogger(), processors=[lambda *_: ""])
"""A logger that says nothing."""


def build_plugin(cls: type[Any], folder: Path | None = None, /, **options: Any) -> Any:
    """Build a plugin from options as they stand in a file in `folder`.

    Raises:
        pydantic.ValidationError: the options are not what the plugin expects.
    """
    return cls(read_options(cls, options, folder))


def read_options(cls: type[Any], options: Mapping[str, Any], folder: Path | None) -> Any:
    """Validate options as those of a file in `folder` are validated."""
    return cls.Options.model_validate_json(json.dumps(options), strict=True, context={"base": folder})


def build_context(
    name: str = "node",
    *,
    clock: Callable[[], float] = time.monotonic,
    workers: Mapping[str, ModelWorker] | None = None,
    live: bool = False,
    logger: Any = SILENT,
) -> Context:
    """Build the context that a plugin is opened with; its workers stand behind guards, as in a pipeline."""
    guarded = {name: _guarded(name, worker, clock, logger) for name, worker in (workers or {}).items()}
    return Context(name, logger, clock, Metrics(), guarded, live)


def _guarded(name: str, worker: ModelWorker, clock: Callable[[], float], logger: Any) -> GuardedWorker:
    if isinstance(worker, GuardedWorker):
        return worker
    return GuardedWorker(WorkerPlan(name, "", type(worker), worker.options), worker, {}, clock, logger)


@asynccontextmanager
async def opened(plugin: Plugin, context: Context | None = None) -> AsyncIterator[Any]:
    """Open a plugin for the block, and close it then."""
    try:
        await plugin.open(context or build_context())
        yield plugin
    finally:
        await plugin.close()
