"""Rules for transports: the channels that they build, each played against a plain list."""

from __future__ import annotations

from contextlib import suppress
from functools import wraps
from random import Random
from typing import TYPE_CHECKING, Any, Final

from dagflow.channel.doorbell import Doorbell
from dagflow.context import ChannelLinks
from dagflow.errors import EndOfStream, WouldBlock
from dagflow.graph.plan import EdgePlan
from dagflow.plugin import Sink, Source
from dagflow.record import Outcome, Record
from dagflow.testing.conformance.rule import demand, rule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagflow.testing.conformance.rule import Rule
    from dagflow.testing.conformance.trial import Trial

_CAPACITY: Final = 3
_STEPS: Final = 300
_POLICIES: Final = ("block", "drop_newest", "drop_oldest", "drop_lowest")


def _rule_for_channels(id: str) -> Callable[[Callable[[Any], Awaitable[None]]], Rule]:
    """Make a rule for transports that carry edges inside a program; others keep it by building no channels."""

    def make(check: Callable[[Any], Awaitable[None]]) -> Rule:
        @wraps(check)
        async def tried(trial: Trial) -> None:
            if not trial.sample.cls.durable:  # type: ignore[attr-defined]
                await check(trial)

        return rule(id)(tried)

    return make


class _Play:
    """A channel, and what became of each record that was sent."""

    def __init__(self, trial: Trial, transport: Any, when_full: str = "block", **edge: Any) -> None:
        self.trial = trial
        self.lost: list[tuple[Record, Outcome]] = []
        self.taken: list[Record] = []
        self.sent: list[Record] = []
        self.now = 0.0
        links = ChannelLinks(self._on_lost, lambda: self.now, Doorbell())
        plan = EdgePlan("a", "b", capacity=_CAPACITY, when_full=when_full, **edge)
        self.channel = transport.build_channel(plan, links)

    def send(self, **attributes: Any) -> bool:
        """Send a record; False where the channel did not take it."""
        record = self.trial.record(Record({"input": "x"}, str(len(self.sent)), **attributes))
        try:
            self.channel.send_nowait(record)
        except (WouldBlock, EndOfStream):
            return False
        self.sent.append(record)
        return True

    def take(self) -> Record | None:
        """Take a record, if there is one."""
        try:
            record = self.channel.receive_nowait()
        except (WouldBlock, EndOfStream):
            return None
        self.taken.append(record)
        return record

    def step(self, random: Random) -> None:
        """Do one thing by chance."""
        chance = random.random()
        if chance < 0.5:
            self.send(priority=random.randrange(3), deadline=random.choice([None, None, self.now + 2.0]))
        elif chance < 0.85:
            self.take()
        elif chance < 0.95:
            self.now += 1.0
        elif self.sent:
            self.channel.cancel(random.choice(self.sent).ticket)

    def _on_lost(self, record: Record, outcome: Outcome, reason: str) -> None:
        self.lost.append((record, outcome))


@_rule_for_channels("TRANSPORT-1")
async def balances(trial: Trial) -> None:
    """The books of a channel balance at any time: offered = taken + shed + expired + cancelled + buffered."""
    async with trial.opened() as transport:
        for play in _plays(trial, transport):
            s = play.channel.statistics()
            ended = s.taken + s.shed + s.expired + s.cancelled + s.buffered
            demand(s.offered == ended, f"{s.offered} records were offered, and {ended} are accounted for")


@_rule_for_channels("TRANSPORT-2")
async def loses_nothing(trial: Trial) -> None:
    """A record is handed out once, or lost once and told to `on_lost`; while neither has happened, it is buffered."""
    async with trial.opened() as transport:
        for play in _plays(trial, transport):
            ended = [id(r) for r in play.taken] + [id(r) for r, _ in play.lost]
            demand(len(ended) == len(set(ended)), "a record was handed out or lost twice")
            inside = play.channel.statistics().buffered
            demand(
                len(play.sent) == len(ended) + inside, f"of {len(play.sent)} records, {len(ended) + inside} are left"
            )


@_rule_for_channels("TRANSPORT-3")
async def is_bounded(trial: Trial) -> None:
    """A channel never holds more than its capacity; full, it refuses with `WouldBlock` where its policy is to wait."""
    async with trial.opened() as transport:
        for policy in _POLICIES:
            play = _Play(trial, transport, policy)
            taken = [play.send() for _ in range(_CAPACITY + 2)]
            held = play.channel.statistics().buffered
            demand(held <= _CAPACITY, f"a channel of capacity {_CAPACITY} holds {held} records")
            demand(all(taken) != (policy == "block"), f"full, a channel with `{policy}` took {sum(taken)} records")


@_rule_for_channels("TRANSPORT-4")
async def keeps_order(trial: Trial) -> None:
    """Records come out in the order in which they went in."""
    async with trial.opened() as transport:
        play = _Play(trial, transport)
        for _ in range(4):
            while play.send():
                pass
            play.take()
            play.take()
        demand(play.taken == play.sent[: len(play.taken)], f"out came {[r.id for r in play.taken]}")


@_rule_for_channels("TRANSPORT-5")
async def closes(trial: Trial) -> None:
    """A closed channel takes nothing more, hands out what it holds, and then says `EndOfStream`."""
    async with trial.opened() as transport:
        play = _Play(trial, transport)
        play.send()
        play.send()
        play.channel.close()
        demand(not play.send(), "a closed channel took a record")
        demand(play.take() and play.take(), "a closed channel does not hand out what it held")
        ended = False
        try:
            play.channel.receive_nowait()
        except EndOfStream:
            ended = True
        except WouldBlock:
            pass
        demand(ended, "a channel that is closed and empty does not say so")


@_rule_for_channels("TRANSPORT-6")
async def can_be_abandoned(trial: Trial) -> None:
    """An abandoned channel tells `on_lost` of all that it held and all that is still sent, as cancelled."""
    async with trial.opened() as transport:
        play = _Play(trial, transport)
        play.send()
        play.send()
        play.channel.abandon()
        play.send()
        told = [outcome for _, outcome in play.lost]
        demand(told == [Outcome.CANCELLED] * 3, f"of 3 records, the channel told {[str(o) for o in told]}")


@_rule_for_channels("TRANSPORT-7")
async def cancels(trial: Trial) -> None:
    """`cancel` takes every record of a ticket out, and tells `on_lost`."""
    async with trial.opened() as transport:
        play = _Play(trial, transport)
        play.send()
        play.send()
        play.channel.cancel(play.sent[0].ticket)
        told = [(record.id, outcome) for record, outcome in play.lost]
        demand(told == [("0", Outcome.CANCELLED)], f"for the ticket of record 0, the channel told {told}")
        demand(play.channel.statistics().buffered == 1, "the channel did not keep the record of another ticket")


@rule("TRANSPORT-8")
async def has_ends(trial: Trial) -> None:
    """A durable transport builds for an edge a sink that `hands_off` and a source that `takes_over` without an end."""
    transport = trial.build()
    if not transport.durable:
        return
    edge = EdgePlan("a", "b", capacity=_CAPACITY)
    outlet, inlet = transport.build_outlet(edge), transport.build_inlet(edge)
    demand(isinstance(outlet, Sink) and outlet.hands_off, f"the start of an edge is a {type(outlet).__name__}")
    demand(isinstance(inlet, Source) and inlet.takes_over, f"the end of an edge is a {type(inlet).__name__}")
    demand(not inlet.finite, "the end of an edge ends by itself, but more may come")


def _plays(trial: Trial, transport: Any) -> Any:
    """Play each policy by chance, and give the play after each step, and after the end."""
    for policy in _POLICIES:
        play, random = _Play(trial, transport, policy), Random(policy)
        for _ in range(_STEPS):
            with suppress(Exception):
                play.step(random)
            yield play
        play.channel.abandon()
        yield play


TRANSPORT_RULES: Final = (
    balances,
    loses_nothing,
    is_bounded,
    keeps_order,
    closes,
    can_be_abandoned,
    cancels,
    has_ends,
)
