"""LocalRegistry: the installed plugins, and classes of a test that no package offers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from dagflow.registry import BASES, Offer, Registry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagflow.plugin import Plugin

    Classes = Mapping[str, type[Plugin] | Sequence[type[Plugin]]]

PACKAGE: Final = "this-test"
"""The package that local classes are said to come from."""


class LocalRegistry(Registry):
    """Offers each class as the type under which it is given; it comes before an installed one of that name.

    Attributes:
        classes: all classes that it was given.
    """

    def __init__(self, plugins: Classes) -> None:
        """Take the classes by type; one type may have several, of different kinds."""
        super().__init__()
        named = [(name, cls) for name, given in plugins.items() for cls in (_several(given) or [given])]
        self.classes = frozenset(cls for _, cls in named)
        self._local = [Offer(kind_of(cls), name, PACKAGE, _Point(cls)) for name, cls in named]

    @cached_property
    def _offers(self) -> dict[str, list[Offer]]:
        shadowed = {(offer.kind, offer.name) for offer in self._local}
        installed = [offer for offers in super()._offers.values() for offer in offers]
        found = [*self._local, *(offer for offer in installed if (offer.kind, offer.name) not in shadowed)]
        return {kind: [offer for offer in found if offer.kind == kind] for kind in BASES}


def _several(given: Any) -> list[type[Plugin]]:
    return list(given) if isinstance(given, list | tuple) else []


def kind_of(cls: type[Any]) -> str:
    """Give the kind of a plugin class.

    Raises:
        TypeError: it is none.
    """
    for kind, base in BASES.items():
        if isinstance(cls, type) and issubclass(cls, base):
            return kind
    raise TypeError(f"`{cls!r}` is not a subclass of {', '.join(base.__name__ for base in BASES.values())}")


@dataclass(frozen=True, slots=True)
class _Point:
    """What an entry point is to a registry."""

    cls: type[Any]
    dist: None = None

    def load(self) -> type[Any]:
        """Give the class."""
        return self.cls
