"""Write docs/reference.md: every key, option, code and exit code, from the code that defines them.

    python docs/build_reference.py

A test asserts that the page is what this writes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from dagflow import errors
from dagflow.cli.report import EXIT_MEANINGS
from dagflow.config import tables
from dagflow.config.codes import CODES
from dagflow.config.describe import describe_options
from dagflow.registry import BASES, Registry

PAGE = Path(__file__).with_name("reference.md")

ENGINE_TABLES = {
    "`[pipeline]`": tables.PipelineTable,
    "An edge": tables.EdgeTable,
    "`[defaults.edge]`": tables.EdgeDefaults,
    "Every source": tables.SourceTable,
    "Every stage": tables.StageTable,
    "Every sink": tables.SinkTable,
    "`retry` of a stage or sink": tables.RetryTable,
    "Every worker": tables.WorkerTable,
    "`[dead_letters]`": tables.DeadLettersTable,
    "`[logging]`": tables.LoggingTable,
    "`[admin]`": tables.AdminTable,
}


def render() -> str:
    """Give the text of the page."""
    return re.sub(r"\n{3,}", "\n\n", "\n".join(_lines()) + "\n")


def _lines() -> Iterator[str]:
    yield "# Reference"
    yield ""
    yield "Written by `docs/build_reference.py` from the code; the guides in `docs/guide/` explain."
    yield from _section("## Keys of the engine")
    for title, model in ENGINE_TABLES.items():
        yield from _section(f"### {title}")
        yield from _options(model)
    yield from _section("## Options of the built-in plugins")
    registry = Registry()
    for kind in BASES:
        for offer in registry.offers(kind):
            if offer.package == "dagflow-engine":
                cls = registry.load(kind, f"{offer.package}:{offer.name}")
                yield from _section(f"### {kind} `{offer.name}`")
                yield inspect.getdoc(cls) or ""
                yield from _options(cls.Options)
    yield from _section("## Codes of diagnostics")
    yield from _table(("code", "severity", "meaning"), ((f"`{n}`", c.severity, c.meaning) for n, c in CODES.items()))
    yield from _section("## Codes of failed records")
    yield from _table(("code", "meaning"), _record_codes())
    yield from _section("## Exit codes")
    yield from _table(("code", "meaning"), _exit_codes())


def _section(title: str) -> Iterator[str]:
    yield ""
    yield title
    yield ""


def _options(model: type[BaseModel]) -> Iterator[str]:
    options = describe_options(model)
    if options:
        yield ""
        rows = ((f"`{o.name}`", o.type, o.default, o.description) for o in options)
        yield from _table(("key", "type", "default", "meaning"), rows)


def _table(titles: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    for row in (titles, ("---",) * len(titles), *rows):
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"


def _record_codes() -> Iterator[tuple[str, str]]:
    for cls in vars(errors).values():
        if isinstance(cls, type) and issubclass(cls, errors.RecordError) and cls is not errors.WorkerError:
            yield f"`{cls.code}`", (inspect.getdoc(cls) or "").partition("\n")[0]
    for kind, retryable in errors.WorkerError.KINDS.items():
        code = errors.WorkerError(kind, "").code
        yield f"`{code}`", f"A model worker could not answer: {kind}; {'' if retryable else 'not '}retryable by itself."


def _exit_codes() -> Iterator[tuple[str, str]]:
    yield "0", "all is well; a drained service too"
    meanings = {**EXIT_MEANINGS, 2: "the command line is wrong", 78: "the pipeline file is invalid"}
    for code, meaning in sorted(meanings.items()):
        yield str(code), meaning


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
