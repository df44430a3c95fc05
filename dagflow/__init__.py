"""dagflow: LLM prompt traffic through a graph of stages that one TOML file declares.

The public names; each is imported when first asked for, so that `import dagflow` is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dagflow.version import __version__

if TYPE_CHECKING:
    from dagflow.completion import Completion
    from dagflow.embed import Pipeline, open, run
    from dagflow.engine.caller import Result
    from dagflow.errors import ConfigError, DagflowError, PluginError, RecordError, WorkerError
    from dagflow.exchange import Chunk, Embeddings, Request, Usage
    from dagflow.expressions import Expression, Template
    from dagflow.options import Duration, FilePath, Options, Rate, Secret, Size, WorkerName
    from dagflow.plugin import Context, Exporter, ModelWorker, Sink, Source, Stage
    from dagflow.record import Outcome, Record, Ticket, UnreadableInput
    from dagflow.telemetry.families import Buckets, Family, Point
    from dagflow.transport import Transport

_HOMES = {
    "dagflow.completion": ("Completion",),
    "dagflow.embed": ("Pipeline", "open", "run"),
    "dagflow.engine.caller": ("Result",),
    "dagflow.errors": ("ConfigError", "DagflowError", "PluginError", "RecordError", "WorkerError"),
    "dagflow.exchange": ("Chunk", "Embeddings", "Request", "Usage"),
    "dagflow.expressions": ("Expression", "Template"),
    "dagflow.options": ("Duration", "FilePath", "Options", "Rate", "Secret", "Size", "WorkerName"),
    "dagflow.plugin": ("Context", "Exporter", "ModelWorker", "Sink", "Source", "Stage"),
    "dagflow.record": ("Outcome", "Record", "Ticket", "UnreadableInput"),
    "dagflow.telemetry.families": ("Buckets", "Family", "Point"),
    "dagflow.transport": ("Transport",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *_HOME_OF]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'dagflow' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value
