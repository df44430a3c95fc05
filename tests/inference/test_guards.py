"""Each guard by itself, with a clock that only the test moves."""

from __future__ import annotations

import math

import pytest
from desk import Desk, tenant
from hypothesis import given
from hypothesis import strategies as st

from dagflow.engine.guard import backoff_s
from dagflow.errors import WorkerError
from dagflow.exchange import Request, Usage
from dagflow.graph.plan import RetryPlan
from dagflow.inference.call import Call
from dagflow.inference.window import Window

BREAKER = {"breaker": {"failures": 3, "calls": 5, "cooldown": "10s", "max_cooldown": "30s"}}


class Log:
    """Keeps warnings."""

    def __init__(self):
        self.lines = []

    def warning(self, event, **values):
        """Keep one."""
        self.lines.append((event, values))


def opened(desk):
    """Open the breaker of a desk."""
    for _ in range(3):
        desk.ask("unavailable")
    return desk


@pytest.mark.parametrize("error", ["timeout", "unavailable", "protocol", "bug"])
def test_the_breaker_opens_on_failures(error):
    """Timeouts count like any other."""
    desk = Desk(**BREAKER)
    desk.ask(error)
    desk.ask()
    desk.ask(error)
    assert desk.state("breaker")["state"] == "closed"
    desk.ask(error)
    assert desk.state("breaker")["state"] == "open"
    with pytest.raises(WorkerError, match="`main` has failed too often") as caught:
        desk.enter()
    assert (caught.value.kind, caught.value.retry_after, caught.value.retryable) == ("unavailable", 10.0, True)


@pytest.mark.parametrize("error", ["overloaded", "refused", "context_window", "content_policy", "cancelled"])
def test_the_breaker_leaves_other_errors_alone(error):
    """A 429 is for the limiter, and a bad request is no fault of the worker."""
    desk = Desk(**BREAKER)
    for _ in range(20):
        desk.ask(error)
    assert desk.state("breaker")["state"] == "closed"


def test_old_failures_are_forgotten():
    """Only the last calls count."""
    desk = Desk(**BREAKER)
    for _ in range(10):
        desk.ask("timeout")
        desk.ask()
        desk.ask()
        desk.ask()
    assert desk.state("breaker")["opened"] == 0


def test_half_open_admits_one_probe():
    """While it is under way, nobody else is let in, and its answer closes the breaker."""
    desk = opened(Desk(**BREAKER))
    desk.clock.advance(10)
    assert desk.state("breaker")["state"] == "half-open"
    probe = desk.enter()
    for _ in range(3):
        with pytest.raises(WorkerError):
            desk.enter()
    desk.end(probe)
    assert desk.state("breaker")["state"] == "closed"
    assert desk.enter() is not None


@pytest.mark.parametrize("error", ["cancelled", "overloaded"])
def test_a_probe_that_says_nothing_is_followed_by_another(error):
    """Whoever cancelled it has not shown that the worker is well, nor that it is not."""
    desk = opened(Desk(**BREAKER))
    desk.clock.advance(10)
    desk.end(desk.enter(), error)
    assert desk.state("breaker")["state"] == "half-open"
    desk.end(desk.enter())
    assert desk.state("breaker")["state"] == "closed"


def test_the_cool_down_grows_and_is_reset():
    """It doubles with each probe that fails, up to its bound."""
    desk = opened(Desk(**BREAKER))
    for cooldown_s in (10, 20, 30, 30):
        desk.clock.advance(cooldown_s - 1)
        with pytest.raises(WorkerError):
            desk.enter()
        desk.clock.advance(1)
        desk.ask("timeout")
    desk.clock.advance(30)
    desk.ask()
    opened(desk)
    desk.clock.advance(10)
    assert desk.enter() is not None


def test_calls_from_before_do_not_touch_an_open_breaker():
    """Neither their failures nor their answers are the probe's."""
    desk = Desk(**BREAKER)
    early = [desk.enter() for _ in range(2)]
    opened(desk)
    desk.clock.advance(10)
    probe = desk.enter()
    desk.end(early[0])
    desk.end(early[1], "timeout")
    assert desk.state("breaker")["state"] == "half-open"
    desk.end(probe)
    assert desk.state("breaker")["state"] == "closed"


def test_a_fixed_number_of_calls_at_a_time():
    """The next one has to wait until one has ended, however it ended."""
    desk = Desk(max_in_flight=2)
    first, second = desk.enter(), desk.enter()
    assert desk.enter() is None
    desk.end(first, "timeout")
    third = desk.enter()
    assert third is not None
    assert desk.enter() is None
    desk.end(second)
    desk.end(third, "cancelled")
    assert desk.state("concurrency") == {"limit": 2, "busy": 0}


def test_the_adaptive_limit_shrinks_once_for_a_round():
    """Calls that were under way together are told the same; later ones shrink it again."""
    desk = Desk(adaptive={"min": 2, "max": 16, "decrease": 0.5})
    calls = [desk.enter() for _ in range(16)]
    desk.clock.advance(1)
    for call in calls:
        desk.end(call, "overloaded")
    assert desk.state("concurrency") == {"limit": 8, "busy": 0, "decreases": 1}
    for limit in (4, 2, 2):
        desk.clock.advance(1)
        desk.ask("overloaded", took_s=0.1)
        assert desk.state("concurrency")["limit"] == limit


def test_a_timeout_shrinks_it_as_well_and_other_errors_do_not():
    """A worker that lets calls time out has too many of them; one that refuses a request has not."""
    desk = Desk(adaptive={"max": 16})
    desk.ask("timeout", took_s=1)
    assert desk.state("concurrency")["limit"] == 12
    for error in ("refused", "unavailable", "cancelled"):
        desk.ask(error, took_s=1)
    assert desk.state("concurrency")["limit"] == 12


def rounds(desk, count):
    """Let all that may call, and answer it."""
    for _ in range(count):
        calls = []
        while (call := desk.enter()) is not None:
            calls.append(call)
        desk.clock.advance(1)
        for call in calls:
            desk.end(call)


def test_it_grows_by_one_a_round_while_all_of_it_is_used():
    """Near the mark at which it was too much it creeps, until that is forgotten."""
    desk = Desk(adaptive={"max": 32, "decrease": 0.5})
    desk.ask("overloaded", took_s=1)
    assert desk.state("concurrency")["limit"] == 16
    rounds(desk, 5)
    assert 19 <= desk.state("concurrency")["limit"] <= 21
    rounds(desk, 15)
    assert desk.state("concurrency")["limit"] == 31
    rounds(desk, 5)
    assert desk.state("concurrency")["limit"] == 31
    desk.clock.advance(61)
    rounds(desk, 3)
    assert desk.state("concurrency")["limit"] == 32


def test_it_does_not_grow_while_nobody_needs_it():
    """Answers to a few calls say nothing of many."""
    desk = Desk(adaptive={"max": 32, "decrease": 0.5})
    desk.ask("overloaded", took_s=1)
    for _ in range(1000):
        desk.ask(took_s=0.01)
    assert desk.state("concurrency")["limit"] == 16


def test_a_latency_far_above_the_average_shrinks_it_once():
    """It is the time to the first chunk where there are chunks; growing slowly with the work is no sign."""
    desk = Desk(adaptive={"max": 32, "latency": 3.0})
    for _ in range(50):
        desk.ask(took_s=0.1)
    for _ in range(8):
        desk.ask(took_s=0.15)
    assert desk.state("concurrency")["decreases"] == 0
    for _ in range(6):
        desk.ask(took_s=2.0)
    assert desk.state("concurrency")["decreases"] >= 1
    streams = Desk(adaptive={"max": 32, "latency": 3.0})
    for length_s in [1.0] * 30 + [20.0] * 10:
        call = streams.enter()
        streams.clock.advance(0.1)
        call.first_s = streams.clock()
        streams.end(call, took_s=length_s)
    assert streams.state("concurrency")["decreases"] == 0


def test_the_newest_retry_after_counts():
    """All calls wait for it, and a later word replaces it, also by less."""
    desk = Desk(remote=True)
    first, second = desk.enter(), desk.enter()
    desk.end(first, "overloaded", retry_after=60.0)
    assert desk.enter() is None
    assert desk.gate.look(desk.call()) == pytest.approx(60)
    desk.end(second, "overloaded", retry_after=2.0)
    assert desk.gate.look(desk.call()) == pytest.approx(2)
    desk.clock.advance(2)
    assert desk.enter() is not None
    assert desk.state("pause") == {}


def test_an_absurd_retry_after_is_bounded():
    """A server that asks for years is tried again after an hour."""
    desk = Desk(remote=True)
    desk.ask("overloaded", retry_after=1e9)
    assert desk.gate.look(desk.call()) == pytest.approx(3600)
    assert backoff_s(RetryPlan(), 1, WorkerError("overloaded", "later", retry_after=1e9)) == 3600


def test_an_overload_without_a_word_makes_no_pause():
    """How long it would be is nowhere said."""
    desk = Desk(remote=True)
    desk.ask("overloaded")
    assert desk.enter() is not None


def test_requests_within_a_window():
    """No stretch of the length has more, wherever it begins."""
    desk = Desk(limits=[{"requests": "3/min"}])
    for _ in range(3):
        desk.ask()
        desk.clock.advance(10)
    assert desk.enter() is None
    desk.clock.advance(31)
    assert desk.enter() is not None
    assert desk.enter() is None


@given(st.integers(1, 5), st.lists(st.tuples(st.floats(0, 3), st.integers(1, 4)), max_size=60))
def test_a_window_is_never_exceeded(limit, steps):
    """Whatever is taken as soon as it may be, any stretch of the window's length holds at most the limit."""
    window, now_s, taken = Window(limit, 5.0), 0.0, []
    for pause_s, amount in steps:
        now_s += pause_s
        amount = min(amount, limit)
        for _ in range(1000):
            wait_s = window.wait_s(amount, now_s)
            if not wait_s:
                break
            now_s += wait_s
        window.take(amount, now_s)
        taken.append((now_s, amount))
    for start_s, _ in taken:
        assert sum(amount for at_s, amount in taken if start_s <= at_s < start_s + 5.0) <= limit


def test_tokens_are_reserved_and_settled():
    """The estimate holds calls back that would be too many; what was not used is given back."""
    desk = Desk(limits=[{"tokens": "1k tokens/min"}])
    call = desk.enter("x" * 400, max_tokens=100)
    assert desk.state("limits") == {"tokens": {"limit": 1000, "used": 201}}
    desk.end(call, tokens=(110, 40))
    assert desk.state("limits") == {"tokens": {"limit": 1000, "used": 150}}
    assert desk.enter("x" * 4000) is None
    desk.end(desk.enter(max_tokens=1), tokens=(800, 20))
    assert desk.enter(max_tokens=100) is None
    desk.clock.advance(62)
    assert desk.enter(max_tokens=100) is not None


def test_a_call_without_a_usage_keeps_its_reservation():
    """Its tokens were most likely used."""
    desk = Desk(limits=[{"tokens": "1k tokens/min"}])
    desk.end(desk.enter("x" * 400, max_tokens=100), "timeout")
    assert desk.state("limits")["tokens"]["used"] == 201


def test_a_call_larger_than_the_limit_goes_alone():
    """It would wait for ever otherwise."""
    desk = Desk(limits=[{"tokens": "1k tokens/min"}])
    assert desk.enter("x" * 40_000) is not None
    assert desk.enter() is None


def test_each_key_has_its_own_limit():
    """One tenant's calls do not use up another's."""
    desk = Desk(limits=[{"requests": "1/min", "key": "meta.tenant"}])
    assert desk.enter(record=tenant("a")) is not None
    assert desk.enter(record=tenant("a")) is None
    assert desk.enter(record=tenant("b")) is not None
    assert desk.enter() is not None
    assert desk.enter() is None


def test_the_table_of_keys_is_bounded(monkeypatch):
    """Keys beyond it share one limit, and quiet ones make room."""
    monkeypatch.setattr("dagflow.inference.limits._MOST_KEYS", 3)
    desk = Desk(limits=[{"requests": "1/min", "key": "meta.tenant"}])
    for name in "abc":
        assert desk.enter(record=tenant(name)) is not None
    assert desk.enter(record=tenant("d")) is not None
    assert desk.enter(record=tenant("e")) is None
    assert desk.state("limits")["keys"] <= 4
    desk.clock.advance(62)
    assert desk.enter(record=tenant("e")) is not None
    assert desk.enter(record=tenant("d")) is not None


def test_prices():
    """For a million tokens each; cached input at its own price; a cost that stands is kept."""
    desk = Desk(prices={"input": 10.0, "output": 30.0, "cached": 1.0})
    usage = desk.prices.charge(Usage(1000, 100, cached_tokens=400))
    assert usage.cost == pytest.approx(0.006 + 0.0004 + 0.003)
    assert desk.prices.charge(Usage(1, 1, cost=5.0)).cost == 5.0
    assert Desk(prices={"input": 10.0}).prices.charge(Usage(1000, 9, 400)).cost == pytest.approx(0.01)


def test_a_budget_warns_once_and_refuses_when_it_is_spent():
    """What is refused is not worth a retry."""
    log = Log()
    desk = Desk(log=log, prices={"input": 1.0}, budget={"warn": 1.0, "reject": 2.0})
    desk.ask(tokens=(999_999, 0))
    assert log.lines == []
    desk.ask(tokens=(500_001, 0))
    desk.ask(tokens=(100_000, 0))
    assert [event for event, _ in log.lines] == ["budget is nearly spent"]
    desk.ask(tokens=(400_000, 0))
    with pytest.raises(WorkerError, match="the budget of worker `main` is spent: 2 of 2") as caught:
        desk.enter()
    assert (caught.value.kind, caught.value.retryable) == ("refused", False)


def test_a_budget_is_not_overspent_by_calls_at_the_same_time():
    """What they may cost is reserved; what they did not cost is there again."""
    desk = Desk(prices={"output": 1.0}, budget={"reject": 0.001})
    calls = [desk.enter(max_tokens=500) for _ in range(2)]
    assert desk.enter(max_tokens=500) is None
    assert desk.gate.look(desk.call()) == math.inf
    desk.end(calls[0], tokens=(0, 10))
    assert desk.enter(max_tokens=500) is not None


def test_a_budget_begins_anew():
    """After its time, in steps of it."""
    desk = Desk(prices={"input": 1.0}, budget={"reject": 1.0, "per": "1d"})
    desk.ask(tokens=(1_000_000, 0))
    with pytest.raises(WorkerError):
        desk.enter()
    desk.clock.advance(86_400)
    assert desk.enter() is not None
    assert desk.state("budget")["spent"] == 0


@pytest.mark.parametrize(
    ("waited_s", "worked_s", "expected"),
    [(0, 30, "timeout"), (14, 16, "timeout"), (20, 10, "cancelled"), (0, 5, "cancelled")],
)
def test_a_cancellation_by_the_callers_timeout_counts_as_one(waited_s, worked_s, expected):
    """Only where that has passed, and the worker had most of the time."""
    call = Call(Request(prompt="", timeout_s=30.0), 100.0)
    call.started_s = 100.0 + waited_s
    call.fail(BaseException(), 100.0 + waited_s + worked_s)
    assert call.error == expected
    streaming = Call(Request(prompt="", timeout_s=30.0), 100.0)
    streaming.started_s, streaming.first_s = 100.0, 101.0
    streaming.fail(BaseException(), 140.0)
    assert streaming.error == "cancelled"


def test_a_key_that_is_not_a_number_is_one_key():
    """NaN equals nothing, itself included; it must not be a way around a limit."""
    desk = Desk(limits=[{"requests": "1/min", "key": "meta.tenant"}])
    assert desk.enter(record=tenant(float("nan"))) is not None
    assert desk.enter(record=tenant(float("nan"))) is None


def test_a_budget_without_prices_of_its_own_reserves_what_answers_cost():
    """A pool's members have the prices: many calls at a time must not overspend together there either."""
    desk = Desk(budget={"reject": 10})
    for cost in (1.0, 3.0):
        call = desk.enter()
        call.usage = Usage(1, 1, cost=cost)
        desk.end(call)
    calls = [call for call in (desk.enter() for _ in range(9)) if call is not None]
    assert len(calls) == 3
    for call in calls:
        call.usage = Usage(1, 1, cost=2.0)
        desk.end(call)
    assert desk.state("budget")["spent"] == 10
