"""Every exception of dagflow, in one tree.

    DagflowError
    ├── ConfigError            the file is invalid; carries every diagnostic
    ├── PluginError            a plugin could not be loaded, opened or used as its contract says
    │   ├── UnknownType        no installed package offers this type
    │   ├── AmbiguousType      two packages offer it
    │   ├── BrokenPlugin       it is installed, but does not import
    │   └── OpenFailed         its `open` raised
    ├── RecordError            one record could not be processed; the pipeline goes on
    │   ├── StageTimeout       an attempt took longer than the stage's `timeout`
    │   ├── DeadlinePassed     the record's own deadline passed
    │   ├── Unmatched          no outgoing edge took the record
    │   ├── UnreadableRecord   a source could not make a record of what it read
    │   ├── ExpressionError    a condition or a template failed on this record
    │   ├── InvalidField       a field is missing, or is not what its reader needs
    │   ├── InvalidOutput      a completion or field did not have the demanded form
    │   ├── PluginBug          a plugin raised something that is not a RecordError
    │   ├── JoinIncomplete     a branch that a join needs was lost
    │   ├── JoinTimeout        a branch that a join needs did not come in time
    │   ├── JoinSplit          two branches of one record came to one input of a join
    │   ├── NotAStageResult    a plugin gave what is no result, or chose a port that it has not
    │   ├── StreamCut          a live completion was stopped before its end
    │   ├── WriteFailed        a sink could not write to its file or pipe
    │   ├── NotPublished       a broker did not take a record
    │   ├── EdgeFull           an edge over a broker is full, and is to shed what is new
    │   ├── RedeliveredTooOften  a broker brought a record again and again
    │   ├── ProcessDied        the process that was answering died
    │   └── WorkerError        a model worker could not answer; has a kind
    ├── StoreUnreachable       a store that several programs share does not answer
    ├── StoreError             a store on the disk could not be opened, read or written
    ├── CheckpointMismatch     a checkpoint is of a file that meant something else
    ├── NotReplaced            another plan can't take the place of the one that runs
    ├── ProcessFailed          one of several processes could not be started
    ├── SeveralProcesses       what was asked for needs a pipeline of one process
    ├── AdminError             the admin listener could not be started or reached
    ├── PipelineClosed         `submit` came after the pipeline began to drain
    └── NotDelivered           a streamed record ended otherwise than delivered

    FlowSignal                 not a fault; never reaches a user
    ├── WouldBlock             a `_nowait` call would have had to wait
    └── EndOfStream            the channel is closed and empty

`code` is stable, kebab-case, and doubles as a metric label. Messages are built in the
classes, so that a raise site is one line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagflow.config.diagnostics import Diagnostic


class DagflowError(Exception):
    """Root of every error that dagflow raises."""

    code: ClassVar[str] = "error"


class ConfigError(DagflowError):
    """The file is invalid. `diagnostics` holds every finding, errors and warnings."""

    code = "invalid-file"

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        errors = [d for d in self.diagnostics if d.severity == "error"]
        lines = [
            f"{d.path or 'pipeline'}:{d.line or 1}: {d.message}" + (f" ({d.hint})" if d.hint else "") for d in errors
        ]
        super().__init__("\n".join([f"the pipeline file has {len(errors)} error(s)", *lines]))


class PluginError(DagflowError):
    """A plugin could not be loaded, opened or used as its contract says."""

    code = "plugin"


class UnknownType(PluginError):
    """No installed package offers this type; `names` lists what is offered."""

    code = "unknown-type"

    def __init__(self, kind: str, type_name: str, names: Sequence[str]) -> None:
        self.kind, self.type_name, self.names = kind, type_name, tuple(names)
        super().__init__(f"no installed package offers a {kind} of type `{type_name}`")


class AmbiguousType(PluginError):
    """Two packages offer one name; `packages` names them."""

    code = "ambiguous-type"

    def __init__(self, kind: str, type_name: str, packages: Sequence[str]) -> None:
        self.kind, self.type_name, self.packages = kind, type_name, tuple(packages)
        offers = " and ".join(f"`{package}`" for package in packages)
        super().__init__(f"{kind} type `{type_name}` is offered by {offers}")


class BrokenPlugin(PluginError):
    """The package is installed, but what its entry point names cannot be had."""

    code = "broken-plugin"

    def __init__(self, kind: str, type_name: str, package: str, reason: str) -> None:
        self.kind, self.type_name, self.package = kind, type_name, package
        super().__init__(f"{kind} type `{type_name}` of package `{package}` cannot be loaded: {reason}")


class OpenFailed(PluginError):
    """A plugin's `open` raised; nothing was started."""

    code = "open-failed"

    def __init__(self, name: str, error: BaseException) -> None:
        self.name = name
        super().__init__(f"`{name}` could not be opened: {describe(error)}")


class StoreError(DagflowError):
    """A store on the disk could not be opened, read or written."""

    code = "store"

    def __init__(self, path: object, reason: str, remedy: str = "see to it that it can be, or change `path`") -> None:
        super().__init__(f"`{path}` cannot be used: {reason}; {remedy}")


class CheckpointMismatch(DagflowError):
    """A checkpoint was begun by a file that meant something else; going on would mix answers."""

    code = "checkpoint-mismatch"

    def __init__(self, path: object, differences: Sequence[str]) -> None:
        places = ", ".join(f"`{place}`" for place in differences[:5]) + (", ..." if len(differences) > 5 else "")
        super().__init__(
            f"the checkpoint `{path}` was begun with other settings: {places}; their answers would be mixed. "
            "Start over with `--fresh`, or undo the change"
        )


class AdminError(DagflowError):
    """The admin listener could not be started, or not be reached; the message says the remedy."""

    code = "admin"


class StoreUnreachable(DagflowError):
    """A store that several programs share does not answer, or refuses."""

    code = "shared-store"


class NotReplaced(DagflowError):
    """Another plan can't take the place of the one that runs; `hindrances` says why."""

    code = "not-replaced"

    def __init__(self, hindrances: Sequence[str]) -> None:
        self.hindrances = tuple(hindrances)
        super().__init__("; ".join(hindrances))


class ProcessFailed(DagflowError):
    """One of several processes could not be started; `code` is that of its error."""

    code = "process"

    def __init__(self, message: str, code: str = code) -> None:
        self.code = code  # type: ignore[misc]
        super().__init__(message)


class SeveralProcesses(DagflowError):
    """What was asked for is possible in a pipeline of one process only."""

    code = "several-processes"

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} is not possible while the pipeline runs in several processes; {remedy}")


class PipelineClosed(DagflowError):
    """A record was submitted to a pipeline that drains or has ended."""

    code = "closed"

    def __init__(self) -> None:
        super().__init__("the pipeline no longer accepts records")


class NotDelivered(DagflowError):
    """A record whose answer was being streamed ended in another outcome than `delivered`."""

    code = "not-delivered"

    def __init__(self, outcome: str, error: RecordError | None) -> None:
        self.outcome, self.error = outcome, error
        super().__init__(f"the record was {outcome}" + (f": {describe(error)}" if error else ""))


class RecordError(DagflowError):
    """One record could not be processed.

    `retryable` says whether another attempt may succeed; `retry_after` is the least wait
    before it in seconds, where the other side named one. `ends_run` says that no later record
    can fare better. The engine sets `node` and `attempt` where it catches the error.
    """

    code = "record"
    retryable: bool = False
    retry_after: float | None = None
    ends_run: bool = False
    node: str | None = None
    attempt: int = 1

    def as_field(self) -> dict[str, Any]:
        """Give what an error port writes into the field `error`."""
        return {"code": self.code, "message": describe(self), "node": self.node, "attempt": self.attempt}


class StageTimeout(RecordError):
    """An attempt took longer than the stage's `timeout`."""

    code = "timeout"
    retryable = True

    def __init__(self, timeout_s: float) -> None:
        super().__init__(f"took longer than its timeout of {timeout_s:g} s")


class DeadlinePassed(RecordError):
    """The record's own deadline passed."""

    code = "deadline"

    def __init__(self) -> None:
        super().__init__("the record's deadline has passed")


class Unmatched(RecordError):
    """No outgoing edge's condition held, and the node does not say `unmatched = "filter"`."""

    code = "unmatched"

    def __init__(self) -> None:
        super().__init__('no outgoing edge took the record (`unmatched = "filter"` would filter it)')


class UnreadableRecord(RecordError):
    """A source could not make a record of what it read; `place` is like `file.jsonl:17`."""

    code = "unreadable"

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")


class ExpressionError(RecordError):
    """A condition or a template failed on this record."""

    code = "expression"

    def __init__(self, what: str, source: str, reason: str) -> None:
        super().__init__(f"{what} `{source}` failed: {reason}")


class InvalidField(RecordError):
    """A field is missing, or its value is not what its reader needs; `expected` says what is."""

    code = "invalid-field"

    def __init__(self, field: str, expected: str, value: object = None) -> None:
        found = "it is missing" if value is None else f"it is of type `{type(value).__name__}`"
        super().__init__(f"field `{field}` should be {expected}, but {found}")


class InvalidOutput(RecordError):
    """A completion or field did not have the demanded form."""

    code = "invalid-output"


class PluginBug(RecordError):
    """A plugin raised something that is not a RecordError; the cause is chained."""

    code = "bug"

    def __init__(self, error: BaseException) -> None:
        super().__init__(describe(error))
        self.__cause__ = error


class NotAStageResult(RecordError):
    """What a plugin gave is neither a record, None nor several records, or is for a port that it did not declare."""

    code = "not-a-result"

    def __init__(self, found: str, expected: str = "a Record, None or Records") -> None:
        super().__init__(f"the plugin gave {found}; expected {expected}")


class JoinIncomplete(RecordError):
    """A branch that a join needs was lost, and an error port took it; `came` names the edges whose branches came."""

    code = "join-incomplete"

    def __init__(self, came: Sequence[str]) -> None:
        super().__init__(f"a branch to be joined was lost; only those over {_listed(came)} came")


class JoinTimeout(RecordError):
    """A branch that a join needs did not come within `join_timeout`."""

    code = "join-timeout"

    def __init__(self, timeout_s: float, came: Sequence[str]) -> None:
        super().__init__(f"within {timeout_s:g} s, only the branches over {_listed(came)} came")


class JoinSplit(RecordError):
    """A stage before the join made several records of one."""

    code = "join-split"

    def __init__(self, edge: str) -> None:
        super().__init__(f"more than one record came over `{edge}` to be joined; a join takes one over each edge")


class StreamCut(RecordError):
    """A live completion was stopped before its end: its record was cancelled, or ran out of time."""

    code = "stream-cut"

    def __init__(self) -> None:
        super().__init__("the stream was cut off before its end")


class WriteFailed(RecordError):
    """A sink could not write to its file or pipe."""

    code = "write-failed"

    def __init__(self, target: str, error: OSError) -> None:
        self.ends_run = isinstance(error, BrokenPipeError)
        reason = "whoever read it has closed it" if self.ends_run else error.strerror or str(error)
        super().__init__(f"`{target}` could not be written: {reason}")


class NotPublished(RecordError):
    """A broker did not acknowledge a record; `retryable` where it may the next time, `is_full` if it has no room."""

    code = "not-published"

    def __init__(self, target: str, reason: str, retryable: bool = False, is_full: bool = False) -> None:
        self.retryable = retryable
        self.is_full = is_full
        super().__init__(f"`{target}` did not take the record: {reason}")


class EdgeFull(RecordError):
    """An edge over a broker is full; the record is shed, for the `reason` that the edge names: never a failure."""

    code = "edge-full"

    def __init__(self, reason: str) -> None:
        super().__init__(f"the edge is full ({reason})")
        self.reason = reason


class RedeliveredTooOften(RecordError):
    """A broker brought a record again and again, since nobody came to an end with it."""

    code = "redelivered"

    def __init__(self, times: int) -> None:
        super().__init__(f"it was delivered {times} times before, and nobody came to an end with it")


class ProcessDied(RecordError):
    """The process died that was answering; what it had answered cannot be taken back."""

    code = "process-died"

    def __init__(self) -> None:
        super().__init__("the process that worked on it died while its answer was being given")


class WorkerError(RecordError):
    """A model worker could not answer.

    `kind` is one of `timeout`, `unavailable`, `overloaded` (retryable unless told otherwise),
    `refused`, `context_window`, `content_policy`, `protocol` (not retryable unless told otherwise).
    `worker` is its name in the file, which is set where the call was made, and then said in the message.
    `status` is the HTTP status for whoever waits for an answer, where the kind does not tell it: a call may be
    `refused` for what the request says (400) or for what the worker's table says (502).
    """

    worker: str | None = None

    KINDS: ClassVar[dict[str, bool]] = {
        "timeout": True,
        "unavailable": True,
        "overloaded": True,
        "refused": False,
        "context_window": False,
        "content_policy": False,
        "protocol": False,
    }

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        retryable: bool | None = None,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        if kind not in self.KINDS:
            raise ValueError(f"unknown kind of worker error `{kind}`; known are {', '.join(self.KINDS)}")
        self.kind = kind
        self.code = f"worker-{kind.replace('_', '-')}"  # type: ignore[misc]
        self.retryable = self.KINDS[kind] if retryable is None else retryable
        self.retry_after = retry_after
        self.status = status
        super().__init__(message)

    def __str__(self) -> str:
        text = super().__str__()
        return text if self.worker is None or f"`{self.worker}`" in text else f"worker `{self.worker}`: {text}"


class FlowSignal(Exception):
    """Not a fault: tells the caller about the state of a channel."""


class WouldBlock(FlowSignal):
    """A `_nowait` call would have had to wait."""


class EndOfStream(FlowSignal):
    """The channel is closed and empty, or closed for sending."""


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def describe(error: BaseException) -> str:
    """Say an exception in short: a dagflow error in its own words, others with their type."""
    try:
        text = str(error).strip()
    except Exception:  # a class from elsewhere may fail even at that
        text = ""
    if isinstance(error, DagflowError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
