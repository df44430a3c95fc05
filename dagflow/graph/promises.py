"""Promises: what the annotation of a stage's `process` says about how many records it makes of one.

A stage that promises nothing may do anything; which of the two that speaks for is the caller's to decide.
"""

from __future__ import annotations

import re
from inspect import get_annotations
from typing import TYPE_CHECKING

from dagflow.record import Record

if TYPE_CHECKING:
    from dagflow.graph.plan import NodePlan

_OR_NONE = re.compile(r"\b(None|Optional)\b")


def splits_nothing(node: NodePlan | None) -> bool:
    """Whether a node surely hands on at most one record for each that it gets."""
    if node is None or node.kind != "stage":
        return node is not None
    return _promised(node) in ("Record", "Record | None", Record, Record | None)


def says_it_filters(node: NodePlan | None) -> bool:
    """Whether a node says that it may hand on nothing."""
    return node is not None and node.kind == "stage" and _OR_NONE.search(str(_promised(node))) is not None


def _promised(node: NodePlan) -> object:
    return get_annotations(node.cls.process).get("return")  # type: ignore[attr-defined]
