"""What a plugin must be: Source, Stage, Sink, ModelWorker, Exporter, and the Context they get.

The last kind, Transport, stands in `dagflow/transport.py`.

A plugin is a small class with typed `Options`. Its constructor does no I/O; `open` does, and
`close` undoes it (twice is fine). It never sees the engine, only its context. Every exception
that a method may raise is named on the method here; implementations need not repeat it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict

from dagflow.context import Context
from dagflow.errors import WorkerError
from dagflow.exchange import Request
from dagflow.live_values import abandon_live

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence

    from dagflow.completion import Completion
    from dagflow.exchange import Chunk
    from dagflow.record import Outcome, Record
    from dagflow.telemetry.families import Family

CONTRACTS: Final = (1,)
"""The versions of this contract that this dagflow keeps. `docs/contract.md` is the first."""


class NoOptions(BaseModel):
    """The options of a plugin that has none."""

    model_config = ConfigDict(extra="forbid")


class Plugin:
    """What all kinds share.

    Attributes:
        contract: the version of this contract that the class is written for; else the one that is installed.
        incidental: options that change no answer, so that a run may go on with other values of them.
    """

    contract: ClassVar[int] = max(CONTRACTS)
    incidental: ClassVar[frozenset[str]] = frozenset()
    Options: ClassVar[type[BaseModel]] = NoOptions
    options: Any
    context: Context

    def __init__(self, options: BaseModel | None = None) -> None:
        self.options = self.Options() if options is None else options

    async def open(self, context: Context) -> None:
        """Get ready to work. Whatever it raises stops the start, with this plugin's name."""
        self.context = context

    async def close(self) -> None:
        """Let go of everything; called also when `open` failed, and twice is fine."""


class Node(Plugin):
    """What sources, stages and sinks share: which fields they touch, which ports they have."""

    def reads(self) -> set[str]:
        """Fields that must have been written before this node; may depend on the options."""
        return set()

    def reads_any(self) -> list[set[str]]:
        """Groups of fields, of each of which at least one must have been written before this node."""
        return []

    def writes(self) -> set[str] | None:
        """Fields that every record has after this node; None: it may write anything."""
        return None

    def ports(self) -> set[str]:
        """Named outputs that `Record.port` may choose, beside the main one and `error`."""
        return set()


class Source(Node, ABC):
    """Brings records in.

    Attributes:
        finite: whether `records` ends by itself. A run ends when all finite sources have ended.
        can_cancel: whether it may cancel what it handed in.
        resumable: whether each of its records has a `key`, the same whenever its input is read again, so that a run can
            go on where an earlier one stopped. May be a property.
        serves: whether callers wait for the answers of its records; every way must lead to a sink that gives them.
        gives_back: whether a later run gets what this one cuts off, so that no dead letter is made of it.
        splits: whether several processes may read it, each what `Context.share` says. May be a property.
        splits_sessions: whether it can do that also by session, which is known before a record is handed in. May be a
            property.
        in_order: whether it can't leave a record open while later ones are done; what is lost is kept first.
        takes_over: whether its records were accepted elsewhere: it is the end of an edge over a broker.
        replaceable: whether one of a new plan may be opened while it runs, and take its place. May be a property.
    """

    finite: bool = True
    can_cancel: bool = False
    resumable: bool = False
    serves: ClassVar[bool] = False
    gives_back: ClassVar[bool] = False
    in_order: ClassVar[bool] = False
    takes_over: ClassVar[bool] = False
    splits: bool = False
    splits_sessions: bool = False
    replaceable: bool = False

    def exposed_at(self) -> str | None:
        """Give the address at which other machines could use it if there were no `[auth]`; asked before `open`.

        None where they cannot, or where the options say that they may.
        """
        return None

    @abstractmethod
    def records(self) -> AsyncIterator[Record]:
        """Iterate over records. Not being asked for the next one is back-pressure.

        Yield an `UnreadableInput` for input that is no record: it fails, and the run goes on.
        What this raises ends the source, and the run with exit code 1.
        """

    def replace(self, before: Source) -> None:
        """Take the place of the source that `Context.replaces` names: what comes from now on belongs here.

        Called once, between `open` and `records`. The other one is asked for no more records after that, but lives
        until all that it handed in have settled. Must not raise.
        """

    def settle(self, record: Record, outcome: Outcome) -> Awaitable[None] | None:
        """Take the outcome of a record that `records` yielded; called exactly once for each.

        `record` is the yielded object; `record.ticket` has `error`, `answer` and `delivered`. May be a
        coroutine function. Must not raise: the outcome stands whatever happens here.
        """

    def on_answer(self, record: Record, answer: Record) -> None:
        """Take the answer that a `reply` sink hands back for a record that `records` yielded.

        Called at most once, before `settle`. A live completion in it is the source's to read, or
        to abandon, as this does. Must not raise.
        """
        abandon_live(answer.values())

    def progress(self) -> float | None:
        """The share of the input that has been read, 0 to 1; None where it can't be known."""
        return None


class Stage(Node, ABC):
    """Changes records.

    Attributes:
        default_concurrency: `concurrency` where the file does not say.
        default_retry_budget: `retry.budget` where the file does not say; None for retries without a bound.
        passes_live: whether `process` takes a live completion and leaves it live. May be a property.
    """

    default_concurrency: ClassVar[int] = 1
    default_retry_budget: ClassVar[float | None] = None
    passes_live: bool = False

    @abstractmethod
    def process(self, record: Record) -> Any:
        """Process one record.

        A coroutine function, a plain function (it runs in a thread), or an async generator
        (what it yields goes on at once; its slot is kept until it ends).

        Returns:
            The record, changed in place or new; None to filter it out; or an iterable of
            records, which share its ticket.

        Raises:
            RecordError: this record can't be processed; retried if `retryable`. Any other
                exception is a bug of the plugin, and fails the record the same way.
        """

    def process_whole(self, record: Record) -> Awaitable[Any] | None:
        """Process a record without a generator, though `process` is one; None where it has to be that.

        For records of which nothing need go on before all of it is there. The default always gives None.
        """
        return None


class Sink(Node, ABC):
    """Takes records out.

    Attributes:
        default_concurrency: `concurrency` where the file does not say.
        forwards_live: whether `write` takes a live completion and forwards its chunks. May be a property.
        resumable: whether what it has taken outlives the program, so that a later run adds to it. May be a property.
        answers: whether it hands records back to who waits for them, with `Ticket.reply`.
        hands_off: whether what it takes goes on elsewhere: it is the start of an edge over a broker.
        parallel: whether each of several processes may have one of its own, as nothing of theirs meets in one place.
            May be a property.
    """

    default_concurrency: ClassVar[int] = 1
    forwards_live: bool = False
    resumable: bool = False
    answers: ClassVar[bool] = False
    hands_off: ClassVar[bool] = False
    parallel: bool = False

    @abstractmethod
    def write(self, record: Record) -> Awaitable[None] | None:
        """Write one record; returning means delivered. May be a plain function (runs in a thread).

        Raises:
            RecordError: as for `Stage.process`.
        """

    def position(self) -> Any:
        """Say where a later run would have to go on, which takes back what was written after that.

        It stands behind all for which `write` has returned, and before everything else. Asked now and then, and
        followed by `flush`; a later run finds it as `Context.position` in `open`.

        Returns:
            A JSON-like value, or None where nothing can be taken back.
        """
        return None

    async def flush(self) -> None:
        """Make everything written durable."""


class ModelWorker(Plugin, ABC):
    """Answers prompts.

    Attributes:
        remote: whether its answers come over a network. Then a call may take 120 s and its first chunk
            60 s, where the file does not say.
        default_max_in_flight: `max_in_flight` where the file does not say; None for any number.
    """

    remote: ClassVar[bool] = False
    default_max_in_flight: ClassVar[int | None] = None

    @abstractmethod
    async def infer(self, request: Request) -> Completion:
        """Answer with a whole completion.

        Raises:
            WorkerError: with its kind, whether it is retryable, and a `retry_after` if known.
        """

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        """Answer in chunks, the last of which carries `finish_reason` and `usage`. Optional.

        The default gives what `infer` answers as a single chunk.

        Raises:
            WorkerError: as `infer`; after the first chunk it means that the stream broke.
        """
        async for chunk in (await self.infer(request)).chunks():
            yield chunk

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector for each text, or `Embeddings`, which also tell the usage. Optional.

        Raises:
            WorkerError: kind `refused` where the worker has no embeddings.
        """
        raise WorkerError("refused", "it makes no embeddings; ask a worker that does")

    def wait_s(self, request: Request | None) -> float:
        """Say how long a call would have to wait inside this worker if it came now, in seconds; infinity for some end.

        For workers that pass calls on to others; `request` is None for embeddings.

        Raises:
            WorkerError: it would be refused.
        """
        return 0.0

    def load_hint(self) -> int | None:
        """Say how many calls the server has, those of others included, as last heard; None if nothing is known."""
        return None

    async def probe(self) -> str:
        """Try whether the worker can answer, as cheaply as it can be known; `dagflow validate --probe` asks.

        The default asks for one token.

        Returns:
            What was found, in a few words, such as the model's name.

        Raises:
            WorkerError: it can't; the message names the cause and the remedy.
        """
        completion = await self.infer(Request(prompt="ping", parameters={"max_tokens": 1}))
        return f"model `{completion.model}` answers" if completion.model else "it answers"


class Exporter(Plugin, ABC):
    """Sends metrics somewhere. Its name in the file is its type: `[metrics.TYPE]`."""

    @abstractmethod
    async def export(self, families: Sequence[Family]) -> None:
        """Send what was read at one moment; called now and then, and once more at the end, never twice at a time.

        Raises:
            Exception: it could not be sent. That is counted and logged, and the run goes on.
        """
