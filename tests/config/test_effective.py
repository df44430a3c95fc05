"""The effective file: defaults filled in, references as written, secrets left out."""

from pathlib import Path

import tomli_w
from toys import chain, plan_of

FILE = chain(
    'type = "fill"\ntemplate = "${env:GREETING} {{ input }}"',
    'type = "ask"\nworker = "w"\ntimeout = "20s"\nretry = { attempts = 2 }',
    more='[workers.w]\ntype = "remote"\napi_key = "${env:KEY}"\n',
)
ENVIRON = {"GREETING": "hello", "KEY": "sk-123"}


def test_defaults_are_filled_in() -> None:
    """Of the engine and of plugins, in the form of the file."""
    effective = plan_of(FILE, path=Path("some/where.toml"), **ENVIRON).effective
    assert effective["pipeline"]["name"] == "where"
    assert effective["pipeline"]["drain_timeout"] == "30s"
    assert effective["pipeline"]["edges"][0] == {
        "from": "a",
        "to": "b",
        "capacity": 512,
        "when_full": "block",
        "order": "fifo",
        "dead_letter": False,
        "best_effort": False,
        "via": "memory",
    }
    assert effective["stages"]["c"] == {
        "type": "ask",
        "fan_out": "all",
        "unmatched": "fail",
        "concurrency": 8,
        "timeout": "20s",
        "retry": {"attempts": 2, "backoff": "200ms", "max_backoff": "5s"},
        "worker": "w",
        "others": [],
        "top_k": 3,
        "temperature": 1.0,
        "stream": False,
        "mode": "text",
    }
    assert effective["logging"] == {"level": "info", "format": "console"}


def test_references_and_relative_paths_stay_as_written() -> None:
    """What is shown can be run in place of the file, with the same environment."""
    effective = plan_of(FILE, path=Path("some/where.toml"), **ENVIRON).effective
    assert effective["sources"]["a"]["path"] == "in"
    assert effective["stages"]["b"]["template"] == "${env:GREETING} {{ input }}"
    assert effective["workers"]["w"]["api_key"] == "${env:KEY}"


def test_secrets_are_left_out() -> None:
    """Literal ones and defaults of references."""
    for written, shown in (("sk-123", "**********"), ("${env:KEY:-sk-123}", "${env:KEY:-**********}")):
        effective = plan_of(FILE.replace("${env:KEY}", written), **ENVIRON).effective
        assert effective["workers"]["w"]["api_key"] == shown


def test_defaults_of_edges_reach_those_that_say_nothing() -> None:
    """Also as shown; a `block_timeout` only where edges block."""
    file = chain(
        'type = "split"',
        edges='{ from = "a", to = "b", when_full = "drop_newest" }, { from = "b", to = "z", capacity = 7 }',
        more='[defaults.edge]\ncapacity = 3\nblock_timeout = "2s"\n',
    )
    plan = plan_of(file)
    first, second = plan.effective["pipeline"]["edges"]
    assert (first["capacity"], first["when_full"], first.get("block_timeout")) == (3, "drop_newest", None)
    assert (second["capacity"], second["when_full"], second["block_timeout"]) == (7, "block", "2s")
    assert [edge.block_timeout_s for edge in plan.edges] == [None, 2.0]


def test_overrides_are_shown() -> None:
    """They are part of what takes effect."""
    effective = plan_of(FILE, "stages.c.concurrency=3", "logging.level=debug", **ENVIRON).effective
    assert effective["stages"]["c"]["concurrency"] == 3
    assert effective["logging"]["level"] == "debug"


def test_a_default_that_may_not_be_written_is_left_out() -> None:
    """Some plugins take a value that stands in the file for a wish."""
    effective = plan_of(chain('type = "picky"\nx = 1')).effective
    assert effective["stages"]["b"]["x"] == 1
    assert "y" not in effective["stages"]["b"]
    assert effective["stages"]["b"]["concurrency"] == 1


def test_the_order_of_keys_is_that_of_the_language() -> None:
    """Whatever the file's is: `type`, the engine's keys, the plugin's; ends of edges first."""
    effective = plan_of(FILE, **ENVIRON).effective
    assert next(iter(effective["pipeline"])) == "name"
    assert list(effective["pipeline"]["edges"][0])[:2] == ["from", "to"]
    assert next(iter(effective["stages"]["c"])) == "type"
    assert list(effective) == ["pipeline", "defaults", "sources", "stages", "sinks", "workers", "runtime", "logging"]


def test_what_is_shown_compiles_to_the_same() -> None:
    """Showing the effective file twice changes nothing."""
    once = plan_of(FILE, path=Path("p.toml"), **ENVIRON)
    text = tomli_w.dumps(once.effective)
    twice = plan_of(text, path=Path("p.toml"), **ENVIRON)
    assert tomli_w.dumps(twice.effective) == text
    assert twice.nodes == once.nodes
    assert twice.edges == once.edges
    assert twice.warnings == ()
