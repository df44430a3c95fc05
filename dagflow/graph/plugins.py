"""Plugins as the compiler meets them: from a type to a class, and what the class declares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.config.suggest import did_you_mean
from dagflow.config.tables import NAMED_TABLES
from dagflow.errors import AmbiguousType, PluginError, UnknownType
from dagflow.plugin import Sink, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic import BaseModel

    from dagflow.config.keys import Key
    from dagflow.plugin import Node
    from dagflow.registry import Registry

_LISTED: Final = 12  # so many names are still read


def load_plugin(registry: Registry, kind: str, type_name: str, key: Key) -> type[Any] | Diagnostic:
    """Give the class of a type, or say at `key` why there is none."""
    try:
        return registry.load(kind, type_name)
    except UnknownType as error:
        code = "unknown-transport" if kind == "transport" else "unknown-type"
        return diagnose(code, str(error), key, hint=_type_hint(registry, error))
    except AmbiguousType as error:
        choices = " or ".join(f'`"{package}:{type_name}"`' for package in error.packages)
        return diagnose("ambiguous-type", str(error), key, hint=f"say which: {choices}")
    except PluginError as error:
        return diagnose("broken-plugin", str(error), key)


def missing_type_hint(types: Sequence[str], values: Mapping[str, Any]) -> str:
    """Help with a table that has no `type`, but perhaps the type under another key."""
    meant = next((key for key, value in values.items() if isinstance(value, str) and value in types), None)
    return f'did you mean `type = "{values[meant]}"` for `{meant}`?' if meant else _installed(types)


def ask_declarations(cls: type[Node], options: BaseModel) -> dict[str, Any]:
    """Ask a node which fields it touches, which ports it has, and whether live completions go on behind or in it.

    Raises:
        TypeError: it gave something else than names.
        Exception: whatever its constructor or methods raise.
    """
    node = cls(options)
    writes = node.writes()
    return {
        "reads": _names("reads", node.reads()),
        "reads_any": tuple(_names("reads_any", group) for group in node.reads_any()),
        "writes": None if writes is None else _names("writes", writes),
        "ports": _names("ports", node.ports()),
        "answers": bool(getattr(node, "answers", False)),
        "finite": bool(getattr(node, "finite", True)),
        "resumable": bool(getattr(node, "resumable", False)),
        "splits": bool(getattr(node, "splits", False)),
        "splits_sessions": bool(getattr(node, "splits_sessions", False)),
        "replaceable": bool(getattr(node, "replaceable", False)),
        "parallel": bool(getattr(node, "parallel", False)),
        "in_order": bool(getattr(node, "in_order", False)),
        "serves": bool(getattr(node, "serves", False)),
        "exposed_at": node.exposed_at() if isinstance(node, Source) else None,
        "forwards": bool(getattr(node, "forwards_live" if isinstance(node, Sink) else "passes_live", False)),
    }


def _type_hint(registry: Registry, error: UnknownType) -> str:
    elsewhere = [kind for kind in NAMED_TABLES if error.type_name in registry.names(kind)]
    if elsewhere:
        return f"`{error.type_name}` is a {' and a '.join(elsewhere)}; it belongs under `[{elsewhere[0]}s]`"
    return did_you_mean(error.type_name, error.names) or _installed(error.names)


def _installed(types: Sequence[str]) -> str:
    if 0 < len(types) <= _LISTED:
        return f"installed are {', '.join(f'`{name}`' for name in types)}"
    return "`dagflow plugins list` shows what is installed"


def _names(method: str, answer: Any) -> frozenset[str]:
    if not isinstance(answer, set | frozenset):
        raise TypeError(f"`{method}` gave `{answer!r}`, expected a set of names")
    return frozenset(answer)
