"""What edges, sources and sinks need of Kafka, and how it is created.

A topic cannot be marked, so that nothing tells who made one: what is missing is created, and nothing is ever changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagflow.errors import PluginError, describe
from dagflow.mesh.carried import carrier_name
from dagflow.mesh.kafka.client import load_aiokafka, reason_of, settings
from dagflow.mesh.needs import Need

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dagflow.graph.plan import EdgePlan, NodePlan


def of_edge(pipeline: str, edge: EdgePlan, options: Any) -> list[Need]:
    """Give what an edge needs: a topic, and a group, which comes to be by itself."""
    topic, of = carrier_name(pipeline, edge), f"edge {edge.name}"
    about = {"partitions": options.partitions, "replicas": options.replicas}
    return [Need("topic", topic, of, options, about), Need("group", topic, of, options, is_ours=False)]


def of_node(node: NodePlan) -> list[Need]:
    """Give what a source or a sink needs."""
    options, of = node.options, f"{node.kind} {node.name}"
    topics = options.topics if hasattr(options, "topics") else [options.topic]
    needs = [Need("topic", topic, of, options, is_ours=False) for topic in topics]
    if hasattr(options, "group"):
        needs.append(Need("group", options.group, of, options, is_ours=False))
    return needs


class KafkaBroker:
    """The brokers that these options lead to."""

    def __init__(self, options: Any) -> None:
        self._options = options
        self._admin: Any = None

    async def open(self) -> None:
        """Connect.

        Raises:
            PluginError: there is no client library, or the brokers cannot be reached or refuse.
        """
        load_aiokafka("type `kafka`")
        from aiokafka.admin import AIOKafkaAdminClient

        self._admin = AIOKafkaAdminClient(**settings(self._options))
        try:
            await self._admin.start()
        except Exception as error:
            raise PluginError(reason_of(error, self._options.servers)) from error

    async def close(self) -> None:
        """Let go of the connections; twice is fine."""
        admin, self._admin = self._admin, None
        if admin is not None:
            await admin.close()

    async def find(self, need: Need) -> tuple[Mapping[str, Any], bool] | None:
        """Give the settings of a topic; a group is there as soon as somebody uses it."""
        if need.kind == "group":
            return {}, False
        if need.name not in await self._admin.list_topics():
            return None
        (found,) = await self._admin.describe_topics([need.name])
        partitions = found["partitions"]
        replicas = len(partitions[0]["replicas"]) if partitions else 0
        return {"partitions": len(partitions), "replicas": replicas}, False

    async def create(self, need: Need) -> None:
        """Create a topic.

        Raises:
            PluginError: the brokers refuse.
        """
        from aiokafka.admin import NewTopic
        from aiokafka.errors import NoError, for_code

        topic = NewTopic(need.name, need.settings["partitions"], need.settings["replicas"])
        try:
            answer = await self._admin.create_topics([topic])
        except Exception as error:
            raise PluginError(f"topic `{need.name}`: {describe(error)}") from error
        for _, code, *_ in answer.topic_errors:
            if for_code(code) is not NoError:
                raise PluginError(f"topic `{need.name}`: {reason_of(for_code(code)(need.name))}")

    async def change(self, need: Need) -> None:
        """Never called: nothing says that dagflow made a topic."""
        raise AssertionError(need)
