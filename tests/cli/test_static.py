"""`show`, `schema`, `init` and `plugins`: the commands that start nothing."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
from toys import chain

if TYPE_CHECKING:
    from collections.abc import Callable

    from typer.testing import Result

SECRET = chain(
    'type = "fill"\ntemplate = "line\\n{{ input }}"',
    'type = "ask"\nworker = "w"',
    more='[workers.w]\ntype = "remote"\napi_key = "sk-123"\n',
)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_show_prints_is_valid(dagflow: Callable[..., Result]) -> None:
    """It can be run in place of the file, from the same directory."""
    Path("p.toml").write_text(SECRET)
    shown = dagflow("show", "p.toml", "--set", "stages.c.concurrency=3")
    assert shown.exit_code == 0
    assert "sk-123" not in shown.output
    Path("effective.toml").write_text(shown.stdout)
    assert dagflow("validate", "effective.toml").exit_code == 0
    assert dagflow("show", "effective.toml").stdout == shown.stdout
    assert tomllib.loads(shown.stdout)["stages"]["c"]["concurrency"] == 3


def test_show_refuses_a_wrong_file(dagflow: Callable[..., Result]) -> None:
    """Like every command that reads one."""
    Path("p.toml").write_text("[pipeline]")
    result = dagflow("show", "p.toml")
    assert (result.exit_code, result.stdout) == (78, "")


def test_schema_knows_the_installed_plugins(dagflow: Callable[..., Result]) -> None:
    """Those that load; a type may name its package."""
    schema = json.loads(dagflow("schema").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(tomllib.loads(SECRET), schema)
    assert "stage.ask" in schema["$defs"]
    assert schema["$defs"]["stage.ask"]["properties"]["type"] == {"enum": ["ask", "toys:ask"]}
    assert not any("gone" in name for name in schema["$defs"])


def test_init_writes_a_pipeline_and_its_schema(dagflow: Callable[..., Result]) -> None:
    """The first line is for editors, and names the schema beside it."""
    result = dagflow("init")
    assert result.exit_code == 0
    assert result.stdout == "wrote pipeline.toml\nwrote dagflow.schema.json\nnext: dagflow run pipeline.toml\n"
    text = Path("pipeline.toml").read_text()
    assert text.splitlines()[0] == "#:schema ./dagflow.schema.json"
    jsonschema.Draft202012Validator.check_schema(json.loads(Path("dagflow.schema.json").read_text()))


def test_init_names_another_file_in_its_comments(dagflow: Callable[..., Result]) -> None:
    """So that they can be copied."""
    Path("folder").mkdir()
    assert dagflow("init", "folder/other.toml").exit_code == 0
    assert "dagflow run other.toml" in Path("folder/other.toml").read_text()
    assert Path("folder/dagflow.schema.json").exists()


def test_init_overwrites_only_by_force(dagflow: Callable[..., Result]) -> None:
    """Neither the pipeline nor the schema."""
    for name in ("pipeline.toml", "dagflow.schema.json"):
        Path(name).write_text("mine")
        refused = dagflow("init")
        assert refused.exit_code == 2
        assert f"`{name}` exists" in refused.stderr
        assert [path.name for path in Path().iterdir()] == [name]
        Path(name).unlink()
    Path("pipeline.toml").write_text("mine")
    assert dagflow("init", "--force").exit_code == 0
    assert Path("pipeline.toml").read_text() != "mine"


def test_init_into_nowhere_is_refused(dagflow: Callable[..., Result]) -> None:
    """A directory is not made on the way."""
    refused = dagflow("init", "no/such/folder.toml")
    assert refused.exit_code == 2
    assert "cannot be written" in refused.stderr


def test_plugins_are_listed_with_their_faults(dagflow: Callable[..., Result]) -> None:
    """One line each: kind, type, package, version and what it does, or why it does not load."""
    result = dagflow("plugins", "list")
    assert result.exit_code == 0
    rows = {tuple(line.split()[:2]): " ".join(line.split()[2:]) for line in result.stdout.splitlines()}
    assert rows["source", "lines"] == "toys 1.0 Reads lines of a file."
    assert rows["sink", "lines"] == "toys 1.0 Shows fields; forwards live completions."
    assert rows["stage", "gone"].startswith("toys 1.0 broken: stage type `gone` of package `toys` cannot be loaded: ")
    assert rows["transport", "memory"] == "toys 1.0 Carries edges."


def test_a_plugin_is_shown_with_its_options(dagflow: Callable[..., Result]) -> None:
    """What it does, then a table."""
    assert dagflow("plugins", "show", "source", "lines").stdout == (
        "source lines, of toys 1.0\n"
        "\n"
        "Reads lines of a file.\n"
        "\n"
        "option  type                    default    description\n"
        "path    path                    required   the file to read\n"
        'fields  array of string         ["input"]  what it writes\n'
        'rate    string such as "100/s"  -          lines a second\n'
    )


def test_a_type_of_several_kinds_is_shown_for_each(dagflow: Callable[..., Result]) -> None:
    """Unless the kind is given."""
    assert dagflow("plugins", "show", "lines").stdout.count(", of toys 1.0") == 2
    assert dagflow("plugins", "show", "sink", "lines").stdout.count(", of toys 1.0") == 1
    assert "It has no options." in dagflow("plugins", "show", "ticks").stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("lnes",), 2, "did you mean `lines`?"),
        (("stage", "lines"), 2, "no installed package offers `lines`"),
        (("step", "lines"), 2, "expected one of source, stage, sink, worker, transport"),
        (("stage", "lines", "more"), 2, "expected one of source"),
        (("twice",), 1, "stage type `twice` is offered by `one-package` and `other-package`"),
        (("gone",), 1, "No module named 'no_such_module'"),
    ],
)
def test_a_plugin_that_cannot_be_shown(
    dagflow: Callable[..., Result], arguments: tuple[str, ...], exit_code: int, message: str
) -> None:
    """A name that is not there is a wrong command line; a plugin that is broken is a failure."""
    result = dagflow("plugins", "show", *arguments)
    assert result.exit_code == exit_code
    assert message in result.stderr


def test_a_plugin_of_a_named_package_is_shown(dagflow: Callable[..., Result]) -> None:
    """As in a file."""
    assert dagflow("plugins", "show", "one-package:twice").stdout.startswith("stage twice, of one-package 1.0\n")
