"""Rules for sources, stages and sinks: what they declare."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from dagflow.errors import describe
from dagflow.graph.draft import ERROR_PORT
from dagflow.testing.conformance.calls import use
from dagflow.testing.conformance.rule import Breach, demand, rule

if TYPE_CHECKING:
    from dagflow.testing.conformance.trial import Trial

_PORT: Final = re.compile(r"[a-z][a-z0-9_-]*")


@rule("NODE-1")
async def declares_sets(trial: Trial) -> None:
    """Before `open`, `reads`, `writes` (or None) and `ports` give sets of names, and `reads_any` a list of them."""
    node = trial.build()
    for method in ("reads", "writes", "ports"):
        names = _asked(node, method)
        demand(_is_names(names) or (method == "writes" and names is None), f"`{method}` gave `{names!r}`")
    groups = _asked(node, "reads_any")
    demand(isinstance(groups, list | tuple) and all(map(_is_names, groups)), f"`reads_any` gave `{groups!r}`")


@rule("NODE-2")
async def declares_the_same(trial: Trial) -> None:
    """What a node declares depends on its options alone: the same at any time, and for all of the same options."""
    first = _declared(trial.build())
    async with trial.opened() as node:
        demand(_declared(node) == first, f"declared was `{first}`, and by another node, once open, `{_declared(node)}`")
        await use(trial, node)
        demand(_declared(node) == first, f"declared was `{first}`, and after use `{_declared(node)}`")


@rule("NODE-3")
async def names_ports(trial: Trial) -> None:
    """A port is named as a node is, `[a-z][a-z0-9_-]*`, and not `error`, which the engine gives to each stage."""
    for port in trial.build().ports():
        demand(port != ERROR_PORT and _PORT.fullmatch(str(port)), f"a port is called `{port}`")


def _asked(node: Any, method: str) -> Any:
    try:
        return getattr(node, method)()
    except Exception as error:
        raise Breach(f"`{method}` raised {describe(error)} before `open`") from error


def _is_names(value: Any) -> bool:
    return isinstance(value, set | frozenset) and all(isinstance(name, str) for name in value)


def _declared(node: Any) -> dict[str, Any]:
    found = {name: getattr(node, name)() for name in ("reads", "reads_any", "writes", "ports")}
    return {name: sorted(value) if isinstance(value, set | frozenset) else value for name, value in found.items()}


NODE_RULES: Final = (declares_sets, declares_the_same, names_ports)
