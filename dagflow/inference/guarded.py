"""GuardedWorker: a model worker with everything that its table asks for around each call.

Whoever names a worker gets this, with the worker's own methods. Guards act on calls, never on chunks: a
chunk passes with a look at the clock.
"""

from __future__ import annotations

import asyncio
import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace

from dagflow.errors import WorkerError
from dagflow.exchange import Embeddings
from dagflow.inference.call import Call
from dagflow.inference.gate import Gate
from dagflow.inference.leasing import Windows
from dagflow.inference.stack import build_guards
from dagflow.inference.tally import Tally
from dagflow.inference.watch import Timeouts, Watch
from dagflow.plugin import ModelWorker
from dagflow.telemetry.genai import operation_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping, Sequence

    from dagflow.completion import Completion
    from dagflow.exchange import Chunk, Request, Usage
    from dagflow.graph.plan import WorkerPlan
    from dagflow.inference.leasing import Leasing
    from dagflow.inference.limits import Limits

T = TypeVar("T")


class GuardedWorker(ModelWorker):
    """One worker behind its guards.

    Args:
        plan: its class, options and guards.
        plugin: the worker itself, which somebody else opens and closes.
        members: the workers that it asks in turn, where it is a pool.
        clock: the pipeline's, in seconds.
        leasing: leases what its limits allow, where several programs share them.

    Attributes:
        tally: what its calls came to.
        on_room: functions that are called when another call might be made; a pool puts one there.
    """

    def __init__(
        self,
        plan: WorkerPlan,
        plugin: ModelWorker,
        members: Mapping[str, GuardedWorker],
        clock: Callable[[], float],
        log: Any,
        leasing: Leasing | None = None,
    ) -> None:
        super().__init__(plan.options)
        self.name, self.type = plan.name, plan.type
        self.plugin = plugin
        self.members = members
        self.tally = Tally()
        self.on_room: list[Callable[[], None]] = []
        self._clock = clock
        self._timeouts = Timeouts.of(plan.name, plan.guards, plugin.remote)
        windows = Windows(plan.name, leasing)
        self._prices, self._guards = build_guards(plan.name, plan.guards, type(plugin), log, windows)
        self._gate = Gate(self._guards, clock, self._tell_room)
        windows.on_room = self._gate.look_again

    @property
    def waiting(self) -> int:
        """How many calls are held back."""
        return self._gate.waiting

    @property
    def load(self) -> int:
        """How many calls it has, or its server has, as far as that tells."""
        return max(self.tally.busy + self._gate.waiting, self.plugin.load_hint() or 0)

    def wait_s(self, request: Request | None) -> float:
        own_s = self._gate.look(Call(request, self._clock()))
        return max(own_s, self.plugin.wait_s(request)) if self.members else own_s

    @cached_property
    def identity(self) -> str:
        """What makes its answers its own: its type, its options without secrets, and its members."""
        options = self.plugin.options.model_dump_json(by_alias=True, warnings=False)
        return repr((self.type, options, sorted((name, m.identity) for name, m in self.members.items())))

    def keys_of(self, record: Any) -> tuple[Hashable, ...]:
        """Give the keys of its limits on a record, and those of its members: whose calls may not be shared."""
        own = tuple(guard.key_of(record) for guard in self._limits)
        return sum((member.keys_of(record) for member in self.members.values()), own)

    def as_dict(self) -> dict[str, Any]:
        """Give its books and the state of its guards, as JSON-like values."""
        now_s = self._clock()
        states: dict[str, Any] = {}
        for guard in self._guards:
            if guard.name == "limits":
                states.setdefault("limits", []).append(guard.state(now_s))
            elif state := guard.state(now_s):
                states[guard.name] = state
        return {**self.tally.as_dict(), "waiting": self.waiting, **states}

    async def infer(self, request: Request) -> Completion:
        call = await self._enter(Call(request, self._clock()))
        try:
            completion = await self._within_total(self.plugin.infer(request))
            completion.usage = call.usage = self._charged(completion.usage)
            call.model, call.finish_reason = completion.model, completion.finish_reason
        except BaseException as error:
            self._fail(call, error)
            raise
        finally:
            self._leave(call)
        return completion

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        call = await self._enter(Call(request, self._clock()))
        watch = Watch(self._timeouts) if self._timeouts.are_set else None
        stream, finished = None, False
        try:
            stream = self.plugin.stream(request)
            chunks, note_gap, before_s = aiter(stream), self.tally.chunk_gaps[operation_of(call)].observe, 0.0
            while (chunk := await (anext(chunks, None) if watch is None else watch.next(chunks))) is not None:
                now_s = self._clock()
                if call.first_s is None:
                    call.first_s = now_s
                else:
                    note_gap(now_s - before_s)
                before_s = now_s
                if chunk.usage is not None:
                    call.usage = self._charged(chunk.usage)
                    chunk = chunk if call.usage is chunk.usage else replace(chunk, usage=call.usage)
                if chunk.finish_reason is not None:
                    finished, call.model, call.finish_reason = True, chunk.model, chunk.finish_reason
                yield chunk
            if not finished:
                raise WorkerError("protocol", f"the stream of worker `{self.name}` ended without a finish reason")
        except BaseException as error:
            self._fail(call, error)
            raise
        finally:
            if watch is not None:
                watch.close()
            try:
                if hasattr(stream, "aclose"):
                    await stream.aclose()
            finally:
                self._leave(call)

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        call = await self._enter(Call(None, self._clock(), texts))
        try:
            vectors = await self._within_total(self.plugin.embed(texts))
            if not isinstance(vectors, Embeddings):
                vectors = Embeddings(vectors)
            vectors.usage = call.usage = self._charged(vectors.usage)
        except BaseException as error:
            self._fail(call, error)
            raise
        finally:
            self._leave(call)
        return vectors

    async def probe(self) -> str:
        """Ask the worker itself: what guards hold back is not what a probe is after."""
        return await self._within_total(self.plugin.probe())

    @property
    def _limits(self) -> list[Limits]:
        return [guard for guard in self._guards if guard.name == "limits"]

    async def _enter(self, call: Call) -> Call:
        try:
            if not self._gate.enter_nowait(call):
                await self._gate.wait_entered(call)
        except WorkerError:
            self.tally.turned_away += 1
            raise
        self.tally.begin()
        if not self.members:
            call.note_on_trail(self.name)
            if call.request is not None:
                call.request.asked_s = call.started_s
        return call

    def _fail(self, call: Call, error: BaseException) -> None:
        call.fail(error, self._clock(), bool(self.members))
        if isinstance(error, WorkerError) and error.worker is None:
            error.worker = self.name

    def _leave(self, call: Call) -> None:
        call.ended_s = self._clock()
        self.tally.end(call)
        self._gate.leave(call)

    def _charged(self, usage: Usage | None) -> Usage | None:
        return usage if usage is None or self._prices is None else self._prices.charge(usage)

    async def _within_total(self, work: Awaitable[T]) -> T:
        if self._timeouts.total_s == math.inf:
            return await work
        timeout = asyncio.timeout(self._timeouts.total_s)
        try:
            async with timeout:
                return await work
        except TimeoutError:
            if not timeout.expired():
                raise
            raise self._timeouts.error("total_timeout") from None

    def _tell_room(self) -> None:
        for tell in self.on_room:
            tell()
