"""Walking values along the types of a model."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, Field, RootModel, SecretStr

from dagflow.config.shape import fields_of, is_secret, leaves, named_workers, unknown_keys
from dagflow.options import WorkerName


class Inner(BaseModel):
    """A nested table."""

    key: SecretStr | None = None
    workers: list[WorkerName] = []


class Open(BaseModel, extra="allow"):
    """A nested table that takes anything."""

    known: int = 0


class Names(RootModel[list[WorkerName]]):
    """A model that is a list."""


class Outer(BaseModel, extra="allow"):
    """The options of a plugin."""

    inner: Inner | None = None
    by_name: dict[str, Inner] = {}
    several: Annotated[list[Inner], Field(max_length=3)] = []
    names: Names = Names([])
    free: dict[str, Any] = {}
    open: Open = Open()
    either: int | Inner = 0
    start: str = Field("", alias="from")


VALUES = {
    "inner": {"key": "s1", "workers": ["w1"]},
    "by_name": {"x": {"key": "s2", "workers": ["w2"]}},
    "several": [{"key": ["wrong"]}, "wrong"],
    "names": ["w3"],
    "either": {"key": "s3"},
    "from": "f",
}


def test_secrets_are_found_however_deep() -> None:
    """In tables, tables by name, arrays and unions; also where the value has a wrong type."""
    found = {leaf.key: leaf.value for leaf in leaves(Outer, VALUES) if is_secret(leaf.annotation)}
    assert found == {
        ("inner", "key"): "s1",
        ("by_name", "x", "key"): "s2",
        ("several", 0, "key"): ["wrong"],
        ("either", "key"): "s3",
    }


def test_workers_are_found_however_deep() -> None:
    """The marker counts wherever it stands in the type."""
    assert [leaf.value for leaf in leaves(Outer, VALUES) if leaf.is_worker] == ["w1", "w2", "w3"]


def test_workers_of_options_include_defaults() -> None:
    """A worker that is named by default is named."""

    class Options(BaseModel):
        worker: WorkerName = "main"
        other: WorkerName | None = None

    assert [(leaf.key, leaf.value) for leaf in named_workers(Options())] == [(("worker",), "main")]


def test_unknown_keys_are_found_though_the_model_ignores_them() -> None:
    """The outermost model is strict whatever it says; an inner one may be open."""
    values = {
        "typo": 1,
        "start": "the alias is meant",
        "inner": {"kee": 1},
        "by_name": {"any": {"kee": 1}},
        "several": [{}, {"kee": 1}],
        "free": {"x": 1},
        "open": {"x": 1},
        "either": {"kee": 1},
    }
    assert [key for key, _ in unknown_keys(Outer, values)] == [
        ("typo",),
        ("start",),
        ("inner", "kee"),
        ("by_name", "any", "kee"),
        ("several", 1, "kee"),
        ("either", "kee"),
    ]


def test_unknown_keys_come_with_the_known_names() -> None:
    """For a suggestion."""
    ((_, names),) = unknown_keys(Outer, {"inner": {"kee": 1}})
    assert names == {"key", "workers"}


def test_fields_go_by_their_names_in_the_file() -> None:
    """An alias takes the place of the field's name."""
    assert "from" in fields_of(Outer)
    assert "start" not in fields_of(Outer)
