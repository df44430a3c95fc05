"""`dagflow plugins check`: whether a plugin keeps the rules of the contract."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dagflow.cli.common import TextOrJson
from dagflow.cli.streams import print_document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagflow.cli.tables import Block
    from dagflow.registry import Offer
    from dagflow.testing.conformance.checking import Finding
    from dagflow.testing.conformance.sample import Sample

    Checked = tuple[Offer, list[Finding]]


def check(
    type_name: Annotated[str, typer.Argument(metavar="TYPE", help="The plugin's type, as in a file.")],
    kind: Annotated[str | None, typer.Option("--kind", help="The kind, where several have the type.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="An option of the plugin; may be repeated.")
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", exists=True, dir_okay=False, help="A file that its options name; may be repeated."),
    ] = None,
    records: Annotated[
        list[str] | None,
        typer.Option("--record", metavar="JSON", help="The fields of a record that it is given; may be repeated."),
    ] = None,
    patience: Annotated[
        str, typer.Option("--patience", metavar="DURATION", help="The longest wait for anything that should end.")
    ] = "5s",
    format: Annotated[TextOrJson, typer.Option("--format", help="How to print what was found.")] = TextOrJson.TEXT,
) -> None:
    """Try whether a plugin keeps the rules of the contract.

    It is built, opened and used on sample records, in a folder of its own that only holds the files given.
    What it prints goes to standard error. The exit code is 1 if it breaks a rule.
    """
    from dagflow.cli.offers import find_kinds
    from dagflow.errors import PluginError
    from dagflow.registry import Registry
    from dagflow.testing.conformance.checking import check_plugin

    registry = Registry()
    patience_s = _seconds(patience)
    checked: list[Checked] = []
    try:
        for one in find_kinds(registry, type_name, kind, "--kind"):
            sample = _sample(registry.load(one, type_name), type_name, settings or (), records or ())
            sample = replace(
                sample, files={path.name: path.read_bytes() for path in files or ()}, patience_s=patience_s
            )
            with redirect_stdout(sys.stderr):
                checked.append((registry.find(one, type_name), list(check_plugin(sample))))
    except PluginError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    _print(checked, format)
    if any(finding.breach for _, findings in checked for finding in findings):
        raise typer.Exit(1)


def _sample(cls: type[Any], type_name: str, settings: Sequence[str], records: Sequence[str]) -> Sample:
    from dagflow.testing.conformance.sample import Sample

    options = _options(settings)
    _check_options(cls, options, type_name)
    return Sample(cls, options=options, records=[_fields(text) for text in records])


def _seconds(patience: str) -> float:
    from dagflow.units import parse_duration

    try:
        return parse_duration(patience)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--patience") from None


def _options(settings: Sequence[str]) -> dict[str, Any]:
    from dagflow.config.overrides import apply_override

    options: dict[str, Any] = {}
    for text in settings:
        try:
            apply_override(options, text)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--set") from None
    return options


def _check_options(cls: type[Any], options: dict[str, Any], type_name: str) -> None:
    from pydantic import ValidationError

    from dagflow.testing.alone import read_options

    try:
        read_options(cls, options, None)
    except ValidationError as error:
        faults = [(".".join(map(str, e["loc"])), e["type"], e["msg"]) for e in error.errors(include_url=False)]
        missing = [name for name, code, _ in faults if code == "missing"]
        if missing:
            needs = ", ".join(f"`--set {name}=...`" for name in missing)
            raise typer.BadParameter(f"`{type_name}` can't be tried without {needs}", param_hint="--set") from None
        told = "; ".join(f"`{name}`: {message}" if name else message for name, _, message in faults)
        raise typer.BadParameter(told, param_hint="--set") from None
    except Exception:  # a fault of the plugin, of which a rule tells
        return


def _fields(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise typer.BadParameter(f'expected an object such as {{"input": "hello"}}, but found `{text}`')
    return fields


def _print(checked: list[Checked], format: str) -> None:
    from dagflow.cli.tables import print_blocks

    if format == TextOrJson.JSON:
        print_document(json.dumps([_as_dict(offer, findings) for offer, findings in checked], indent=2) + "\n")
    else:
        print_blocks([block for offer, findings in checked for block in _blocks(offer, findings)], sys.stdout)


def _blocks(offer: Offer, findings: list[Finding]) -> list[Block]:
    from dagflow.cli.offers import title_of
    from dagflow.cli.tables import Column, Table

    rows = [[f.rule.id, "kept" if f.breach is None else "broken", f.rule.text] for f in findings]
    table = Table([Column("rule"), Column(""), Column("what it asks for")], rows)
    broken = [f for f in findings if f.breach is not None]
    details = [f"{f.rule.id}: {f.breach}" for f in broken]
    return [title_of(offer), table, *details, f"{len(findings)} rules tried, {len(broken)} broken"]


def _as_dict(offer: Offer, findings: list[Finding]) -> dict[str, Any]:
    rules = [{"id": f.rule.id, "text": f.rule.text, "kept": f.breach is None, "found": f.breach} for f in findings]
    named = {"kind": offer.kind, "type": offer.name, "package": offer.package, "version": offer.version}
    return {**named, "rules": rules}
