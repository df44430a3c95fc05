"""The JSON Schema says what the compiler says, as far as a schema can."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import toys
from jsonschema import Draft202012Validator
from pydantic import BaseModel

from dagflow.config.schema import build_schema, model_schema
from dagflow.config.tables import TABLES
from dagflow.exporters.statsd import Statsd

SCHEMA = build_schema(
    {
        "source": {"lines": toys.Lines, "ticks": toys.Ticks},
        "stage": {"fill": toys.Fill, "ask": toys.Ask, "polish": toys.Polish, "route": toys.Route},
        "sink": {"show": toys.Show},
        "worker": {"remote": toys.Remote, "toys:remote": toys.Remote},
    }
)
FILE = toys.chain(
    'type = "polish"\nsteps = [{ kind = "redact", pattern = "x" }]\nsize = "64MiB"',
    'type = "ask"\nworker = "w"\ntop_k = 3\nretry = { attempts = 3, backoff = "1s" }',
    more='[workers.w]\ntype = "toys:remote"\napi_key = "${env:KEY}"\n',
)


def accepts(text: str) -> bool:
    """Whether the schema takes the file."""
    return Draft202012Validator(SCHEMA).is_valid(tomllib.loads(text))


def test_it_is_a_schema() -> None:
    """By the words of JSON Schema itself."""
    Draft202012Validator.check_schema(SCHEMA)


def test_it_knows_every_table() -> None:
    """A file that has any table of the language is not refused for that."""
    assert SCHEMA["properties"].keys() == set(TABLES)


def test_a_right_file_is_accepted() -> None:
    """Options of all kinds of plugins are merged with the keys of the engine."""
    assert accepts(FILE)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("top_k = 3", 'top_k = "3"'),
        ("top_k = 3", "top_k = 101"),
        ("top_k = 3", "topk = 3"),
        ('size = "64MiB"', "size = 64"),
        ('worker = "w"', ""),
        ("attempts = 3", "attempts = 0"),
        ("attempts = 3", "tries = 3"),
        ('type = "ask"', 'type = "aks"'),
        ("[stages.b]", "[stages.B]"),
        ("[workers.w]", "[worker.w]"),
        ('from = "a"', 'form = "a"'),
        ('to = "z"', 'to = "z", when_full = "drop"'),
        (', pattern = "x"', ""),
    ],
)
def test_a_wrong_file_is_refused(right: str, wrong: str) -> None:
    """What the compiler refuses by its form alone, an editor can mark."""
    assert right in FILE
    assert not accepts(FILE.replace(right, wrong))


@pytest.mark.parametrize(
    ("right", "reference"),
    [
        ("top_k = 3", 'top_k = "${env:TOP}"'),
        ('size = "64MiB"', 'size = "${env:SIZE:-1MiB}"'),
        ("attempts = 3", 'attempts = "${file:attempts}"'),
        ('type = "ask"', 'type = "${env:TYPE}"'),
        ('to = "z"', 'to = "z", when_full = "${env:POLICY}"'),
        ('kind = "redact"', 'kind = "${env:KIND}"'),
    ],
)
def test_references_may_stand_anywhere(right: str, reference: str) -> None:
    """Where a number is expected too."""
    assert right in FILE
    assert accepts(FILE.replace(right, reference))


def test_defaults_have_the_form_of_the_file() -> None:
    """Durations with their unit; nothing that TOML cannot say, and no secret."""
    definitions = SCHEMA["$defs"]
    assert SCHEMA["properties"]["pipeline"]["properties"]["drain_timeout"]["default"] == "30s"
    assert definitions["stage.ask"]["properties"]["retry"]["default"]["backoff"] == "200ms"
    assert "default" not in definitions["worker.remote"]["properties"]["api_key"]
    assert "null" not in str(SCHEMA)


def test_descriptions_are_kept() -> None:
    """Editors show them: the plugin's first line, and that of each option."""
    ask = SCHEMA["$defs"]["stage.ask"]
    assert ask["description"] == "Asks a worker."
    assert ask["properties"]["worker"]["description"] == "who answers"


class Tree(BaseModel):
    """A model that contains itself, and something that JSON Schema has no word for."""

    children: list[Tree] = []
    check: Any = None
    cls: type[int] = int


def test_recursive_models_are_described() -> None:
    """References lead into the definitions."""
    definitions: dict[str, Any] = {}
    schema = model_schema(Tree, "x", definitions)
    assert schema["properties"]["children"]["items"] == {"$ref": "#/$defs/x.Tree"}
    Draft202012Validator({**schema, "$defs": definitions}).validate({"children": [{"children": []}]})


def test_exporters_stand_in_metrics() -> None:
    """Each has the engine's keys and its own; what nobody offers is refused."""
    schema = Draft202012Validator(build_schema({"exporter": {"statsd": Statsd}})["properties"]["metrics"])
    assert schema.is_valid({"labels": {"site": "a"}, "statsd": {"interval": "5s"}})
    assert not schema.is_valid({"statsd": {"intervall": "5s"}})
    assert not schema.is_valid({"graphite": {}})
