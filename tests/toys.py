"""Small plugins for tests that compile files, and a registry that offers only them."""

from __future__ import annotations

import itertools
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from dagflow.compile import compile_text
from dagflow.errors import ConfigError, WorkerError
from dagflow.expressions import Expression, Template
from dagflow.options import Duration, FilePath, Options, Rate, Secret, Size, WorkerName
from dagflow.plugin import ModelWorker, Sink, Source, Stage
from dagflow.record import Record
from dagflow.registry import Registry
from dagflow.transport import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from dagflow.config.diagnostics import Diagnostic
    from dagflow.graph.plan import EdgePlan, Plan


class Lines(Source):
    """Reads lines of a file."""

    class Options(Options):
        path: FilePath = Field(description="the file to read")
        fields: list[str] = Field(["input"], min_length=1, description="what it writes")
        rate: Rate | None = Field(None, description="lines a second")

    async def records(self) -> AsyncIterator[Record]:
        yield Record()

    def writes(self) -> set[str]:
        return set(self.options.fields)


class Ticks(Source):
    """Writes numbers, for ever."""

    def __init__(self, options: BaseModel | None = None) -> None:
        super().__init__(options)
        self.finite = False

    async def records(self) -> AsyncIterator[Record]:
        yield Record()

    def writes(self) -> set[str]:
        return {"n"}

    def ports(self) -> set[str]:
        return {"odd", "even"}


class Log(Ticks):
    """Reads a log, of which it can't leave a record open."""

    in_order = True

    def ports(self) -> set[str]:
        return set()


class Serve(Source):
    """Serves callers."""

    finite = False
    serves = True

    class Options(Options):
        listen: str = Field("127.0.0.1:80", description="where")

    async def records(self) -> AsyncIterator[Record]:
        yield Record()

    def writes(self) -> set[str]:
        return {"input"}

    def exposed_at(self) -> str | None:
        return None if self.options.listen.startswith("127.") else self.options.listen


class Answers(Sink):
    """Answers callers."""

    answers = True
    resumable = True

    async def write(self, record: Record) -> None:
        """Nothing to do."""


class Fill(Stage):
    """Fills in a template."""

    class Options(Options):
        template: Template = Field(description="the text")
        output: str = Field("prompt", description="the field to write")

    def reads(self) -> set[str]:
        return set(self.options.template.required)

    def writes(self) -> set[str]:
        return {self.options.output}

    async def process(self, record: Record) -> Record:
        return record


class Ask(Stage):
    """Asks a worker."""

    default_concurrency = 8

    class Options(Options):
        worker: WorkerName = Field(description="who answers")
        others: list[WorkerName] = Field([], description="who answers else")
        top_k: int = Field(3, ge=1, le=100, description="how many")
        temperature: float = 1.0
        stream: bool = False
        mode: Literal["text", "vector"] = "text"

    def reads_any(self) -> list[set[str]]:
        return [{"prompt", "messages"}]

    def writes(self) -> set[str]:
        return {"completion"}

    async def process(self, record: Record) -> Record:
        return record


class Route(Stage):
    """Chooses a port; lets live completions pass."""

    passes_live = True

    class Options(BaseModel):
        """Does not forbid what it does not know."""

        large: Expression | None = None

    def ports(self) -> set[str]:
        return {"large", "small"} if self.options.large else set()

    async def process(self, record: Record) -> Record:
        return record

    def writes(self) -> set[str]:
        return set()


class Split(Stage):
    """Makes several records of one, and declares nothing."""

    async def process(self, record: Record) -> Any:
        return [record]


class Sift(Stage):
    """Lets some records pass."""

    async def process(self, record: Record) -> Record | None:
        return record

    def writes(self) -> set[str]:
        return {"prompt"}


class Picky(Stage):
    """Refuses two options at once, but has defaults for both."""

    class Options(Options):
        x: int = 0
        y: int = 0

        @model_validator(mode="after")
        def _one(self) -> Picky.Options:
            if self.model_fields_set >= {"x", "y"}:
                raise ValueError("x and y exclude each other")
            return self

    async def process(self, record: Record) -> Record:
        return record


class Step(Options):
    """One step of `polish`."""

    kind: Literal["trim"]
    field: str = "text"


class Redact(Options):
    """Another step of `polish`."""

    kind: Literal["redact"]
    pattern: str


class Polish(Stage):
    """Has options of every shape."""

    class Options(Options):
        steps: list[Step | Redact] = Field(default=[])
        limit: int | Literal["none"] = "none"
        size: Size | None = None
        pause: Duration = 0.0
        tags: dict[str, str] = Field(default={})

        @field_validator("tags")
        @classmethod
        def _few(cls, tags: dict[str, str]) -> dict[str, str]:
            if len(tags) > 2:
                raise ValueError("more than two tags")
            return tags

    def writes(self) -> set[str]:
        return {"text"}

    async def process(self, record: Record) -> Record:
        return record


class Show(Sink):
    """Shows fields; forwards live completions."""

    forwards_live = True

    class Options(Options):
        fields: list[str] | None = Field(None, description="what to show")

    def reads(self) -> set[str]:
        return set(self.options.fields or ())

    async def write(self, record: Record) -> None:
        return None


class Remote(ModelWorker):
    """Answers over a network that is not there."""

    class Options(Options):
        api_key: Secret | None = Field(None, description="the key to the other side")
        url: str = "http://127.0.0.1"
        fallback: WorkerName | None = Field(None, description="who answers when it cannot")

        @field_validator("url")
        @classmethod
        def _http(cls, url: str, info: Any) -> str:
            if not url.startswith("http"):
                key = info.data.get("api_key")
                raise ValueError(f"`{url}` is no URL (key {key.get_secret_value() if key else 'none'})")
            return url

    async def infer(self, request: Any) -> Any:
        raise WorkerError("unavailable", f"nobody listens at {self.options.url}")


class Timed(Remote):
    """Has an option that is a key of the engine in tables of stages, but not of workers."""

    class Options(Options):
        timeout: Duration = 1.0


class Memory(Transport):
    """Carries edges."""

    def build_channel(self, edge: Any, links: Any) -> Any:
        raise NotImplementedError


class Wire(Memory):
    """Carries edges elsewhere, and keeps what programs share."""

    shares = True


class Given(Sink):
    """Hands records over."""

    hands_off = True

    async def write(self, record: Record) -> None:
        """Nothing to do."""


class Taken(Source):
    """Takes records over."""

    finite = False
    takes_over = True

    async def records(self) -> AsyncIterator[Record]:
        yield Record()


class Carry(Transport):
    """Carries edges from program to program."""

    durable = True

    def build_outlet(self, edge: EdgePlan) -> Sink:
        return Given()

    def build_inlet(self, edge: EdgePlan) -> Source:
        return Taken()


class Greedy(Stage):
    """Breaks the contract: redefines a key of the engine."""

    class Options(BaseModel):
        timeout: int = 3

    async def process(self, record: Record) -> Record:
        return record


class Hasty(Stage):
    """Breaks the contract: its constructor raises."""

    def __init__(self, options: BaseModel | None = None) -> None:
        raise OSError("no network")

    async def process(self, record: Record) -> Record:
        return record


class Lost(Stage):
    """Breaks the contract: gives its fields as text."""

    def reads(self) -> Any:
        return "input"

    async def process(self, record: Record) -> Record:
        return record


class Crash(Stage):
    """Breaks the contract: its options cannot be validated."""

    class Options(BaseModel):
        x: int = 0

        @field_validator("x")
        @classmethod
        def _look(cls, x: int) -> int:
            return {}["gone"]

    async def process(self, record: Record) -> Record:
        return record


class Ahead(Route):
    """Is written for a contract that is still to come."""

    contract = 2


class Behind(Route):
    """Is written for a contract that is kept no more."""

    contract = 0


class Vague(Route):
    """States its contract as something else than a number."""

    contract = "1"  # type: ignore[assignment]


class Idle(Stage):
    """Breaks the contract: has no `process`."""


class _Package:
    def __init__(self, name: str, version: str = "1.0") -> None:
        self.name = name
        self.version = version


def offer(group: str, name: str, value: str, package: str = "toys") -> EntryPoint:
    """Make an entry point as an installed package would have it."""
    point = EntryPoint(name, value, f"dagflow.{group}")
    vars(point)["dist"] = _Package(package)
    return point


OFFERS = (
    offer("sources", "lines", "toys:Lines"),
    offer("sources", "ticks", "toys:Ticks"),
    offer("sources", "log", "toys:Log"),
    offer("sources", "serve", "toys:Serve"),
    offer("stages", "fill", "toys:Fill"),
    offer("stages", "ask", "toys:Ask"),
    offer("stages", "route", "toys:Route"),
    offer("stages", "split", "toys:Split"),
    offer("stages", "sift", "toys:Sift"),
    offer("stages", "polish", "toys:Polish"),
    offer("stages", "picky", "toys:Picky"),
    offer("sinks", "show", "toys:Show"),
    offer("sinks", "lines", "toys:Show"),
    offer("sinks", "answer", "toys:Answers"),
    offer("workers", "remote", "toys:Remote"),
    offer("transports", "memory", "toys:Memory"),
    offer("transports", "wire", "toys:Wire"),
    offer("transports", "carry", "toys:Carry"),
)

BROKEN = (
    offer("stages", "greedy", "toys:Greedy"),
    offer("stages", "hasty", "toys:Hasty"),
    offer("stages", "lost", "toys:Lost"),
    offer("stages", "idle", "toys:Idle"),
    offer("stages", "crash", "toys:Crash"),
    offer("stages", "gone", "no_such_module:Stage"),
    offer("stages", "missing", "toys:Missing"),
    offer("stages", "sinkish", "toys:Show"),
    offer("stages", "twice", "toys:Route", "one-package"),
    offer("stages", "twice", "toys:Split", "other-package"),
)


def toys() -> Registry:
    """Make a registry of all toys, the broken ones included."""
    return Registry((*OFFERS, *BROKEN))


def findings(text: str, *overrides: str, path: Path | None = None, **environ: str) -> list[Diagnostic]:
    """Compile text with the toys and give all diagnostics, whether it is valid or not."""
    try:
        return list(compile_text(text, path, overrides, toys(), environ).warnings)
    except ConfigError as error:
        return list(error.diagnostics)


def codes(text: str, *overrides: str, **environ: str) -> list[str]:
    """Compile text with the toys and give the codes of all diagnostics."""
    return [diagnostic.code for diagnostic in findings(text, *overrides, **environ)]


def plan_of(text: str, *overrides: str, path: Path | None = None, **environ: str) -> Plan:
    """Compile valid text with the toys."""
    return compile_text(text, path, overrides, toys(), environ)


def chain(*stages: str, source: str = 'type = "lines"\npath = "in"', edges: str = "", more: str = "") -> str:
    """Give a file with a source `a`, stages `b`, `c`, ... with these tables, and a sink `z`, in a row."""
    names = ["a", *"bcdefgh"[: len(stages)], "z"]
    rows = [f'  {{ from = "{start}", to = "{end}" }},\n' for start, end in itertools.pairwise(names)]
    tables = "".join(f"[stages.{name}]\n{table}\n" for name, table in zip(names[1:], stages, strict=False))
    listed = edges or "".join(rows)
    return f'[pipeline]\nedges = [\n{listed}]\n[sources.a]\n{source}\n{tables}[sinks.z]\ntype = "show"\n{more}'
