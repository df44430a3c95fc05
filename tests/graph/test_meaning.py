"""What a plan means: the same, wherever it lies and however often it is read."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from dagflow.graph.meaning import meaning_of
from dagflow.graph.plan import NodePlan, Plan
from dagflow.plugin import Stage


class Tagger(Stage):
    """Has options of all kinds."""

    class Options(BaseModel):
        tags: set[str | int] = set()
        path: Path = Path()
        speed: int = 1

    incidental = frozenset({"speed"})


def options_of(folder, **options):
    """What a file means with such a stage in it."""
    node = NodePlan("tag", "stage", "tagger", Tagger, Tagger.Options(**options))
    plan = Plan(name="p", nodes={"tag": node}, edges=(), path=folder / "p.toml")
    found = meaning_of(plan)["stages"]["tag"]
    return {name: found.get(name) for name in ("tags", "path", "speed")}


def test_options(tmp_path):
    """A set has one order, a path is seen from the file, and what changes no answer is left out."""
    tags = {"red", "blue", "green", "black", 7}
    expected = {"tags": ["black", "blue", "green", "red", 7], "path": "in/a", "speed": None}
    assert options_of(tmp_path, tags=tags, path=tmp_path / "in" / "a", speed=2) == expected
