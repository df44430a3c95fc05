"""Needs: what a file needs of its brokers, and what became of each when it was looked for.

What the two ends of an edge need can be created here, since nobody else uses it. What sources and sinks read and write
belongs to somebody else: it must be there, and only that is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from dagflow.graph.cutting import carried_edges
from dagflow.mesh.kafka.options import KafkaOptions
from dagflow.mesh.nats.options import NatsOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dagflow.graph.plan import Plan

MARK: Final = "dagflow"
"""The key of the metadata by which dagflow knows what it has made."""

State = Literal["missing", "there", "created", "changed", "differs"]


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that has to be at a broker.

    Attributes:
        kind: `stream`, `consumer`, `topic` or `group`.
        name: its name; `stream` is that of a consumer's stream.
        of: who needs it, as `edge a -> b` or `source in`.
        settings: how it is to be, where that can be said; JSON-like.
        is_ours: whether it is created here.
        options: where the brokers are, and who this is.
    """

    kind: str
    name: str
    of: str
    options: Any
    settings: Mapping[str, Any] = field(default_factory=dict)
    stream: str | None = None
    is_ours: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON-like values, without what it takes to connect."""
        about = {"kind": self.kind, "name": self.name, "for": self.of, "servers": list(self.options.servers)}
        where = {} if self.stream is None else {"stream": self.stream}
        return {**about, **where, "created_by_apply": self.is_ours, "settings": dict(self.settings)}


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of a need.

    Attributes:
        differences: by setting, what was found and what is needed.
    """

    need: Need
    state: State
    differences: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    @property
    def is_well(self) -> bool:
        """Whether a run finds what it needs."""
        return self.state not in ("missing", "differs")


class Broker(Protocol):
    """What is asked of the brokers of one kind, over one connection."""

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Let go of the connection; twice is fine."""

    async def find(self, need: Need) -> tuple[Mapping[str, Any], bool] | None:
        """Give the settings of what there is, and whether dagflow made it; None if there is nothing."""

    async def create(self, need: Need) -> None:
        """Create what is needed."""

    async def change(self, need: Need) -> None:
        """Give what dagflow made the settings that are needed."""


def needs_of(plan: Plan) -> list[Need]:
    """Give all that a plan needs of brokers, uncut: what all programs need together."""
    from dagflow.mesh.kafka import needs as kafka
    from dagflow.mesh.nats import needs as nats

    found: list[Need] = []
    for edge in carried_edges(plan):
        options = plan.transports[edge.via].options
        of = nats if isinstance(options, NatsOptions) else kafka if isinstance(options, KafkaOptions) else None
        if of is not None:
            found += of.of_edge(plan.name, edge, options)
    if plan.shared is not None:
        found += nats.of_shared(plan.name, plan.shared)
    for node in plan.nodes.values():
        of = {NatsOptions: nats, KafkaOptions: kafka}.get(_kind_of(node.options))
        if of is not None:
            found += of.of_node(node)
    return found


async def apply(needs: Sequence[Need]) -> list[Finding]:
    """Create what is missing of what is ours, and give what became of each; changes nothing that dagflow did not make.

    Raises:
        PluginError: a broker cannot be reached, or refuses.
    """
    findings: list[Finding] = []
    for options, some in _by_broker(needs):
        broker = _broker_of(options)
        try:
            await broker.open()
            findings += [await _applied(need, broker) for need in some]
        finally:
            await broker.close()
    return findings


async def _applied(need: Need, broker: Broker) -> Finding:
    found = await broker.find(need)
    if found is None:
        if not need.is_ours:
            return Finding(need, "missing")
        await broker.create(need)
        return Finding(need, "created")
    settings, is_made_here = found
    differences = {
        name: (settings.get(name), wanted) for name, wanted in need.settings.items() if settings.get(name) != wanted
    }
    if not differences:
        return Finding(need, "there")
    if not is_made_here:
        return Finding(need, "differs", differences)
    await broker.change(need)
    return Finding(need, "changed", differences)


def _kind_of(options: Any) -> type[Any] | None:
    return next((kind for kind in (NatsOptions, KafkaOptions) if isinstance(options, kind)), None)


def _by_broker(needs: Sequence[Need]) -> Iterator[tuple[Any, list[Need]]]:
    """Give needs of the same servers and the same user together, in their order."""
    groups: dict[str, list[Need]] = {}
    for need in needs:
        kind = _kind_of(need.options)
        assert kind is not None
        same = repr([(name, getattr(need.options, name)) for name in kind.model_fields])
        groups.setdefault(same, []).append(need)
    for some in groups.values():
        yield some[0].options, some


def _broker_of(options: Any) -> Broker:
    if isinstance(options, NatsOptions):
        from dagflow.mesh.nats.needs import NatsBroker

        return NatsBroker(options)
    from dagflow.mesh.kafka.needs import KafkaBroker

    return KafkaBroker(options)
