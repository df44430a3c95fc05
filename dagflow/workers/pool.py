"""Worker `pool`: several workers behind one name.

Each call goes to one of the members that could take it now; where none could, it waits here until one can, the
most urgent call first, so that no call is bound to a member while another one is free. What fails goes to a
fallback by the class of its error, within the same attempt; trying again is the stage's `retry`.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from msgspec.structs import replace
from pydantic import BeforeValidator, Field, field_validator
from pydantic_core import PydanticCustomError

from dagflow.errors import WorkerError
from dagflow.inference.line import Line
from dagflow.inference.routing import STRATEGIES
from dagflow.options import Options, WorkerName
from dagflow.plugin import ModelWorker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from dagflow.completion import Completion
    from dagflow.exchange import Chunk, Request
    from dagflow.inference.guarded import GuardedWorker
    from dagflow.plugin import Context

T = TypeVar("T")
ErrorClass = Literal[
    "timeout", "unavailable", "overloaded", "refused", "context_window", "content_policy", "protocol", "any"
]


class Member(Options):
    """One element of `members`."""

    worker: WorkerName = Field(description="the table under `[workers]` that is asked")
    weight: float = Field(1.0, gt=0, allow_inf_nan=False, description="its share, compared with the others'")


class Fallback(Options):
    """One element of `fallbacks`."""

    on: Annotated[list[ErrorClass], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)] = (
        Field(min_length=1, description="the classes of errors that it is for; a rate limit is `overloaded`")
    )
    to: WorkerName = Field(description="the worker that is asked instead")


def _as_member(value: Any) -> Any:
    return {"worker": value} if isinstance(value, str) else value


class Pool(ModelWorker):
    """Asks one of `members` for each call, as `strategy` chooses; where that fails, a worker that `fallbacks` name.

    The completion says in `worker` who answered.
    """

    incidental = frozenset({"strategy"})

    class Options(Options):
        members: list[Annotated[Member, BeforeValidator(_as_member)]] = Field(
            min_length=1,
            description="the workers: names, or tables with `worker` and `weight`; pools may be among them",
        )
        strategy: Literal["weighted", "least_busy", "latency", "session", "prefix"] = Field(
            "least_busy", description="how the member is chosen"
        )
        fallbacks: list[Fallback] = Field([], description="who is asked where a call failed, by the class of its error")

        @field_validator("members")
        @classmethod
        def _are_different(cls, members: list[Member]) -> list[Member]:
            names = [member.worker for member in members]
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                text = "`{name}` stands twice; give it a `weight`"
                raise PydanticCustomError("repeated_member", text, {"name": twice})
            return members

    _members: tuple[GuardedWorker, ...] = ()

    async def open(self, context: Context) -> None:
        await super().open(context)
        options = self.options
        workers: Any = context.workers
        self._members = tuple(workers[member.worker] for member in options.members)
        self._fallbacks = [(frozenset(rule.on), workers[rule.to]) for rule in options.fallbacks]
        self._strategy = STRATEGIES[options.strategy]({m.worker: m.weight for m in options.members})
        self._line = Line()
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = math.inf  # when it will ring
        for worker in _all_below(self._members):
            worker.on_room.append(self._wake)

    async def close(self) -> None:
        for worker in _all_below(self._members):
            if self._wake in worker.on_room:
                worker.on_room.remove(self._wake)
        if self._members and self._timer is not None:
            self._timer.cancel()

    async def infer(self, request: Request) -> Completion:
        member, completion = await self._asked(request, lambda worker: worker.infer(request))
        completion.worker = completion.worker or member.name
        return completion

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        return (await self._asked(None, lambda worker: worker.embed(texts)))[1]

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        streams: list[AsyncIterator[Chunk]] = []

        async def begin(worker: GuardedWorker) -> Chunk:
            while streams:
                await streams.pop().aclose()
            streams.append(worker.stream(request))
            return await anext(streams[-1])

        try:
            member, first = await self._asked(request, begin)
            yield first if first.worker else replace(first, worker=member.name)
            async for chunk in streams[-1]:
                yield chunk
        finally:
            while streams:
                await streams.pop().aclose()

    async def probe(self) -> str:
        """Ask nothing: each member is probed by itself."""
        return f"asks {', '.join(f'`{member.name}`' for member in self._members)}"

    def load_hint(self) -> int | None:
        return sum(member.load for member in self._members)

    def wait_s(self, request: Request | None) -> float:
        """Say how long a call would have to wait for a member if it came now, in seconds.

        Raises:
            WorkerError: no member would take it.
        """
        ready, wait_s = self._look(request)
        return 0.0 if ready and not self._line else wait_s

    async def _asked(
        self, request: Request | None, ask: Callable[[GuardedWorker], Awaitable[T]]
    ) -> tuple[GuardedWorker, T]:
        """Ask a member, and fallbacks where it fails; give who answered, and what."""
        rules = iter(self._fallbacks)
        try:
            member = await self._member(request)
            return member, await self._observed(member, ask)
        except WorkerError as error:
            failure = error
            if error.retry_after is not None:
                error.retry_after = self._retry_after(request, error.retry_after)
        for classes, worker in rules:
            if failure.kind in classes or "any" in classes:
                self.context.metrics.counter("fallbacks").add()
                try:
                    return worker, await ask(worker)
                except WorkerError as error:
                    failure = error
        raise failure

    async def _observed(self, member: GuardedWorker, ask: Callable[[GuardedWorker], Awaitable[T]]) -> T:
        began_s = self.context.clock()
        failed: bool | None = True
        try:
            answer = await ask(member)
            failed = False
            return answer
        except asyncio.CancelledError:
            failed = None
            raise
        finally:
            self._strategy.observe(member, self.context.clock() - began_s, failed)

    async def _member(self, request: Request | None) -> GuardedWorker:
        """Choose a member, and wait for one where none could take the call now.

        No other task may run between this and the call: the member is not reserved.
        """
        ready, wait_s = self._look(request)
        if ready and not self._line:
            return self._strategy.pick(ready, request)
        waiter = self._line.join(request, 0.0 if request is None else request.priority, self.context.clock())
        try:
            if ready:
                self._wake()  # those before it may all wait for limits that are not its own
            while True:
                self._call_again(wait_s)
                await waiter.told
                waiter.told = asyncio.get_running_loop().create_future()
                ready, wait_s = self._look(request)
                if ready:
                    return self._strategy.pick(ready, request)
        finally:
            self._line.drop(waiter)
            # Whoever is next may find room as well.
            asyncio.get_running_loop().call_soon(self._wake)

    def _look(self, request: Request | None) -> tuple[list[GuardedWorker], float]:
        """Give the members that could take a call now, and the least wait for another one, in seconds.

        Raises:
            WorkerError: none would take it.
        """
        ready, wait_s, refusals = [], math.inf, []
        for member in self._members:
            try:
                member_s = member.wait_s(request)
            except WorkerError as error:
                refusals.append(error)
                wait_s = min(wait_s, error.retry_after or math.inf)
            else:
                if member_s:
                    wait_s = min(wait_s, member_s)
                else:
                    ready.append(member)
        if len(refusals) == len(self._members):
            raise min(refusals, key=lambda error: error.retry_after or math.inf)
        return ready, wait_s

    def _retry_after(self, request: Request | None, asked_s: float) -> float | None:
        """Say when trying again makes sense: at once, where another member is free."""
        try:
            ready, wait_s = self._look(request)
        except WorkerError as error:
            return error.retry_after
        return None if ready else min(wait_s, asked_s)

    def _wake(self) -> None:
        """Let the most urgent call look again that would find a member; when it has gone, the next one.

        Where none would, it is done again when one may: what keeps members from calls may end without a call's end.
        """
        soonest_s = math.inf
        for waiter in self._line:
            wait_s = 0.0 if waiter.told.done() else self._wait_of(waiter.call)
            if not wait_s:
                waiter.tell(None)
                return
            soonest_s = min(soonest_s, wait_s)
        self._call_again(soonest_s)

    def _wait_of(self, request: Request | None) -> float:
        try:
            ready, wait_s = self._look(request)
        except WorkerError:
            return 0.0  # to be told that
        return 0.0 if ready else wait_s

    def _call_again(self, wait_s: float) -> None:
        loop = asyncio.get_running_loop()
        due_s = loop.time() + wait_s
        if due_s < self._due_s:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._due_s = loop.call_later(wait_s, self._ring), due_s

    def _ring(self) -> None:
        self._timer, self._due_s = None, math.inf
        self._wake()


def _all_below(workers: Sequence[GuardedWorker]) -> Iterator[GuardedWorker]:
    for worker in workers:
        yield worker
        yield from _all_below(tuple(worker.members.values()))
