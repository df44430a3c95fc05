"""The engine's own tables and keys.

What the engine knows of a node's table stands here; the rest of it belongs to the plugin. A
key exists only if something in the engine acts on it.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from dagflow.addresses import Address
from dagflow.config.auth_tables import AuthTable
from dagflow.config.metrics_tables import ExporterTable
from dagflow.config.worker_tables import GuardKeys
from dagflow.expressions import Expression
from dagflow.options import Duration, FilePath, ListenAddress, Options, Secret, Size

NAME_PATTERN: Final = r"[a-z][a-z0-9_-]*"

_Wait = Annotated[Duration, Field(gt=0)]
_Count = Annotated[int, Field(ge=1)]


class SpillTable(Options):
    """`spill` of an edge."""

    path: FilePath = Field(description="the folder of what does not fit into memory; each edge has a folder in it")
    max_bytes: Annotated[Size, Field(ge=65536)] = Field(1 << 30, description="how much of one edge may be on disk")


class EdgeDefaults(Options):
    """`[defaults.edge]`: what edges do that do not say otherwise."""

    capacity: _Count = Field(512, description="how many records may wait in the edge")
    max_bytes: Annotated[Size, Field(ge=1)] | None = Field(None, description="how much payload may wait in the edge")
    when_full: Literal["block", "drop_newest", "drop_oldest", "drop_lowest", "spill"] = Field(
        "block", description="what happens to a record that finds the edge full"
    )
    spill: SpillTable | None = Field(None, description='with `when_full = "spill"`: where to')
    block_timeout: _Wait | None = Field(None, description="how long a record waits at a full edge before it is shed")
    max_wait: _Wait | None = Field(None, description="a record that waited longer in the edge is shed")
    order: Literal["fifo", "priority", "deadline"] = Field("fifo", description="which record leaves the edge next")
    ageing: _Wait | None = Field(
        None,
        description='with `order = "priority"`: the wait that counts as much as one priority more; 10s by default',
    )
    dead_letter: bool = Field(False, description="whether what the edge sheds is kept as a dead letter")


class _Ends(Options):
    source: str = Field(alias="from", description="the node, or NODE.PORT, that records leave")
    target: str = Field(alias="to", description="the node that records go to")


class EdgeTable(EdgeDefaults, _Ends):
    """One element of `pipeline.edges`."""

    when: Expression | None = Field(None, description="only records of which this condition is true take the edge")
    best_effort: bool = Field(False, description="what happens behind this edge does not count for the record")
    via: str = Field("memory", description="what carries it: `memory`, or the name of a table `[transports.NAME]`")


class PipelineTable(Options):
    """`[pipeline]`."""

    name: str | None = Field(None, min_length=1, description="the pipeline's name; the file's name by default")
    max_in_flight: _Count = Field(4096, description="records accepted and not yet settled; sources wait at this mark")
    drain_timeout: _Wait = Field(30.0, description="how long a drain may take")
    edges: list[EdgeTable] = Field([], description="the graph")


class RetryTable(Options):
    """`retry` of a stage or sink."""

    attempts: _Count = Field(1, description="how often a record is tried in all")
    backoff: Duration = Field(0.2, description="the longest wait before the second attempt; doubles each time")
    max_backoff: Duration = Field(5.0, description="the longest wait before any attempt")
    budget: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None,
        description="how much more may be asked for the sake of retries, as a share, beside 10 a second that are always"
        " allowed; 0.1 for `inference`, and any number elsewhere, where it is not given",
    )


class PluginTable(Options):
    """What the engine knows of every named table."""

    type: str = Field(description="the plugin")


class WorkerTable(PluginTable, GuardKeys):
    """What the engine knows of `[workers.NAME]`."""


class TransportTable(PluginTable):
    """What the engine knows of `[transports.NAME]`."""


class _Forwarding(PluginTable):
    fan_out: Literal["all", "first"] = Field(
        "all", description="whether a record takes every edge whose condition holds, or the first"
    )
    unmatched: Literal["fail", "filter"] = Field("fail", description="how a record ends that no edge takes")


class _Working(PluginTable):
    concurrency: _Count | None = Field(None, description="how many records are worked on at a time")
    timeout: _Wait | None = Field(None, description="how long one attempt may take")
    retry: RetryTable = Field(RetryTable(), description="how often a record is tried")
    on_error: Literal["dead_letter", "drop", "port"] | None = Field(
        None, description="what becomes of a record whose last attempt failed; a dead letter by default"
    )
    affinity: Literal["session"] | None = Field(
        None, description="records of one session are worked on one after the other, in their order"
    )
    join: Literal["all", "any"] | None = Field(
        None, description="wait for all branches of a record, or go on with the first; by default each comes by itself"
    )
    join_timeout: _Wait | None = Field(
        None, description="how long a join waits for the other branches of a record; 30s by default"
    )
    on_missing: Literal["fail", "partial"] | None = Field(
        None, description="whether a join fails without a branch that was lost, or goes on; fails by default"
    )


class SourceTable(_Forwarding):
    """What the engine knows of `[sources.NAME]`."""


class StageTable(_Working, _Forwarding):
    """What the engine knows of `[stages.NAME]`."""


class SinkTable(_Working):
    """What the engine knows of `[sinks.NAME]`."""


class DefaultsTable(Options):
    """`[defaults]`."""

    edge: EdgeDefaults = Field(EdgeDefaults(), description="what edges do that do not say otherwise")


class DeadLettersTable(Options):
    """`[dead_letters]`."""

    path: FilePath = Field(description="the database that keeps what failed")
    max_records: _Count = Field(100_000, description="how many it may hold; intake stops at this mark")
    max_age: _Wait | None = Field(None, description="older ones are deleted; never, if it is not given")


class CheckpointTable(Options):
    """`[checkpoint]`."""

    path: FilePath = Field(description="the database that keeps what has been done, so that a later run goes on there")


class LoggingTable(Options):
    """`[logging]`."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="the least severe level shown")
    format: Literal["console", "json"] = Field("console", description="lines for people, or one JSON object a line")


class TracingTable(Options):
    """`[tracing]`."""

    endpoint: str = Field(
        "http://127.0.0.1:4318/v1/traces", pattern=r"^https?://\S+$", description="where the OTLP receiver takes spans"
    )
    protocol: Literal["http", "grpc"] = Field("http", description="how it takes them")
    headers: dict[str, Secret] = Field({}, description="headers of each export; their values are treated as secrets")
    sample: Annotated[float, Field(ge=0, le=1)] = Field(
        0.05, description="the share of records that are traced, 0 to 1; those that failed and slow ones always are"
    )
    slow: _Wait = Field(10.0, description="a record that takes longer is always traced")
    timeout: _Wait = Field(10.0, description="how long one export may take")


def _of_this_machine(address: Address) -> Address:
    if not address.is_loopback:
        raise PydanticCustomError("not_loopback", "expected an address of this machine alone")
    return address


class AdminTable(Options):
    """`[admin]`; without it, nothing listens."""

    listen: Annotated[ListenAddress, AfterValidator(_of_this_machine)] = Field(
        Address("127.0.0.1", 9178), description="where the admin listener listens; only this machine can reach it"
    )
    token_file: FilePath | None = Field(
        None,
        description="where its address and token are written at the start; "
        "by default a file in the user's runtime folder that is named after the pipeline file",
    )


class RuntimeTable(Options):
    """`[runtime]`."""

    processes: int = Field(1, ge=0, le=1024, description="how many processes share the work; 0 for one on each core")
    pin_cores: bool = Field(False, description="whether each process keeps to a core of its own")
    max_redeliveries: int = Field(
        3, ge=0, description="how often a record whose process died is tried again before it is taken for the cause"
    )


class SharedTable(Options):
    """`[shared]`: limits and budgets hold for all programs together that name the same bucket."""

    transport: str = Field(
        pattern=NAME_PATTERN, description="the transport, of type `nats`, whose servers keep what is shared"
    )
    bucket: str | None = Field(
        None,
        pattern="^[a-zA-Z0-9_-]+$",
        description="the bucket of the key-value store; by default `dagflow-` and the pipeline's name",
    )


TABLES: Final = (
    "pipeline",
    "defaults",
    "sources",
    "stages",
    "sinks",
    "workers",
    "transports",
    "auth",
    "runtime",
    "dead_letters",
    "checkpoint",
    "shared",
    "logging",
    "metrics",
    "tracing",
    "admin",
)

SETTINGS: Final[dict[str, type[BaseModel]]] = {
    "pipeline": PipelineTable,
    "defaults": DefaultsTable,
    "logging": LoggingTable,
    "runtime": RuntimeTable,
}
"""Tables about the pipeline as a whole that a file has even if it does not say so."""

OPTIONAL_SETTINGS: Final[dict[str, type[BaseModel]]] = {
    "dead_letters": DeadLettersTable,
    "checkpoint": CheckpointTable,
    "shared": SharedTable,
    "auth": AuthTable,
    "tracing": TracingTable,
    "admin": AdminTable,
}
"""Those that mean something by being there."""

NAMED_TABLES: Final[dict[str, type[PluginTable]]] = {
    "source": SourceTable,
    "stage": StageTable,
    "sink": SinkTable,
    "worker": WorkerTable,
    "transport": TransportTable,
}
"""The kinds of plugins that have named tables; the table is the kind's plural."""


def engine_keys(kind: str) -> frozenset[str]:
    """Give the keys of a named table that belong to the engine, and that no plugin may redefine."""
    model = ExporterTable if kind == "exporter" else NAMED_TABLES.get(kind)
    return frozenset(model.model_fields) if model is not None else frozenset()


def belongs_to(key: str) -> str | None:
    """Say where a key belongs, for somebody who wrote it elsewhere."""
    if key in ("depends_on", "needs", "inputs", "outputs", "after", "next"):
        return "the edges in `[pipeline]`, as `from` or `to`"
    homes: list[tuple[str, type[BaseModel]]] = [
        ("`[pipeline]`", PipelineTable),
        ("an edge", EdgeTable),
        ("the `retry` table of a stage or sink", RetryTable),
        ("a stage or sink", _Working),
        ("a source or stage", _Forwarding),
        ("a worker", WorkerTable),
        ("`[logging]`", LoggingTable),
        ("`[admin]`", AdminTable),
    ]
    for home, model in homes:
        if key in {field.alias or name for name, field in model.model_fields.items()}:
            return home
    return None
