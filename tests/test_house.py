"""The rules of the house that a program can check: floors, cycles, sizes, docstrings, style."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "dagflow"

# Imports only go down. A name stands for a module or for all modules of a package.
FLOORS = [
    [
        "version",
        "errors",
        "units",
        "addresses",
        "words",
        "record",
        "ticket_owner",
        "traceparent",
        "shares",
        "tasks",
        "trail",
        "chat",
        "exchange",
        "rewriting",
        "live_stream",
        "openai_shapes",
        "completion",
        "live_values",
    ],
    ["plain_expressions", "expressions", "options", "delays", "context", "plugin", "transport", "claims", "paths"],
    ["config", "registry", "graph", "compile", "redaction"],
    ["telemetry", "channel", "store", "inference", "remote", "access", "mesh"],
    ["sources", "stages", "workers", "sinks", "transports", "exporters"],
    ["engine"],
    ["admin"],
    ["processes"],
    ["embed", "testing"],
    ["cli", "__main__"],
]
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}

WHOLE = {"dagflow.errors": 470, "dagflow.plugin": 340}
"""What stands in one file, since it is read as a whole, and how many lines it may have: all errors, the contract."""

MODULES = {
    ".".join(("dagflow", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}


def imports_of(tree: ast.AST, top_only: bool = False) -> set[str]:
    """The dagflow modules that a module imports at run time."""
    found = set()
    todo = list(ast.iter_child_nodes(tree))
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            todo += node.orelse
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "dagflow":
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.partition(".")[0] == "dagflow"}
        elif not (top_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)):
            todo += ast.iter_child_nodes(node)
    return found


def floor_of(module: str) -> int:
    """The floor of a module."""
    return FLOOR_OF[module.split(".")[1]]


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"dagflow"}))
def test_imports_only_go_down(module):
    """No module imports one of a higher floor, nor `dagflow/__init__`."""
    imported = imports_of(ast.parse(MODULES[module].read_text()))
    assert "dagflow" not in imported
    above = {name for name in imported if floor_of(name) > floor_of(module)}
    assert not above


def test_no_import_cycles():
    """Modules that import each other cannot be read one after the other."""
    graph = {m: imports_of(ast.parse(path.read_text()), top_only=True) for m, path in MODULES.items()}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module in done or module == "dagflow":
            return
        for other in graph.get(module, ()):
            visit(other, (*trail, module))
        done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("module", sorted(MODULES))
def test_files_and_bodies_are_small_and_say_what_they_are(module):
    """A file has a docstring and at most 300 lines, a body at most 40, a public class or function a docstring."""
    text = MODULES[module].read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "no module docstring"
    assert text.count("\n") <= WHOLE.get(module, 300)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert node.end_lineno - first.lineno < 50, f"{node.name} is long"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"


def test_style():
    """Ruff finds nothing, and would format nothing."""
    for arguments in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *arguments, "--no-cache", "dagflow", "tests", "benchmarks", "docs"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_entry_point_names_a_class_that_exists():
    """What the package offers can be imported, and each built-in is offered."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    for group, points in groups.items():
        for target in points.values():
            module, _, name = target.partition(":")
            tree = ast.parse(MODULES[module].read_text())
            assert any(isinstance(n, ast.ClassDef) and n.name == name for n in tree.body), (group, target)


def test_nothing_names_this_machine_or_a_registry():
    """No file carries a path of a development machine, a registry's address or a lock file."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = listed.stdout.split()
    assert not [name for name in names if name.endswith((".lock", "-lock.json"))]
    words = ["pythonhosted" + ".org", "pypi" + ".org/simple", "/root" + "/", "/work" + "/main"]
    for name in names:
        text = (ROOT / name).read_text(errors="replace")
        assert not [word for word in words if word in text], name
