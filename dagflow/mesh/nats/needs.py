"""What edges, sources and sinks need of JetStream, and how it is created."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog

from dagflow.errors import PluginError
from dagflow.mesh.carried import carrier_name
from dagflow.mesh.nats.connection import Connection
from dagflow.mesh.nats.edges import consumers_of, subject_of
from dagflow.mesh.nats.jetstream import ask, reason_of
from dagflow.mesh.nats.store import KEPT_S, bucket_stream
from dagflow.mesh.needs import MARK, Need

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagflow.graph.plan import EdgePlan, NodePlan
    from dagflow.graph.transport_plan import SharedPlan

_OF_CONSUMERS: Final = ("filter_subject", "ack_policy", "ack_wait", "max_ack_pending", "max_deliver")


def of_edge(pipeline: str, edge: EdgePlan, options: Any) -> list[Need]:
    """Give what an edge needs: a stream, and the consumers of its end."""
    stream, of = carrier_name(pipeline, edge), f"edge {edge.name}"
    settings = {
        "subjects": [f"{subject_of(stream)}.*"],
        "retention": "workqueue",
        "storage": "file",
        "discard": "new",
        "max_msgs": edge.capacity,
        "num_replicas": options.replicas,
        "duplicate_window": options.duplicate_window,
    }
    consumers = consumers_of(stream, edge, options)
    return [
        Need("stream", stream, of, options, settings),
        *(Need("consumer", one.durable_name, of, options, _described(one), stream) for one in consumers),
    ]


def of_shared(pipeline: str, shared: SharedPlan) -> list[Need]:
    """Give what `[shared]` needs: a bucket, which is a stream that keeps the last message of each subject."""
    options, stream = shared.transport.options, bucket_stream(shared.bucket)
    settings = {
        "subjects": [f"$KV.{shared.bucket}.>"],
        "storage": "file",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "allow_direct": True,
        "max_age": KEPT_S,
        "num_replicas": options.replicas,
    }
    return [Need("stream", stream, f"[shared] of {pipeline}", options, settings)]


def of_node(node: NodePlan) -> list[Need]:
    """Give what a source or a sink needs; a source creates its consumer itself, since it may be one of many users."""
    options, of = node.options, f"{node.kind} {node.name}"
    stream = getattr(options, "stream", None)
    needs = [] if stream is None else [Need("stream", stream, of, options, is_ours=False)]
    if hasattr(options, "consumer"):
        needs.append(Need("consumer", options.consumer, of, options, stream=stream, is_ours=False))
    return needs


class NatsBroker:
    """The servers that a connection leads to."""

    def __init__(self, options: Any) -> None:
        self._connection = Connection(options, "dagflow mesh", structlog.get_logger())

    async def open(self) -> None:
        """Connect.

        Raises:
            PluginError: no server answers in time, or it lets nobody in who shows this.
        """
        await self._connection.open()

    async def close(self) -> None:
        """Let go of the connection; twice is fine."""
        await self._connection.close()

    async def find(self, need: Need) -> tuple[Mapping[str, Any], bool] | None:
        """Give the settings of what there is, and whether dagflow made it; None if there is nothing."""
        from nats.js.errors import NotFoundError

        question = ("stream_info", need.name) if need.kind == "stream" else ("consumer_info", need.stream, need.name)
        try:
            config = (await self._ask(need, *question)).config
        except NotFoundError:
            return None
        return _described(config, need.settings), MARK in (config.metadata or {})

    async def create(self, need: Need) -> None:
        """Create a stream or a consumer."""
        await self._write(need, "add_stream")

    async def change(self, need: Need) -> None:
        """Give what dagflow made the settings that are needed."""
        await self._write(need, "update_stream")

    async def _write(self, need: Need, verb: str) -> None:
        from nats.js.api import ConsumerConfig, StreamConfig

        metadata = {MARK: need.of}
        if need.kind == "stream":
            await self._ask(need, verb, StreamConfig(name=need.name, **need.settings, metadata=metadata))
        else:  # to add a consumer that is there changes it
            config = ConsumerConfig(durable_name=need.name, **need.settings, metadata=metadata)
            await self._ask(need, "add_consumer", need.stream, config)

    async def _ask(self, need: Need, question: str, *args: Any) -> Any:
        from nats.errors import Error
        from nats.js.errors import NotFoundError

        try:
            return await ask(self._connection, question, *args)
        except NotFoundError:
            raise
        except (TimeoutError, Error) as error:
            raise PluginError(f"{need.kind} `{need.name}`: {reason_of(error)}") from error


def _described(config: Any, names: Any = _OF_CONSUMERS) -> dict[str, Any]:
    return {name: _plain(getattr(config, name)) for name in names}


def _plain(value: Any) -> Any:
    return getattr(value, "value", value)
