"""Layout: which tables a file may have, and how its nodes and workers are named."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from dagflow.config.diagnostics import Diagnostic, diagnose
from dagflow.config.suggest import closest, did_you_mean
from dagflow.config.tables import NAME_PATTERN, NAMED_TABLES, TABLES, belongs_to

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.config.document import Document
    from dagflow.config.keys import Key

NODE_KINDS: Final = ("source", "stage", "sink")
EDGES_HINT: Final = 'edges stand in one array: `[pipeline]`, `edges = [{ from = "a", to = "b" }]`'


def check_layout(document: Document) -> Iterator[Diagnostic]:
    """Find unknown and missing tables, things that are no table, and bad or repeated names."""
    for name, value in document.tables.items():
        if name not in TABLES:
            yield _unknown(name, value)
        elif not isinstance(value, dict):
            yield _no_table((name,), f"`{name}`", f"write `[{_header(name)}]`")
    yield from _check_presence(document)
    for kind in NAMED_TABLES:
        yield from _check_named(kind, document)
    yield from _check_repeated(document)


def named_tables(document: Document, kind: str) -> dict[str, dict[str, Any]]:
    """Give the well-formed tables of one kind by name."""
    return {name: value for name, value in document.table(f"{kind}s").items() if isinstance(value, dict)}


def stray_names(document: Document) -> set[str]:
    """Give the names of nodes and workers that stand in the file, but where they are none.

    These have been told about; that edges and options use them is no second mistake.
    """
    strays: set[str] = set()
    for name, value in document.tables.items():
        if isinstance(value, list):  # [[stages]]
            strays.update(str(item.get("name")) for item in value if isinstance(item, dict))
        elif isinstance(value, dict) and name not in TABLES:
            strays.update(value)
        elif isinstance(value, dict) and name.removesuffix("s") in NAMED_TABLES:
            strays.update(inner for inner, table in value.items() if not isinstance(table, dict))
            strays.update(_better_name(inner) for inner in value if not _is_name(inner))
    return strays


def has_nameless(document: Document) -> bool:
    """Whether a node or worker lacks its name, as in `[sources]` with a `type`: it may be called anything."""
    return any("type" in document.table(f"{kind}s") for kind in NAMED_TABLES)


def _check_presence(document: Document) -> Iterator[Diagnostic]:
    from_typos = {closest(name, TABLES) for name in document.tables if name not in TABLES}
    for kind in ("source", "sink"):
        name = f"{kind}s"
        if name not in from_typos and not document.tables.get(name):
            yield diagnose(f"no-{name}", f"the file has no {kind}", hint=f"add a table `[{name}.NAME]` with a `type`")


def _unknown(name: str, value: Any) -> Diagnostic:
    if name in ("edge", "edges"):
        hint: str | None = EDGES_HINT
    elif isinstance(value, dict | list):
        hint = did_you_mean(name, TABLES)
    else:
        home = belongs_to(name)
        hint = f"`{name}` belongs to {home}" if home else None
    if isinstance(value, dict | list):
        return diagnose("unknown-table", f"there is no table `{name}` in the language", (name,), hint=hint, at="key")
    return diagnose("unknown-key", f"the file has no key `{name}` outside its tables", (name,), hint=hint, at="key")


def _check_named(kind: str, document: Document) -> Iterator[Diagnostic]:
    told = False
    for name, value in document.table(f"{kind}s").items():
        key = (f"{kind}s", name)
        if isinstance(value, dict):
            if not _is_name(name):
                text = f"`{name}` is no name for a {kind}: expected lower-case letters, digits, `-` and `_`"
                yield diagnose("bad-name", text, key, hint=f"`{_better_name(name)}` would do", at="key")
        elif not told:  # the keys after it are of the same table
            told = True
            hint = f"give the {kind} a name of its own: `[{kind}s.NAME]`"
            yield _no_table(key, f"`{kind}s.{name}`", hint)


def _check_repeated(document: Document) -> Iterator[Diagnostic]:
    first: dict[str, tuple[str, Key]] = {}
    for kind in NODE_KINDS:
        for name in named_tables(document, kind):
            key = (f"{kind}s", name)
            if name in first:
                other, other_key = first[name]
                text = f"a {other} and a {kind} are both called `{name}`, so that an edge could mean either"
                yield diagnose("duplicate-name", text, key, hint="give one of them another name", others=[other_key])
            first.setdefault(name, (kind, key))


def _no_table(key: Key, what: str, hint: str) -> Diagnostic:
    return diagnose("wrong-type", f"{what} is not a table", key, hint=hint)


def _header(name: str) -> str:
    named = name.removesuffix("s") in NAMED_TABLES
    return f"{name}.NAME" if named else name


def _is_name(name: str) -> bool:
    return re.fullmatch(NAME_PATTERN, name) is not None


def _better_name(name: str) -> str:
    better = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")
    return better if _is_name(better) else f"n-{better}".rstrip("-")
