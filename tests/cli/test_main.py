"""The command line as a whole: help, version, and what it does not import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import toys

from dagflow.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer.testing import Result

COMMANDS = ("run", "validate", "graph", "show", "schema", "init", "plugins")


def test_help_names_every_command(dagflow: Callable[..., Result]) -> None:
    """Each with a line that fits."""
    result = dagflow("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f"\n  {command} " in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(dagflow: Callable[..., Result], command: str) -> None:
    """Also by its short option."""
    assert dagflow(command, "-h").exit_code == 0


def test_version(dagflow: Callable[..., Result]) -> None:
    """Name and version."""
    assert dagflow("--version").stdout == f"dagflow {__version__}\n"


def test_an_unknown_command_is_a_wrong_command_line(dagflow: Callable[..., Result]) -> None:
    """So is none at all."""
    assert dagflow("rum").exit_code == 2
    assert dagflow().exit_code == 2


def test_help_imports_nothing_heavy() -> None:
    """`dagflow --help` must be quick: what commands need is imported when they are called."""
    heavy = {"asyncio", "jinja2", "msgspec", "networkx", "pydantic", "rich", "structlog", "tomllib", "tree_sitter"}
    code = f"import sys, dagflow.cli; print(*sorted({heavy!r} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_a_valid_file_needs_neither_networkx_nor_tree_sitter() -> None:
    """They are for what is drawn or wrong, and the slowest imports of all."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(toys.__file__).parent)!r})\n"
        "from toys import chain, plan_of\n"
        "assert plan_of(chain('type = \"split\"')).warnings == ()\n"
        "print(*sorted({'networkx', 'tree_sitter', 'structlog', 'rich'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
