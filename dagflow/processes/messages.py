"""Messages: what parent and children tell each other. Places in the arrays on the wire are those of the fields.

A record is known to both by its origin: the name of its source, and a key that is unique there.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from dagflow.engine.standing import Standing
from dagflow.exchange import Chunk


class _Message(Struct, array_like=True, tag_field="type"):
    pass


class Packed(Struct, array_like=True):
    """A record on its way."""

    id: str
    session: str | None
    priority: int
    deadline: float | None
    meta: dict[str, Any]
    fields: dict[str, Any]


class Fault(Struct, array_like=True):
    """An error on its way; `kind` and `status` are those of a worker's error."""

    code: str
    message: str
    retryable: bool = False
    retry_after: float | None = None
    ends_run: bool = False
    node: str | None = None
    kind: str | None = None
    status: int | None = None
    worker: str | None = None


class Again(Struct, array_like=True):
    """What a successor has to know of a record that its predecessor left, or that an earlier run had begun.

    Attributes:
        deaths: how many processes died while they had it.
        written: the edges by which sinks have it, and under which ids.
    """

    source: str
    key: bytes
    deaths: int = 0
    written: list[tuple[str, str]] = []


class Begin(_Message, tag=1):
    """To a child, first of all: what to run.

    Attributes:
        ledger: the database of the checkpoint.
        folder: where children meet.
        endings: for a successor: the folder with what has ended in this run.
    """

    text: str
    path: str | None
    overrides: list[str]
    index: int
    count: int
    core: int | None
    resumes: bool
    ledger: str | None
    endings: str | None
    again: list[Again]
    ports: dict[str, int]
    folder: str


class Go(_Message, tag=9):
    """To a child: let records flow, as everything is open everywhere."""


class Stop(_Message, tag=2):
    """To a child: drain."""

    reason: str


class Force(_Message, tag=3):
    """To a child: end now."""

    reason: str


class Written(_Message, tag=4):
    """To a child: what became of a `Write`."""

    number: int
    fault: Fault | None = None


class Bring(_Message, tag=5):
    """To a child: a record of a source that the parent reads.

    Attributes:
        port: the one it leaves by.
        fault: what it fails with, if it is none.
    """

    source: str
    key: bytes
    record: Packed
    port: str | None = None
    fault: Fault | None = None


class Exhausted(_Message, tag=6):
    """To a child: a source brings no more."""

    source: str


class Cancel(_Message, tag=7):
    """To a child: a record is not wanted any more."""

    source: str
    key: bytes


class Ask(_Message, tag=8):
    """To a child: tell how you are."""


class Ready(_Message, tag=20):
    """From a child: everything is open."""


class Taken(_Message, tag=21):
    """From a child: it has a record now."""

    source: str
    key: bytes
    id: str


class Settled(_Message, tag=22):
    """From a child: a record has ended; `is_done` is whether nothing of it is left to do."""

    source: str
    key: bytes
    outcome: str
    is_done: bool
    fault: Fault | None = None


class Write(_Message, tag=23):
    """From a child: a sink in the parent is to take a record, or the line that was made of it.

    Attributes:
        origin: source and key of the record; None where nobody will ask for them.
        edge: by which edge it came.
        rest: what its id has behind that of the record it came from.
    """

    number: int
    sink: str
    origin: tuple[str, bytes] | None
    edge: str
    rest: str
    record: Packed | bytes


class Withdraw(_Message, tag=24):
    """From a child: a `Write` is not wanted any more, if it has not begun."""

    number: int


class Answer(_Message, tag=25):
    """From a child: what a `reply` sink gave; the completion in `field` is live, and its chunks follow.

    Attributes:
        accepted_ns, stays, calls: the trail of the record; of each call the worker, when it arrived, began and ended.
    """

    source: str
    key: bytes
    record: Packed
    field: str | None = None
    accepted_ns: int = 0
    stays: list[tuple[str, int, int, str | None]] = []
    calls: list[tuple[str, float, float | None, float]] = []


class Piece(_Message, tag=26):
    """From a child: a chunk of an answer's live completion; None at its end, with a fault if it broke."""

    source: str
    key: bytes
    chunk: Chunk | None = None
    fault: Fault | None = None


PLENTY: Final = 64
"""So much room, or more, is told as this: no more comes before the child can tell again."""


class Room(_Message, tag=29):
    """From a child: how many records of a source it would take by each port, after `seen` had come."""

    source: str
    seen: int
    free: list[tuple[str | None, int]]


class State(_Message, tag=27):
    """From a child: how it is.

    Attributes:
        cpu_s: the CPU time that it has taken.
        reasons: what is not ready there, and why.
        is_last: whether no other one comes.
    """

    standing: Standing
    cpu_s: float
    reasons: list[tuple[str, str]] = []
    is_last: bool = False


class Failed(_Message, tag=28):
    """From a child: it could not start."""

    code: str
    message: str


class Next(_Message, tag=11):
    """To a child: another plan, which is to be opened, and to take over at the next `Go`."""

    text: str
    path: str | None
    overrides: list[str]
    ports: dict[str, int]


class Drop(_Message, tag=12):
    """To a child: another plan is not to take over."""


class Opened(_Message, tag=30):
    """From a child: another plan can take over."""


class NotOpened(_Message, tag=31):
    """From a child: another plan cannot take over, or will not any more."""

    code: str
    message: str


ToChild = Next | Drop | Begin | Go | Stop | Force | Written | Bring | Exhausted | Cancel | Ask
ToParent = Opened | NotOpened | Ready | Taken | Settled | Write | Withdraw | Answer | Piece | Room | State | Failed
