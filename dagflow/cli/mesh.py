"""`dagflow mesh`: what a file needs of its brokers, and its creation."""

from __future__ import annotations

import sys
from itertools import groupby
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dagflow.cli.common import EXIT_FAILED, FileArgument, SetOption, TextOrJson, load_plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dagflow.mesh.needs import Finding, Need

mesh = typer.Typer(
    help="See and create what a pipeline needs of its brokers.", no_args_is_help=True, rich_markup_mode=None
)

FormatOption = Annotated[TextOrJson, typer.Option("--format", "-f", help="How to print it.")]


@mesh.command("plan")
def plan(file: FileArgument, overrides: SetOption = None, format: FormatOption = TextOrJson.TEXT) -> None:
    """Print the streams, consumers, topics and groups that a file needs; asks no broker."""
    from dagflow.mesh.needs import Finding, needs_of

    needs = needs_of(load_plan(file, overrides or []))
    if format == TextOrJson.JSON:
        _print_json([need.as_dict() for need in needs])
    elif not needs:
        print("the file needs nothing of any broker")
    for finding, count in _runs([Finding(need, "missing") for need in needs]) if format == TextOrJson.TEXT else ():
        print(f"{_title(finding.need, count)}: {_settings(finding.need)}")


@mesh.command("apply")
def apply(file: FileArgument, overrides: SetOption = None, format: FormatOption = TextOrJson.TEXT) -> None:
    """Create what is missing, and change nothing that it did not make; exits with 1 if something is not as needed."""
    import asyncio

    from dagflow.errors import PluginError
    from dagflow.mesh.needs import apply as apply_needs
    from dagflow.mesh.needs import needs_of

    needs = needs_of(load_plan(file, overrides or []))
    try:
        findings = asyncio.run(apply_needs(needs))
    except PluginError as error:
        print(f"error[{error.code}]: {error}", file=sys.stderr)
        raise typer.Exit(EXIT_FAILED) from None
    if format == TextOrJson.JSON:
        _print_json([_as_dict(finding) for finding in findings])
    else:
        _print(findings)
    if not all(finding.is_well for finding in findings):
        raise typer.Exit(EXIT_FAILED)


def _print_json(values: list[dict[str, Any]]) -> None:
    import msgspec

    from dagflow.cli.streams import print_document

    print_document(msgspec.json.format(msgspec.json.encode(values), indent=2).decode() + "\n")


def _as_dict(finding: Finding) -> dict[str, Any]:
    differences = {name: {"found": is_so, "needed": wanted} for name, (is_so, wanted) in finding.differences.items()}
    return {**finding.need.as_dict(), "state": finding.state, "differences": differences}


def _print(findings: Sequence[Finding]) -> None:
    if not findings:
        print("the file needs nothing of any broker")
    for finding, count in _runs(findings):
        print(f"{finding.state}: {_title(finding.need, count)}{_differences(finding.differences)}")


def _differences(differences: Mapping[str, tuple[Any, Any]]) -> str:
    if not differences:
        return ""
    return ": " + ", ".join(f"`{name}` is {found}, needed {wanted}" for name, (found, wanted) in differences.items())


def _title(need: Need, count: int) -> str:
    where = f" of `{need.stream}`" if need.stream else ""
    name = f"{need.kind} `{need.name}`" if count == 1 else f"{count} {need.kind}s `{need.name}` and on"
    return f"{name}{where}, for {need.of}"


def _settings(need: Need) -> str:
    if not need.is_ours:
        return "comes to be when it is used" if need.kind in ("group", "consumer") else "must be there"
    return ", ".join(f"{name} = {value}" for name, value in need.settings.items())


def _runs(findings: Sequence[Finding]) -> Iterator[tuple[Finding, int]]:
    """Give findings, with those of the consumers of one edge as one where they say the same."""
    alike = groupby(findings, lambda one: (one.need.of, one.need.kind, one.need.stream, one.state, one.differences))
    for (_, kind, *_), some in alike:
        found = list(some)
        yield from [(found[0], len(found))] if kind == "consumer" else [(one, 1) for one in found]
