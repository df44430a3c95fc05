"""Plan: the frozen result of compiling a file. What the engine wires, and what is drawn.

A plan holds classes and validated options, never opened things: one plan may be run twice.
Times are in seconds, sizes in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

from dagflow.config.worker_tables import GuardKeys

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic import BaseModel

    from dagflow.addresses import Address
    from dagflow.config.auth_tables import AuthTable
    from dagflow.config.diagnostics import Diagnostic
    from dagflow.config.tables import TracingTable
    from dagflow.expressions import Expression
    from dagflow.graph.transport_plan import SharedPlan, TransportPlan
    from dagflow.plugin import Exporter, ModelWorker, Node

AGEING_S: Final = 10.0
"""The wait that counts as much as one priority more, where an edge does not say, in seconds."""

Kind = Literal["source", "stage", "sink"]
WhenFull = Literal["block", "drop_newest", "drop_oldest", "drop_lowest", "spill"]
Order = Literal["fifo", "priority", "deadline"]
OnError = Literal["dead_letter", "drop", "port"]
FanOut = Literal["all", "first"]
Unmatched = Literal["fail", "filter"]
Affinity = Literal["session"]
OnMissing = Literal["fail", "partial"]

_UNGUARDED: Final = GuardKeys()


@dataclass(frozen=True, slots=True)
class RetryPlan:
    """How often an attempt is made, and how long to wait in between (full jitter).

    Attributes:
        budget: how much more may be asked for the sake of retries, as a share of what is asked; None for any.
    """

    attempts: int = 1
    backoff_s: float = 0.2
    max_backoff_s: float = 5.0
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class JoinPlan:
    """How a node joins the branches of one record that its incoming edges bring."""

    mode: Literal["all", "any"]
    timeout_s: float = 30.0
    on_missing: OnMissing = "fail"


@dataclass(frozen=True, slots=True)
class NodePlan:
    """One source, stage or sink.

    Attributes:
        reads, writes: fields; `writes` is None where the plugin may write anything.
        reads_any: groups of fields, of each of which it reads at least one.
        workers: the workers that the options name.
        affinity: whether its slots are lanes, so that records of one session keep their order.
        join: how it joins branches; None if it takes records as they come.
        forwards: whether it takes live completions: a stage that passes them on, a sink that forwards them.
        live: for a stage: whether its completions may stay live, as all that follows forwards them.
        serves: for a source: whether callers wait for answers; `answers`: for a sink: whether it gives them.
        finite: for a source: whether it ends by itself.
        splits: for a source: whether several processes may read it, each its share; `splits_sessions`: also where
            records of one session must stay together.
        replaceable: for a source: whether one of a new plan may take its place while it runs.
        parallel: for a sink: whether each of several processes may have one of its own.
        resumable: for a source or sink: whether a run can go on where an earlier one stopped.
        in_order: for a source: whether it can't leave a record open while later ones are done.
        exposed_at: for a source: the address at which others could use it without `[auth]`.
    """

    name: str
    kind: Kind
    type: str
    cls: type[Node]
    options: BaseModel
    concurrency: int = 1
    timeout_s: float | None = None
    retry: RetryPlan = RetryPlan()
    on_error: OnError = "dead_letter"
    fan_out: FanOut = "all"
    unmatched: Unmatched = "fail"
    affinity: Affinity | None = None
    join: JoinPlan | None = None
    reads: frozenset[str] = frozenset()
    reads_any: tuple[frozenset[str], ...] = ()
    writes: frozenset[str] | None = None
    ports: frozenset[str] = frozenset()
    workers: tuple[str, ...] = ()
    forwards: bool = False
    live: bool = False
    serves: bool = False
    answers: bool = False
    finite: bool = True
    splits: bool = False
    splits_sessions: bool = False
    replaceable: bool = False
    parallel: bool = False
    resumable: bool = False
    in_order: bool = False
    exposed_at: str | None = None

    def build(self) -> Any:
        """Construct the plugin; does no I/O."""
        return self.cls(self.options)


@dataclass(frozen=True, slots=True)
class SpillPlan:
    """Where an edge puts what does not fit into memory, and how many bytes that may be."""

    path: Path
    max_bytes: int


@dataclass(frozen=True, slots=True)
class EdgePlan:
    """One edge; `port` is None for the main output of `source`, `called` its name where that does not follow.

    Its transport is told whether `sessions` keep their order behind it, and whether callers may wait for `answers`."""

    source: str
    target: str
    port: str | None = None
    capacity: int = 512
    max_bytes: int | None = None
    when_full: WhenFull = "block"
    block_timeout_s: float | None = None
    spill: SpillPlan | None = None
    max_wait_s: float | None = None
    order: Order = "fifo"
    ageing_s: float = AGEING_S
    dead_letter: bool = False
    when: Expression | None = None
    best_effort: bool = False
    via: str = "memory"
    called: str | None = None
    sessions: bool = False
    answers: bool = False

    @property
    def drops(self) -> bool:
        """Whether a record is lost when it is full."""
        return self.when_full not in ("block", "spill")

    @property
    def origin(self) -> str:
        """The node and port that the edge leaves, as in the file."""
        return f"{self.source}.{self.port}" if self.port else self.source

    @property
    def name(self) -> str:
        """The edge's name in reports and metrics: `a -> b`."""
        return self.called or f"{self.origin} -> {self.target}"


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """One model worker.

    Attributes:
        guards: what bounds, counts and prices its calls.
        workers: the workers that its options name, where it is a pool.
    """

    name: str
    type: str
    cls: type[ModelWorker]
    options: BaseModel
    guards: GuardKeys = _UNGUARDED
    workers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ExporterPlan:
    """One exporter of metrics; its name is its type."""

    name: str
    cls: type[Exporter]
    options: BaseModel
    interval_s: float = 15.0
    timeout_s: float = 10.0

    @property
    def workers(self) -> tuple[str, ...]:
        """None: an exporter names no workers."""
        return ()


@dataclass(frozen=True, slots=True)
class LoggingPlan:
    """How logs are written."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["console", "json"] = "console"


@dataclass(frozen=True, slots=True)
class DeadLettersPlan:
    """Where dead letters are kept, and how many."""

    path: Path
    max_records: int = 100_000
    max_age_s: float | None = None


@dataclass(frozen=True, slots=True)
class CheckpointPlan:
    """Where a run keeps what it has done."""

    path: Path


@dataclass(frozen=True, slots=True)
class RuntimePlan:
    """In how many processes it runs, whether each keeps to a core, and how often a record survives the death of one."""

    processes: int = 1
    pin_cores: bool = False
    max_redeliveries: int = 3


@dataclass(frozen=True, slots=True)
class AdminPlan:
    """Where the admin listener listens; `token_file` is where its address and token are written, if the file says."""

    listen: Address
    token_file: Path | None = None


@dataclass(frozen=True)
class Plan:
    """A checked pipeline.

    Attributes:
        nodes: by name, in an order in which each edge leads forward.
        edges: in the order of the file.
        effective: the file's tables with defaults filled in, references unresolved, secrets redacted; for `show`.
        warnings: findings that do not keep it from running; `text` and `overrides`: what it was compiled of.
    """

    name: str
    path: Path | None
    nodes: Mapping[str, NodePlan]
    edges: tuple[EdgePlan, ...]
    workers: Mapping[str, WorkerPlan] = field(default_factory=dict)
    transports: Mapping[str, TransportPlan] = field(default_factory=dict)
    logging: LoggingPlan = LoggingPlan()
    dead_letters: DeadLettersPlan | None = None
    checkpoint: CheckpointPlan | None = None
    auth: AuthTable | None = None
    tracing: TracingTable | None = None
    exporters: Mapping[str, ExporterPlan] = field(default_factory=dict)
    metric_labels: Mapping[str, str] = field(default_factory=dict)
    admin: AdminPlan | None = None
    runtime: RuntimePlan = RuntimePlan()
    shared: SharedPlan | None = None
    max_in_flight: int = 4096
    drain_timeout_s: float = 30.0
    effective: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[Diagnostic, ...] = ()
    text: str = ""
    overrides: tuple[str, ...] = ()

    @property
    def is_watched(self) -> bool:
        """Whether somebody may read metrics while it runs."""
        return bool(self.exporters) or self.admin is not None

    @cached_property
    def edges_from(self) -> Mapping[str, tuple[EdgePlan, ...]]:
        """Outgoing edges of each node, in file order."""
        return {name: tuple(e for e in self.edges if e.source == name) for name in self.nodes}

    @cached_property
    def edges_to(self) -> Mapping[str, tuple[EdgePlan, ...]]:
        """Incoming edges of each node, in file order."""
        return {name: tuple(e for e in self.edges if e.target == name) for name in self.nodes}

    def of_kind(self, kind: Kind) -> list[NodePlan]:
        """All nodes of one kind, in plan order."""
        return [node for node in self.nodes.values() if node.kind == kind]
