"""Registry: entry points to plugin classes. It imports only what it is asked for.

A registry is an object that is passed in, never global. The class that it gives out is a
concrete subclass of its kind's base, with an options model that leaves the engine's keys alone.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from dagflow.config.shape import fields_of
from dagflow.config.tables import engine_keys
from dagflow.errors import AmbiguousType, BrokenPlugin, UnknownType, describe
from dagflow.plugin import CONTRACTS, Exporter, ModelWorker, Plugin, Sink, Source, Stage
from dagflow.transport import Transport, lacking_methods

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.metadata import EntryPoint

BASES: Final[dict[str, type[Plugin]]] = {
    "source": Source,
    "stage": Stage,
    "sink": Sink,
    "worker": ModelWorker,
    "transport": Transport,
    "exporter": Exporter,
}
"""The kinds of plugins; the entry point group is `dagflow.` and the kind's plural."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One entry point of one installed package; not imported yet."""

    kind: str
    name: str
    package: str
    entry_point: EntryPoint

    @property
    def version(self) -> str | None:
        """The package's version, where it has one."""
        return self.entry_point.dist.version if self.entry_point.dist else None


class Registry:
    """The plugins that installed packages offer."""

    def __init__(self, entry_points: Iterable[EntryPoint] | None = None) -> None:
        """Take the entry points to know; those of all installed packages by default."""
        self._entry_points = entry_points
        self._classes: dict[Offer, type[Any]] = {}

    def names(self, kind: str) -> list[str]:
        """Give the types of one kind, sorted; imports nothing."""
        return sorted({offer.name for offer in self.offers(kind)})

    def offers(self, kind: str) -> list[Offer]:
        """Give what packages offer of one kind, by type and package; imports nothing."""
        return self._offers[kind]

    def find(self, kind: str, type_name: str) -> Offer:
        """Give the offer that `type_name` means; `package:name` chooses between packages.

        Raises:
            UnknownType: no installed package offers it.
            AmbiguousType: several do, and the name does not say which.
        """
        package, colon, name = type_name.rpartition(":")
        found = [o for o in self.offers(kind) if o.name == name and (not colon or _same(o.package, package))]
        if not found:
            raise UnknownType(kind, type_name, self.names(kind))
        if len(found) > 1:
            raise AmbiguousType(kind, type_name, [offer.package for offer in found])
        return found[0]

    def load(self, kind: str, type_name: str) -> type[Any]:
        """Import the class behind a type.

        Raises:
            UnknownType, AmbiguousType: as `find`.
            BrokenPlugin: it does not import, or is not a plugin of this kind.
        """
        offer = self.find(kind, type_name)
        if offer not in self._classes:
            self._classes[offer] = _imported(offer)
        return self._classes[offer]

    @cached_property
    def _offers(self) -> dict[str, list[Offer]]:
        kinds = {f"dagflow.{kind}s": kind for kind in BASES}
        points = _installed(kinds) if self._entry_points is None else self._entry_points
        found = {Offer(kinds[p.group], p.name, _package(p), p) for p in points if p.group in kinds}
        ordered = sorted(found, key=lambda offer: (offer.name, offer.package))
        return {kind: [offer for offer in ordered if offer.kind == kind] for kind in BASES}


def _installed(groups: Iterable[str]) -> list[EntryPoint]:
    from importlib.metadata import entry_points  # 30 ms

    points = entry_points()  # one search of all packages; asking for a group at a time would repeat it
    return [point for group in groups for point in points.select(group=group)]


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value.partition(":")[0].partition(".")[0]


def _same(package: str, other: str) -> bool:
    return package.lower().replace("_", "-") == other.lower().replace("_", "-")


def _imported(offer: Offer) -> type[Any]:
    try:
        loaded = offer.entry_point.load()
    except Exception as error:
        raise BrokenPlugin(offer.kind, offer.name, offer.package, describe(error)) from error
    fault = fault_of(offer.kind, loaded)
    if fault is not None:
        raise BrokenPlugin(offer.kind, offer.name, offer.package, fault)
    return loaded


def fault_of(kind: str, loaded: Any) -> str | None:
    """Say why something is no plugin of a kind; None if it is one."""
    base = BASES[kind]
    if not (isinstance(loaded, type) and issubclass(loaded, base)):
        return f"it is not a subclass of `{base.__name__}`"
    if loaded.contract not in CONTRACTS:
        return _unknown_contract(loaded.contract)
    if inspect.isabstract(loaded):
        return f"it lacks the method `{min(loaded.__abstractmethods__)}`"
    if kind == "transport" and (lacking := lacking_methods(loaded)):
        return f"it lacks the method `{lacking[0]}`"
    if not (isinstance(loaded.Options, type) and issubclass(loaded.Options, BaseModel)):
        return "its `Options` is not a pydantic model"
    taken = sorted(engine_keys(kind) & fields_of(loaded.Options).keys())
    return f"its option `{taken[0]}` is a key of the engine" if taken else None


def _unknown_contract(contract: Any) -> str:
    known = " and ".join(map(str, sorted(CONTRACTS)))
    newer = isinstance(contract, int) and contract > max(CONTRACTS)
    remedy = "a newer dagflow-engine" if newer else "a version of the package that is written for it"
    return f"it is written for contract {contract!r}, and this dagflow keeps contract {known}; install {remedy}"
