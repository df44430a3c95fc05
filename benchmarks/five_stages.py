"""The five functions as stages of dagflow, a sink that counts, and a registry that knows them."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import five

from dagflow.plugin import Sink, Stage
from dagflow.record import Record
from dagflow.registry import Registry


class Rag(Stage):
    """The first function as a stage."""

    process = staticmethod(five.rag)


class Assemble(Stage):
    """The second."""

    process = staticmethod(five.assemble)


class Inference(Stage):
    """The third."""

    process = staticmethod(five.inference)


class Post(Stage):
    """The fourth."""

    process = staticmethod(five.post)


class Stream(Stage):
    """The fifth."""

    process = staticmethod(five.stream)


class Count(Sink):
    """Counts what arrives."""

    arrived = 0

    async def write(self, record: Record) -> None:
        """Count one record."""
        Count.arrived += 1


def registry() -> Registry:
    """A registry of these stages, and of the source and the sink that the benchmark uses."""
    stages = (Rag, Assemble, Inference, Post, Stream)
    own = [
        EntryPoint(f"five-{cls.__name__.lower()}", f"five_stages:{cls.__name__}", "dagflow.stages") for cls in stages
    ]
    builtin = [
        EntryPoint("generate", "dagflow.sources.generate:Generate", "dagflow.sources"),
        EntryPoint("memory", "dagflow.transports.memory:Memory", "dagflow.transports"),
    ]
    return Registry([*builtin, *own, EntryPoint("count", "five_stages:Count", "dagflow.sinks")])
