"""`dagflow new`: write a package to begin with."""

from __future__ import annotations

import re
from enum import StrEnum
from keyword import iskeyword
from pathlib import Path
from string import Template
from typing import Annotated, Any, Final

import typer

from dagflow.version import __version__

new = typer.Typer(help="Write a package to begin with.", no_args_is_help=True, rich_markup_mode=None)

_NAME: Final = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*")
_PREFIX: Final = "dagflow-"


class NewKind(StrEnum):
    """The kinds of plugins that there are templates for."""

    SOURCE = "source"
    STAGE = "stage"
    SINK = "sink"
    WORKER = "worker"


@new.callback()
def _group() -> None:
    pass


@new.command("plugin")
def new_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The plugin's `type` in a pipeline file.")],
    kind: Annotated[NewKind, typer.Option("--kind", help="What it is.")] = NewKind.STAGE,
    folder: Annotated[
        Path,
        typer.Option("--dir", metavar="DIR", help="The folder in which the package's own is made.", file_okay=False),
    ] = Path(),
) -> None:
    """Write the package of a plugin to begin with.

    It goes into a folder `dagflow-NAME`, with an entry point, a pipeline that uses it, and tests that
    pass as they are.
    """
    name = name.removeprefix(_PREFIX)
    _check_name(name, kind)
    target = folder / f"{_PREFIX}{name}"
    if target.exists():
        raise typer.BadParameter(f"`{target}` exists; nothing is overwritten", param_hint="NAME")
    values = _values(name, kind)
    for path, template in _FILES.items():
        file = target / Template(path).substitute(values)
        _write(file, Template(_read(template.format(kind=kind))).substitute(values))
        print(f"wrote {file}")
    print(f"next: cd {target} && pip install -e '.[test]' && pytest")


_FILES: Final = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "${module}.py": "{kind}.py",
    "pipeline.toml": "{kind}.toml",
    "tests/test_${identifier}.py": "{kind}_test.py",
}
"""The files of a package, each with its template."""


def _check_name(name: str, kind: str) -> None:
    from dagflow.registry import Registry

    if not _NAME.fullmatch(name):
        expected = "small letters, digits, and single `-` or `_` between them, no digit first"
        raise typer.BadParameter(f"`{name}` is no name for a plugin; expected {expected}", param_hint="NAME")
    for offer in Registry().offers(kind):
        if offer.name == name:
            told = f"`{offer.package}` offers a {kind} `{name}` already; choose another name"
            raise typer.BadParameter(told, param_hint="NAME")


def _values(name: str, kind: str) -> dict[str, Any]:
    identifier = name.replace("-", "_")
    major, minor = map(int, __version__.split(".")[:2])
    return {
        "name": name,
        "kind": kind,
        "identifier": identifier,
        "module": f"dagflow_{identifier}",
        "distribution": f"{_PREFIX}{name}",
        "class_name": _class_name(identifier, kind),
        "least": f"{major}.{minor}",
        # Before 1.0, each minor version may change what plugins rely on.
        "below": f"{major}.{minor + 1}" if major == 0 else str(major + 1),
    }


def _class_name(identifier: str, kind: str) -> str:
    name = "".join(word.capitalize() for word in identifier.split("_"))
    templates = _read(f"{kind}.py") + _read(f"{kind}_test.py")
    taken = iskeyword(name) or re.search(rf"\b{name}\b", templates)
    return f"{name}Plugin" if taken else name


def _read(template: str) -> str:
    return (Path(__file__).with_name("templates") / f"{template}.txt").read_text(encoding="utf-8")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"`{path}` cannot be written: {error.strerror}", param_hint="--dir") from None
