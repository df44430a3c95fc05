"""Every key of a worker's table changes what a run does; the last test finds keys without a test."""

from __future__ import annotations

import asyncio

import pytest

from dagflow.compile import compile_text
from dagflow.config import worker_tables
from dagflow.config.shape import fields_of
from dagflow.engine.engine import Engine
from dagflow.errors import ConfigError
from dagflow.testing.alone import SILENT

TEMPLATE = """
[pipeline]
edges = [{{ from = "in", to = "prompt" }}, {{ from = "prompt", to = "work" }}, {{ from = "work", to = "out" }}]
[sources.in]
type = "generate"
count = {count}
sessions = 2
[stages.prompt]
type = "template"
template = "one two three"
[stages.work]
type = "inference"
worker = "main"
concurrency = 8
{stage}
[sinks.out]
type = "{sink}"
[workers.main]
type = "echo"
{worker}
"""


def run(worker, count=20, stage="", sink="null"):
    """Run some records through a worker with these keys, and give the report."""
    file = TEMPLATE.format(worker=worker, count=count, stage=stage, sink=sink)
    return asyncio.run(Engine(compile_text(file), log=SILENT).run())


def books(worker, **settings):
    """What the report says of the worker."""
    return run(worker, **settings)["workers"]["main"]


def refused(worker):
    """The codes of what is wrong with a worker's table."""
    with pytest.raises(ConfigError) as caught:
        compile_text(TEMPLATE.format(worker=worker, count=1, stage="", sink="null"))
    return [diagnostic.code for diagnostic in caught.value.diagnostics]


def test_guards_total_timeout():
    """A call that takes longer fails, whole and streamed."""
    slow = 'delay = "5s"\ntotal_timeout = "20ms"'
    assert books(slow, count=2)["errors"] == {"timeout": 2}
    assert books(slow, count=2, sink="reply")["errors"] == {"timeout": 2}


def test_guards_first_token_timeout():
    """It bounds the wait for the first chunk of a stream only."""
    assert books('delay = "5s"\nfirst_token_timeout = "20ms"', count=2, sink="reply")["errors"] == {"timeout": 2}
    assert not books('chunk_delay = "30ms"\nfirst_token_timeout = "20ms"', count=2, sink="reply")["errors"]


def test_guards_idle_timeout():
    """It bounds the pause between two chunks."""
    assert books('chunk_delay = "5s"\nidle_timeout = "20ms"', count=2, sink="reply")["errors"] == {"timeout": 2}


def test_guards_max_in_flight():
    """Never more calls than that."""
    assert books("max_in_flight = 3")["concurrency"] == {"limit": 3, "busy": 0}
    assert "concurrency" not in books("")


def test_guards_adaptive():
    """It starts at its `max`, and shrinks where the server has too much to do."""
    assert books("adaptive = { max = 4 }")["concurrency"]["limit"] == 4
    shrunk = books('error = "overloaded"\nerror_rate = 1.0\nadaptive = { max = 4 }')["concurrency"]
    assert shrunk["limit"] < 4
    assert shrunk["decreases"] > 0


def test_adaptive_min():
    """It shrinks no further."""
    failing = 'error = "overloaded"\nerror_rate = 1.0\nadaptive = {{ min = {}, max = 8 }}'
    assert books(failing.format(1), count=200)["concurrency"]["limit"] == 1
    assert books(failing.format(5), count=200)["concurrency"]["limit"] == 5


def test_adaptive_max():
    """It is where it starts."""
    assert [books(f"adaptive = {{ max = {most} }}")["concurrency"]["limit"] for most in (2, 5)] == [2, 5]
    assert refused("adaptive = { min = 3, max = 2 }") == ["invalid-option"]


def test_guards_limits():
    """Calls beyond the limit wait; here until the end of the second."""
    report = run('limits = { requests = "10/s" }', count=11)
    [limits] = report["workers"]["main"]["limits"]
    # The first ten may stand in two bins of the window, of which the earlier one is forgotten first.
    assert limits["requests"]["limit"] == 10
    assert 1 <= limits["requests"]["used"] < 10
    assert report["duration_s"] > 0.9


def test_limits_requests():
    """It counts calls."""
    assert books('limits = { requests = "100/s" }')["limits"] == [{"requests": {"limit": 100, "used": 20}}]
    assert refused('limits = { requests = "0/s" }') == ["invalid-option"]


def test_limits_tokens():
    """It counts tokens: three words in, three words out."""
    assert books('limits = [{ tokens = "1k tokens/min" }]')["limits"] == [{"tokens": {"limit": 1000, "used": 120}}]
    assert refused("limits = [{}]") == ["invalid-option"]


def test_limits_key():
    """Each value has its own limit."""
    [limit] = books('limits = { requests = "100/s", key = "session" }')["limits"]
    assert limit["keys"] == 2
    assert limit["requests"]["used"] < 20


def test_guards_breaker():
    """It opens, and what comes then is turned away."""
    found = books('error_rate = 1.0\nbreaker = { cooldown = "1h", max_cooldown = "2h" }')
    assert found["breaker"]["state"] == "open"
    assert found["turned_away"] > 0
    assert "breaker" not in books("error_rate = 1.0")


def test_breaker_failures():
    """So many failures open it."""
    for failures in (2, 6):
        breaker = f'breaker = {{ failures = {failures}, calls = 6, cooldown = "1h", max_cooldown = "1h" }}'
        assert books(f"error_rate = 1.0\nmax_in_flight = 1\n{breaker}")["calls"] == failures


def test_breaker_calls():
    """It must be able to hold so many failures."""
    assert refused("breaker = { failures = 3, calls = 2 }") == ["invalid-option"]


def test_breaker_cooldown():
    """It is tried again after that."""
    opened = books('error_rate = 1.0\nmax_in_flight = 1\nbreaker = { cooldown = "1us", max_cooldown = "1us" }')
    assert opened["breaker"]["opened"] > 1


def test_breaker_max_cooldown():
    """It is not less than the first."""
    assert refused('breaker = { cooldown = "5s", max_cooldown = "1s" }') == ["invalid-option"]


def test_guards_prices():
    """Tokens cost something."""
    assert books("prices = { input = 1.0 }")["cost"] == pytest.approx(60e-6)


def test_prices_input():
    """For a million tokens of input."""
    assert books("prices = { input = 2.0 }")["cost"] == pytest.approx(120e-6)


def test_prices_output():
    """For a million tokens of output."""
    assert books("prices = { output = 3.0 }")["cost"] == pytest.approx(180e-6)


def test_guards_budget():
    """Nothing is asked any more when it is spent."""
    found = books("max_in_flight = 1\nprices = { input = 1.0 }\nbudget = { reject = 0.00003 }")
    assert found["calls"] == 10
    assert found["turned_away"] == 10


def test_budget_reject():
    """It is the sum at which that is."""
    found = books("max_in_flight = 1\nprices = { input = 1.0 }\nbudget = { reject = 0.000003 }")
    assert found["calls"] == 1


def test_budget_warn():
    """It is told in the state; what is logged is tested with the guard."""
    assert books("prices = { input = 1.0 }\nbudget = { warn = 1.0 }")["budget"]["warn"] == 1.0
    assert refused("prices = {}\nbudget = {}") == ["invalid-option"]


# Tested with a clock of its own, where the guard is: tests/inference/test_guards.py.
ELSEWHERE = {"adaptive_decrease", "adaptive_latency", "prices_cached", "budget_per"}

TABLES = {
    "guards": worker_tables.GuardKeys,
    "adaptive": worker_tables.AdaptiveTable,
    "limits": worker_tables.LimitTable,
    "breaker": worker_tables.BreakerTable,
    "prices": worker_tables.PricesTable,
    "budget": worker_tables.BudgetTable,
}


def test_every_key_has_its_test():
    """A key that is added to a worker's table is added here."""
    keys = {f"{table}_{key}" for table, model in TABLES.items() for key in fields_of(model)}
    assert keys - ELSEWHERE == {name.removeprefix("test_") for name in globals() if name.startswith("test_")} - {
        "every_key_has_its_test"
    }
