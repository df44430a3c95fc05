"""Sample: a plugin, with what it takes to try it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from dagflow.completion import Completion
from dagflow.exchange import Request, Usage
from dagflow.record import Record
from dagflow.testing.local import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from pathlib import Path

    from dagflow.plugin import ModelWorker, Plugin


@dataclass(frozen=True, slots=True)
class Sample:
    """A plugin class, and what it is tried with. Only the class must be given.

    Attributes:
        cls: the class.
        options: its options, as they stand in a file.
        files: texts or bytes by the paths at which they are put, relative as those in `options` are.
        records: what a stage or sink is given, as records or their fields; by default some that have
            what it reads, and `input` and `text`.
        requests: what a worker is asked; by default a prompt and a chat.
        workers: by name, the workers that the options name; by default they answer anything.
        arrived: how many records a sink has delivered, to be seen in the folder; None if that can't be seen there.
        feed: brings something to a source that waits for others, once it is open; runs beside what is tried. It should
            bring at least twenty records.
        build: builds the plugin, where its options alone do not.
        patience_s: the longest wait for anything that should come to an end, in seconds.
    """

    cls: type[Plugin]
    options: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    records: Sequence[Record | Mapping[str, Any]] = ()
    requests: Sequence[Request] = ()
    workers: Mapping[str, ModelWorker] = field(default_factory=dict)
    arrived: Callable[[Path], int] | None = None
    feed: Callable[[Any], Coroutine[Any, Any, object]] | None = None
    build: Callable[[], Plugin] | None = None
    patience_s: float = 5.0

    @property
    def kind(self) -> str:
        """`source`, `stage`, `sink`, `worker` or `transport`."""
        return kind_of(self.cls)

    @classmethod
    def of(cls, plugin: Sample | type[Plugin]) -> Sample:
        """Take a sample as it is, and a class as one that needs nothing else."""
        return plugin if isinstance(plugin, Sample) else cls(plugin)


_TEXT: Final = "What is back-pressure?"
_USUAL: Final[dict[str, Any]] = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": _TEXT}],
    "context": [{"text": "Back-pressure slows a sender down.", "source": "handbook.md#Edges", "score": 1.5}],
    "parameters": {"temperature": 0.5},
    "n": 0,
}


def sample_value(field: str) -> Any:
    """Give a value that a field of this name usually has; a new one each time."""
    if field == "completion":
        return Completion("It slows a sender down.", "stop", "sample", Usage(4, 5))
    value = _USUAL.get(field, _TEXT)
    return [dict(item) for item in value] if isinstance(value, list) else value


def sample_record(fields: set[str], number: int) -> Record:
    """Make a record that has these fields, and beside them those that most records have."""
    values = {name: sample_value(name) for name in sorted(fields | {"input", "text"})}
    return Record(values, f"sample:{number}", session=f"session-{number}", meta={"number": number})


def sample_requests() -> list[Request]:
    """Make a bare prompt and a chat with parameters; both have half a minute."""
    deadline = time.monotonic() + 30.0
    return [
        Request(prompt=f"{_TEXT} Answer in one sentence.", deadline=deadline, metadata={"id": "sample:0"}),
        Request(messages=sample_value("messages"), parameters={"temperature": 0.5, "max_tokens": 64}, session="s"),
    ]
