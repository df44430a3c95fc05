"""One plugin by itself, without an engine, for tests of the built-ins."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog
from pydantic import ValidationError

from dagflow.plugin import Context
from dagflow.testing import ManualClock, build_context


def build(cls: type[Any], base: Any = None, **options: Any) -> Any:
    """Build a plugin from options as they stand in a file in the folder `base`."""
    return cls(cls.Options.model_validate(options, context={"base": base}))


def context(name: str = "node", clock: Callable[[], float] = time.monotonic, **more: Any) -> Context:
    """Build a context."""
    return build_context(name, clock=clock, logger=structlog.get_logger(), **more)


@asynccontextmanager
async def opened(plugin: Any, **of_context: Any) -> AsyncIterator[Any]:
    """Open a plugin, and close it twice, as twice must be fine."""
    try:
        await plugin.open(context(**of_context))
        yield plugin
    finally:
        await plugin.close()
        await plugin.close()


def complaints(cls: type[Any], **options: Any) -> list[tuple[str, str]]:
    """Give the place and message of each error in the options."""
    with pytest.raises(ValidationError) as caught:
        cls.Options.model_validate(options)
    return [(".".join(map(str, error["loc"])), error["msg"]) for error in caught.value.errors()]


class Clock(ManualClock):
    """A clock that stands still until somebody sleeps on it."""

    def __init__(self) -> None:
        super().__init__(100.0)
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self.slept.append(seconds)
        self.advance(seconds)
