"""Transport `kafka`: the edge is a topic of Kafka, and its ends may be in different programs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from dagflow.mesh.kafka.edges import Inlet, Outlet
from dagflow.mesh.kafka.options import KafkaOptions
from dagflow.options import Duration, Size
from dagflow.transport import Transport

if TYPE_CHECKING:
    from dagflow.graph.plan import EdgePlan
    from dagflow.plugin import Sink, Source


class Kafka(Transport):
    """Carries each edge over a topic and a group of its own; `dagflow mesh apply` creates the topic.

    A record is handed off when all replicas have it, and its offset is committed when it has an outcome and all before
    it have one. Records of one session go to one partition. As a topic has no bound, senders hold back while the group
    has as many open as the edge's `capacity` says.
    """

    class Options(KafkaOptions):
        partitions: int = Field(
            12, ge=1, description="of topics that are created; so many programs at most share the end of an edge"
        )
        replicas: int = Field(1, ge=1, description="of topics that are created: how many brokers keep each partition")
        idempotent: bool = Field(
            True, description="have the brokers refuse what was sent twice after an error; some know nothing of it"
        )
        linger: Duration = Field(0.0, ge=0, description="how long a batch waits for more; it goes at once by default")
        max_batch: Size = Field(64 * 1024, ge=1, description="the largest batch for one partition")
        max_request: Size = Field(1024**2, ge=1024, description="the largest message; brokers have limits too")
        max_ahead: int = Field(
            10_000, ge=1, description="how many records of a partition are taken over from its oldest open one on"
        )
        commit_interval: Duration = Field(0.1, ge=0.01, description="how often offsets are committed")
        session_timeout: Duration = Field(
            10.0, ge=0.5, description="how long the group waits for a member that is silent"
        )
        handover: Duration = Field(
            2.0, ge=0, description="how long a partition that goes to another member is kept for what is in flight"
        )

        @model_validator(mode="after")
        def _fits_group(self) -> Kafka.Options:
            if self.handover >= self.session_timeout:
                raise PydanticCustomError("late_handover", "`handover` must be shorter than `session_timeout`")
            if self.request_timeout <= self.session_timeout:
                text = "`request_timeout` must be longer than `session_timeout`, as a group may take that long to meet"
                raise PydanticCustomError("hasty_requests", text)
            return self

    durable = True

    def build_outlet(self, edge: EdgePlan) -> Sink:
        return Outlet(self.options, edge)

    def build_inlet(self, edge: EdgePlan) -> Source:
        return Inlet(self.options, edge)
