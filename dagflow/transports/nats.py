"""Transport `nats`: the edge is a stream of JetStream, and its ends may be in different programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from dagflow.mesh.nats.edges import Inlet, Outlet
from dagflow.mesh.nats.options import NatsOptions
from dagflow.mesh.nats.store import NatsStore
from dagflow.options import Duration
from dagflow.transport import Transport

if TYPE_CHECKING:
    from dagflow.graph.plan import EdgePlan
    from dagflow.inference.leasing import Store
    from dagflow.plugin import Sink, Source


class Nats(Transport):
    """Carries each edge over a work-queue stream of its own, which `dagflow mesh apply` creates.

    A record is handed off when the stream has stored it, and removed from the stream when it has an outcome. The stream
    holds as many records as the edge's `capacity` says; what is in work counts among them.
    """

    class Options(NatsOptions):
        partitions: int = Field(
            64,
            ge=2,
            le=1000,
            description="over how many subjects the sessions of an edge are spread that leads to a node with"
            ' `affinity = "session"`; so many records of it are in work at a time, at most, over all machines',
        )
        replicas: int = Field(1, ge=1, le=5, description="of streams that are created: how many servers keep each")
        duplicate_window: Duration = Field(
            120.0, ge=0.1, description="of streams that are created: how long they know what they had"
        )
        ack_wait: Duration = Field(
            30.0,
            ge=0.1,
            description="how soon records of a program that died come again; of consumers that are created",
        )
        max_ack_pending: int = Field(
            10_000, ge=1, description="of consumers that are created: how many records all programs may hold together"
        )
        redelivery_delay: Duration = Field(
            5.0, ge=0, description="how long a record waits that is given back since its dead letter could not be kept"
        )
        max_redeliveries: int = Field(
            10, ge=0, description="how often a record may come again before it fails without being tried"
        )
        publish_timeout: Duration = Field(
            60.0, gt=0, description="how long a record waits for a server to store it, over lost connections too"
        )

    durable = True
    answers = True
    shares = True

    def build_outlet(self, edge: EdgePlan) -> Sink:
        return Outlet(self.options, edge)

    def build_inlet(self, edge: EdgePlan) -> Source:
        return Inlet(self.options, edge)

    def build_store(self, bucket: str, name: str, log: Any) -> Store:
        return NatsStore(self.options, bucket, name, log)
