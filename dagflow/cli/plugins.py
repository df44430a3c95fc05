"""`dagflow plugins`: what is installed, the options of each plugin, and whether it keeps the rules."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dagflow.cli.check import check

if TYPE_CHECKING:
    from dagflow.cli.tables import Block
    from dagflow.registry import Offer, Registry

plugins = typer.Typer(
    help="Show installed plugins and their options, and try whether they keep the rules.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

plugins.command("check")(check)


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
    from dagflow.cli.offers import find_kinds
    from dagflow.cli.tables import print_blocks
    from dagflow.errors import PluginError
    from dagflow.registry import BASES, Registry

    registry = Registry()
    *chosen, wanted = names
    if len(chosen) > 1:
        raise typer.BadParameter(f"expected one of {', '.join(BASES)}, and a type", param_hint="KIND")
    kinds = find_kinds(registry, wanted, chosen[0] if chosen else None, "KIND")
    try:
        print_blocks([block for kind in kinds for block in _description(registry, kind, wanted)], sys.stdout)
    except PluginError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None


def _row(registry: Registry, offer: Offer) -> list[str]:
    from dagflow.errors import BrokenPlugin

    try:
        summary = _documentation(registry.load(offer.kind, f"{offer.package}:{offer.name}")).partition("\n")[0]
    except BrokenPlugin as error:
        summary = f"broken: {error}"
    return [offer.kind, offer.name, offer.package, offer.version or "-", summary]


def _description(registry: Registry, kind: str, type_name: str) -> list[Block]:
    from dagflow.cli.offers import title_of
    from dagflow.cli.tables import Column, Table

    cls = registry.load(kind, type_name)
    rows = _options(cls)
    titles = ("option", "type", "default", "description")
    table: Block = Table([Column(title) for title in titles], rows) if rows else "It has no options."
    return [title_of(registry.find(kind, type_name)), _documentation(cls), table]


def _options(cls: type[Any]) -> list[list[str]]:
    from dagflow.config.describe import describe_options

    return [[option.name, option.type, option.default, option.description] for option in describe_options(cls.Options)]


def _documentation(cls: type[Any]) -> str:
    return inspect.getdoc(cls) or ""
