"""`dagflow plugins`: what is installed, and the options of each plugin."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from dagflow.cli.tables import Block
    from dagflow.registry import Offer, Registry

plugins = typer.Typer(help="Show installed plugins and their options.", no_args_is_help=True, rich_markup_mode=None)


@plugins.command("list")
def list_plugins() -> None:
    """List all installed plugins.

    Those that do not load are listed with the reason.
    """
    from dagflow.cli.tables import Column, Table, print_blocks
    from dagflow.registry import BASES, Registry

    registry = Registry()
    rows = [_row(registry, offer) for kind in BASES for offer in registry.offers(kind)]
    titles = ("kind", "type", "package", "version", "")
    print_blocks([Table([Column(title) for title in titles], rows)], sys.stdout)


@plugins.command("show")
def show_plugin(
    names: Annotated[list[str], typer.Argument(metavar="[KIND] TYPE", help="The plugin's type, as in a file.")],
) -> None:
    """Show what a plugin does, and its options.

    Where several kinds have the type, KIND (source, stage, sink, worker, transport) chooses one.
    """
    from dagflow.cli.tables import print_blocks
    from dagflow.errors import PluginError
    from dagflow.registry import BASES, Registry

    registry = Registry()
    *chosen, wanted = names
    if len(chosen) > 1 or not BASES.keys() >= set(chosen):
        raise typer.BadParameter(f"expected one of {', '.join(BASES)}, and a type", param_hint="KIND")
    kinds = [kind for kind in chosen or BASES if _offers(registry, kind, wanted)]
    if not kinds:
        raise typer.BadParameter(_unknown(registry, chosen or list(BASES), wanted), param_hint="TYPE")
    try:
        print_blocks([block for kind in kinds for block in _description(registry, kind, wanted)], sys.stdout)
    except PluginError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None


def _offers(registry: Registry, kind: str, wanted: str) -> bool:
    return any(wanted in (offer.name, f"{offer.package}:{offer.name}") for offer in registry.offers(kind))


def _row(registry: Registry, offer: Offer) -> list[str]:
    from dagflow.errors import BrokenPlugin

    try:
        summary = _documentation(registry.load(offer.kind, f"{offer.package}:{offer.name}")).partition("\n")[0]
    except BrokenPlugin as error:
        summary = f"broken: {error}"
    return [offer.kind, offer.name, offer.package, offer.version or "-", summary]


def _unknown(registry: Registry, kinds: list[str], wanted: str) -> str:
    from dagflow.config.suggest import did_you_mean

    hint = did_you_mean(wanted, {name for kind in kinds for name in registry.names(kind)})
    return f"no installed package offers `{wanted}`; {hint or '`dagflow plugins list` shows what is installed'}"


def _description(registry: Registry, kind: str, type_name: str) -> list[Block]:
    from dagflow.cli.tables import Column, Table

    cls = registry.load(kind, type_name)
    offer = registry.find(kind, type_name)
    about = f"{kind} {offer.name}, of {offer.package} {offer.version or ''}".rstrip()
    rows = _options(cls)
    titles = ("option", "type", "default", "description")
    table: Block = Table([Column(title) for title in titles], rows) if rows else "It has no options."
    return [about, _documentation(cls), table]


def _options(cls: type[Any]) -> list[list[str]]:
    from dagflow.config.describe import describe_options

    return [[option.name, option.type, option.default, option.description] for option in describe_options(cls.Options)]


def _documentation(cls: type[Any]) -> str:
    return inspect.getdoc(cls) or ""
