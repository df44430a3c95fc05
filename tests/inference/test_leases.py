"""Leases: however programs that share a limit come, go, die and are cut off, they never take more than it together."""

from __future__ import annotations

import math
import time
from collections import deque

import msgspec
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from service import until

from dagflow.inference.leasing import Conflict, Leasing, Windows
from dagflow.inference.ledger import Ledger, Moment, Terms, read_ledger, write_ledger
from dagflow.inference.shared_sum import Entry, SharedSum
from dagflow.inference.shared_window import SharedWindow

LENGTH_S = 8.0  # steps of an eighth of a second


class Program:
    """One that shares the limit; its own clock is that of the store, but it knows that only roughly."""

    def __init__(self, model, limit, off_s, blur_s):
        self.model = model
        self.off_s, self.blur_s = off_s, blur_s
        self.asks = False
        self.window = SharedWindow("w", limit, LENGTH_S, self.moment, self.want)
        self.open = deque()

    def moment(self, now_s):
        """Something around the truth."""
        return Moment(now_s - self.off_s - self.blur_s, now_s - self.off_s + self.blur_s)

    @property
    def now_s(self):
        """What its clock shows."""
        return self.model.now_s + self.off_s

    def want(self, window):
        """Note that it asks."""
        self.asks = True

    def take(self, amount):
        """Take something, if that may be."""
        if self.window.wait_s(amount, self.now_s) == 0.0:
            taken = self.window.take(amount, self.now_s)
            entry = [self.model.now_s, amount]
            self.model.takes.append(entry)
            self.open.append((taken, entry))

    def correct(self, amount):
        """Take back a part of the first call that is open."""
        if self.open:
            taken, entry = self.open.popleft()
            back = min(amount, entry[1])
            self.window.correct(taken, -back, self.now_s)
            entry[1] -= back

    def lease(self, how):
        """Look into the ledger; what is written may get lost, or only the answer to it."""
        if not (self.asks or self.window.tells):
            return
        ledger, lease = self.window.look(read_ledger(self.model.stored), self.moment(self.now_s))
        if how == "conflict":
            return
        if how != "lost":
            self.model.stored = write_ledger(ledger)
        if how == "done":
            self.asks = not self.window.lent(ledger, lease)
        else:
            self.window.forget_owed()


class Model:
    """All of them, and the store."""

    def __init__(self, limit, clocks):
        self.now_s = 1000.0
        self.limit = limit
        self.stored = None
        self.takes = []
        self.programs = [Program(self, limit, *clock) for clock in clocks]

    def most(self):
        """The most that was taken within any window."""
        return max(
            (sum(a for at_s, a in self.takes if begin_s <= at_s < begin_s + LENGTH_S) for begin_s, _ in self.takes),
            default=0,
        )


CLOCKS = st.lists(st.tuples(st.floats(-5, 5), st.floats(0, 0.3)), min_size=1, max_size=4)
HOW = ["done", "done", "done", "lost", "unheard", "conflict"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([0.01, 0.1, 0.3, 1.0, 7.9]), st.just(0)),
        st.tuples(st.just("take"), st.integers(0, 3), st.integers(1, 6)),
        st.tuples(st.just("correct"), st.integers(0, 3), st.integers(1, 6)),
        st.tuples(
            st.just("lease"),
            st.integers(0, 3),
            st.sampled_from(["done", "done", "done", "lost", "unheard", "conflict"]),
        ),
        st.tuples(st.just("die"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("leave"), st.integers(0, 3), st.just(0)),
    ),
    max_size=120,
)


@settings(max_examples=400, deadline=None)
@given(st.integers(1, 24), CLOCKS, STEPS)
def test_never_more_than_the_limit(limit, clocks, steps):
    """In any stretch of the window's length."""
    model = Model(limit, clocks)
    for what, one, much in steps:
        if what == "wait":
            model.now_s += one
            continue
        index = one % len(model.programs)
        program = model.programs[index]
        if what == "take":
            program.take(min(much, limit))
        elif what == "correct":
            program.correct(much)
        elif what == "lease":
            program.lease(much)
        elif what == "leave":
            program.window.give_up()
            program.lease("done")
        else:
            model.programs[index] = Program(model, limit, *clocks[index])
    assert model.most() <= limit


def test_a_lone_program_gets_nearly_all():
    """97 % of the limit, over and over."""
    model = Model(640, [(0.0, 0.0)])
    [program] = model.programs
    end_s = model.now_s + 10 * LENGTH_S
    while model.now_s < end_s:
        program.take(1)
        program.lease("done")
        model.now_s += 0.002
    assert sum(amount for _, amount in model.takes) > 0.96 * 10 * 640
    assert model.most() <= 640


def test_what_is_not_used_is_given_back():
    """An idle program holds nothing for long."""
    model = Model(10, [(0.0, 0.0), (0.0, 0.0)])
    idle, busy = model.programs
    idle.take(1)
    idle.lease("done")
    idle.take(1)
    for _ in range(3):  # the first time it asks ahead
        idle.lease("done")
        model.now_s += 0.3
        idle.window.in_hand(idle.now_s)
    idle.lease("done")
    busy.window.wait_s(9, busy.now_s)
    busy.lease("done")
    assert busy.window.in_hand(busy.now_s) == 9


def test_more_than_the_limit():
    """Counts as the limit, and goes on counting as what it is."""
    model = Model(5, [(0.0, 0.0)])
    [program] = model.programs
    program.take(8)
    program.lease("done")
    program.take(8)
    program.lease("done")
    assert sum(amount for _, amount in model.takes) == 8
    assert read_ledger(model.stored).total == 8


def test_a_ledger_is_small():
    """However much is leased: it has at most a number for each step."""
    terms, ledger = Terms(1_000_000, 60.0), Ledger()
    now_s = 5000.0
    for _ in range(2000):
        now = Moment(now_s, now_s)
        ledger, _ = ledger.at(terms, now).lease(terms, now, 3)
        now_s += 0.1
    assert len(ledger.leased) <= 68
    assert len(write_ledger(ledger)) < 1000


class Spender:
    """One that shares a sum."""

    def __init__(self, model, most, per_s):
        self.model = model
        self.total = SharedSum("s", most, per_s, lambda total: None, lambda: None)
        self.calls = deque()

    def lease(self, how):
        """Look at the store; what is written may get lost, or only the answer to it."""
        if how == "conflict":
            self.total.change(self.model.stored, Moment(self.model.now_s, self.model.now_s))
            return
        changed = self.total.change(self.model.stored, Moment(self.model.now_s, self.model.now_s))
        if how != "lost" and changed is not None:
            self.model.stored = changed
        if how == "done":
            self.total.changed()
        else:
            self.total.unknown()

    def begin(self, cost):
        """Make a call, if that may be."""
        if self.total.has(cost, self.model.now_s):
            self.total.hold(cost, self.model.now_s)
            self.calls.append(cost)

    def end(self, share):
        """End a call, which has cost a part of what it might have cost."""
        if self.calls:
            cost = self.calls.popleft()
            self.total.spend(cost, cost * share / 6, self.model.now_s)
            self.model.spent += cost * share / 6


SPENDING = st.lists(
    st.one_of(
        st.tuples(st.just("begin"), st.integers(0, 3), st.integers(1, 6)),
        st.tuples(st.just("end"), st.integers(0, 3), st.integers(0, 6)),
        st.tuples(st.just("lease"), st.integers(0, 3), st.sampled_from(HOW)),
        st.tuples(st.just("die"), st.integers(0, 3), st.just(0)),
        st.tuples(st.just("idle"), st.integers(0, 3), st.just(0)),
    ),
    max_size=120,
)


@settings(max_examples=400, deadline=None)
@given(st.integers(1, 40), st.integers(1, 4), SPENDING)
def test_never_more_than_the_sum(most, count, steps):
    """Whoever dies with something in hand."""
    model = Model(1, [])
    model.spent = 0.0
    spenders = [Spender(model, float(most), None) for _ in range(count)]
    for what, one, much in steps:
        spender = spenders[one % count]
        if what == "begin":
            spender.begin(float(much))
        elif what == "end":
            spender.end(much)
        elif what == "lease":
            spender.lease(much)
        elif what == "idle":
            model.now_s += 10.0
            spender.total.tends(model.now_s)
        else:
            model.spent += sum(spender.calls)  # they were made
            spenders[one % count] = Spender(model, float(most), None)
    assert model.spent + sum(sum(spender.calls) for spender in spenders) <= most + 1e-6


def test_a_sum_that_is_spent_and_begins_anew():
    """Is told of when nobody holds anything of it any more."""
    model = Model(1, [])
    model.spent = 0.0
    first, second = (Spender(model, 10.0, 100.0) for _ in range(2))
    first.begin(8.0)
    first.lease("done")
    first.begin(8.0)
    second.begin(8.0)
    second.lease("done")
    assert not second.total.is_spent  # what the first one holds may come back
    first.end(6)
    first.lease("done")
    second.begin(8.0)
    second.lease("done")
    second.begin(8.0)
    assert second.total.is_spent
    second.begin(1.0)
    assert not second.total.is_spent
    model.now_s += 100.0
    second.begin(8.0)
    second.lease("done")
    second.begin(8.0)
    assert list(second.calls) == [8.0]
    assert second.total.spent == 0.0


def test_what_may_have_been_given_back_is_not_given_back_again():
    """It would be taken from those who have leased until the same time."""
    model = Model(20, [(0.0, 0.0), (0.0, 0.0)])
    first, second = model.programs
    for program in (first, second):
        program.take(8)
        program.lease("done")
    first.window.give_up()
    first.lease("unheard")
    assert read_ledger(model.stored).total == 8
    first.lease("done")
    assert read_ledger(model.stored).total == 8


def test_corrections_of_one_call():
    """Are given back to where they were taken, and no more than was taken."""
    model = Model(20, [(0.0, 0.0)])
    [program] = model.programs
    program.take(8)
    program.lease("done")
    taken = program.window.take(8, program.now_s)
    program.window.correct(taken, -3, program.now_s)
    assert program.window.in_hand(program.now_s) == 3
    program.window.correct(taken, -9, program.now_s)
    assert program.window.in_hand(program.now_s) == 8


def sharing(most):
    """Two who share a sum, each with a part of it in hand."""
    model = Model(1, [])
    model.spent = 0.0
    spenders = [Spender(model, most, None) for _ in range(2)]
    for spender in spenders:
        spender.begin(4.0)
        spender.lease("done")
    return model, *spenders


def entry(model):
    """What stands in the store."""
    return msgspec.msgpack.decode(model.stored, type=Entry)


def test_what_may_have_been_told_as_spent_does_not_free_what_others_have():
    """It may count twice as spent, but not twice as given back."""
    model, first, second = sharing(12.0)
    first.begin(4.0)
    first.end(6)
    first.lease("unheard")
    assert (entry(model).spent, entry(model).leased) == (4.0, 4.0)
    first.lease("done")
    assert (entry(model).spent, entry(model).leased) == (8.0, 4.0)
    assert second.total.has(4.0, model.now_s)


def test_a_call_that_cost_more_than_it_might():
    """What was not in hand counts as spent, and frees nothing of what others have."""
    model, first, _ = sharing(12.0)
    first.begin(4.0)
    first.calls.clear()
    first.total.spend(4.0, 7.0, model.now_s)
    first.lease("done")
    assert (entry(model).spent, entry(model).leased) == (7.0, 4.0)


class Memory:
    """A store in memory."""

    def __init__(self):
        self.entries = {}

    async def open(self):
        """Nothing to do."""

    async def close(self):
        """Nothing to do."""

    async def time(self):
        """A time of its own."""
        return time.monotonic() + 1e6

    async def read(self, name):
        """Give what was written."""
        return self.entries.get(name, (None, 0))

    async def write(self, name, data, revision):
        """Write it, if nobody has meanwhile."""
        if self.entries.get(name, (None, 0))[1] != revision:
            raise Conflict
        self.entries[name] = data, revision + 1


@pytest.mark.anyio
async def test_an_entry_of_something_else():
    """Is told of, and keeps nobody from what stands elsewhere."""
    store, log = Memory(), structlog.testing.CapturingLogger()
    store.entries["limits.main.0.requests"] = b"\xc1 no ledger", 7
    leasing = Leasing(store, time.monotonic, log)
    windows = Windows("main", leasing)
    bad, good = (windows.build(f"{index}.requests", 10, 60.0) for index in range(2))
    await leasing.open()
    for window in (bad, good):
        assert window.wait_s(1, time.monotonic()) == math.inf
    await until(lambda: good.wait_s(1, time.monotonic()) == 0.0)
    assert bad.wait_s(1, time.monotonic()) == math.inf
    assert "limits.main.0.requests" in {call.kwargs.get("entry") for call in log.calls}
    await leasing.close()
    assert store.entries["limits.main.0.requests"] == (b"\xc1 no ledger", 7)
