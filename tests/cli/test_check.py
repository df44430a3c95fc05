"""`dagflow plugins check` tries every rule, and its exit code says whether all are kept."""

from __future__ import annotations

import json

import pytest
from toys import offer
from typer.testing import CliRunner

from dagflow import registry
from dagflow.cli import app
from dagflow.testing import RULES

OFFERS = [
    offer("stages", "sound", "broken_plugins.general:Sound", "good-package"),
    offer("stages", "promising", "broken_plugins.stages:Promising"),
    offer("stages", "crashing", "broken_plugins.general:Crashing"),
    offer("stages", "marking", "broken_plugins.stages:Marking"),
    offer("stages", "ahead", "toys:Ahead"),
    offer("stages", "waiting", "broken_plugins.variants:Waiting"),
    offer("stages", "both", "broken_plugins.stages:Splitting"),
    offer("workers", "both", "broken_plugins.workers:Sound"),
    offer("sources", "lines", "dagflow.sources.jsonl:Jsonl"),
    offer("sinks", "screen", "dagflow.sinks.stdout:Stdout"),
]


@pytest.fixture
def check(monkeypatch):
    """Call `dagflow plugins check` with arguments."""
    monkeypatch.setattr(registry, "_installed", lambda groups: [p for p in OFFERS if p.group in groups])
    return lambda *arguments: CliRunner().invoke(app, ["plugins", "check", *arguments])


def test_a_sound_plugin(check):
    """Each rule has a line with its text, and the last line counts them."""
    result = check("sound")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0] == "stage sound, of good-package 1.0"
    assert lines[3].split(maxsplit=2) == ["PLUGIN-1", "kept", RULES["stage"][0].text]
    assert len([line for line in lines if " kept " in line]) == len(RULES["stage"])
    assert lines[-1] == f"{len(RULES['stage'])} rules tried, 0 broken"


def test_a_broken_plugin(check):
    """What was found stands below the table."""
    result = check("promising")
    assert result.exit_code == 1
    assert "STAGE-2    broken  What goes on by the main output has all fields that `writes` names." in result.stdout
    assert "\n\nSTAGE-2: `writes` names `answer`, but a record has ['input', 'text']\n\n" in result.stdout
    assert result.stdout.endswith(f"{len(RULES['stage'])} rules tried, 1 broken\n")


def test_json(check):
    """A list with one entry for each kind that has the type."""
    result = check("both", "--format", "json")
    stage, worker = json.loads(result.stdout)
    assert (stage["kind"], stage["package"], stage["version"]) == ("stage", "toys", "1.0")
    assert [rule["id"] for rule in worker["rules"]] == [rule.id for rule in RULES["worker"]]
    assert all(rule["kept"] and rule["found"] is None for rule in stage["rules"] + worker["rules"])
    (broken,) = [rule for rule in json.loads(check("promising", "--format=json").stdout)[0]["rules"] if rule["found"]]
    assert (broken["id"], broken["kept"]) == ("STAGE-2", False)


def test_a_kind_can_be_chosen(check):
    """Only that one is tried."""
    assert [one["kind"] for one in json.loads(check("both", "--kind", "worker", "--format", "json").stdout)] == [
        "worker"
    ]


def test_options_files_and_records_are_used(check, tmp_path):
    """They are what the plugin is tried with; the file is put into its folder."""
    (tmp_path / "in.jsonl").write_text('{"input": "one"}\n')
    given = ["--set", "path=in.jsonl", "--file", str(tmp_path / "in.jsonl")]
    assert check("lines", *given).exit_code == 0
    assert "could not be opened" in check("lines", *given[:2]).stdout
    assert (
        "STAGE-7: the value of `tags` was changed in place"
        in check("marking", "--record", '{"input": "one", "tags": ["new"]}').stdout
    )


def test_patience_bounds_every_wait(check):
    """What hangs is told with how long was waited for it."""
    assert "`close` did not end within 0.05 s" in check("waiting", "--patience", "50ms").stdout


def test_what_a_plugin_prints_goes_to_standard_error(check):
    """Standard output holds what was found, and nothing else."""
    result = check("screen", "--format", "json")
    assert json.loads(result.stdout)[0]["type"] == "screen"
    assert '"input":' in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["sond"], "no installed package offers `sond`; did you mean `sound`?"),
        (
            ["sound", "--kind", "step"],
            "expected one of source, stage, sink, worker, transport, exporter, but found `step`",
        ),
        (["lines"], "`lines` can't be tried without `--set path=...`"),
        (["sound", "--set", "names=3"], "`names`: Input should be a valid array"),
        (["sound", "--set", "names"], "`names` does not have the form KEY=VALUE"),
        (["sound", "--patience", "long"], "expected a duration"),
        (["sound", "--record", "[1]"], "expected an object such as"),
        (["sound", "--record", "{"], "expected an object such as"),
    ],
)
def test_wrong_arguments(check, arguments, told):
    """Each is said at once, with exit code 2."""
    result = check(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_a_plugin_that_does_not_load(check):
    """There is nothing to try; the reason is told."""
    result = check("ahead")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "written for contract 2" in result.stderr


def test_options_that_crash_are_for_a_rule(check):
    """A validator that raises is the plugin's fault, not a wrong argument."""
    result = check("crashing", "--set", "size=5")
    assert result.exit_code == 1
    assert "PLUGIN-3" in result.stdout
