"""Plans built by hand, without a file and without installed plugins."""

from typing import Any, Protocol

import pytest

from dagflow.graph.plan import EdgePlan, NodePlan, Plan
from dagflow.plugin import NoOptions, Stage


class BuildPlan(Protocol):
    """Builds a plan from nodes such as `rag stage retrieve` and edges."""

    def __call__(self, nodes: dict[str, dict[str, Any]], edges: list[EdgePlan], **settings: Any) -> Plan:
        """Key: name, kind and type; value: further attributes of the node."""


@pytest.fixture(scope="session")
def build_plan() -> BuildPlan:
    """Give a function that builds a plan; what nodes would do is of no matter here."""

    def build(nodes: dict[str, dict[str, Any]], edges: list[EdgePlan], **settings: Any) -> Plan:
        plans = [NodePlan(*key.split(), cls=Stage, options=NoOptions(), **more) for key, more in nodes.items()]
        return Plan(
            **{"name": "example", "path": None, **settings}, nodes={node.name: node for node in plans}, edges=(*edges,)
        )

    return build
