"""What the commands about plugins share: from a type on the command line to what packages offer under it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from dagflow.registry import Offer, Registry


def find_kinds(registry: Registry, wanted: str, kind: str | None, hint: str) -> list[str]:
    """Give the kinds that have a type, or the one that was chosen.

    Raises:
        typer.BadParameter: no package offers it; or there is no such kind, which is said of `hint`.
    """
    from dagflow.registry import BASES

    if kind is not None and kind not in BASES:
        raise typer.BadParameter(f"expected one of {', '.join(BASES)}, but found `{kind}`", param_hint=hint)
    kinds = list(BASES) if kind is None else [kind]
    found = [one for one in kinds if _offers(registry, one, wanted)]
    if not found:
        raise typer.BadParameter(_unknown(registry, kinds, wanted), param_hint="TYPE")
    return found


def title_of(offer: Offer) -> str:
    """Name a plugin with the package that it comes from."""
    return f"{offer.kind} {offer.name}, of {offer.package} {offer.version or ''}".rstrip()


def _offers(registry: Registry, kind: str, wanted: str) -> bool:
    return any(wanted in (offer.name, f"{offer.package}:{offer.name}") for offer in registry.offers(kind))


def _unknown(registry: Registry, kinds: list[str], wanted: str) -> str:
    from dagflow.config.suggest import did_you_mean

    hint = did_you_mean(wanted, {name for kind in kinds for name in registry.names(kind)})
    return f"no installed package offers `{wanted}`; {hint or '`dagflow plugins list` shows what is installed'}"
