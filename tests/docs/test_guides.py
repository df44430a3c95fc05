"""The guides: every example in them works, and every question about them is well formed."""

import asyncio
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
import tomli_w

from dagflow.compile import compile_text
from dagflow.config.auth_tables import AuthTable, TokenTable
from dagflow.config.codes import CODES
from dagflow.config.metrics_tables import ExporterTable, MetricsTable
from dagflow.config.shape import fields_of
from dagflow.config.tables import (
    AdminTable,
    DeadLettersTable,
    EdgeTable,
    LoggingTable,
    PipelineTable,
    RetryTable,
    StageTable,
    TracingTable,
)
from dagflow.plugin import Plugin
from dagflow.registry import Registry

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "guide").glob("*.md"))


def blocks(language):
    """Give the fenced blocks of a language in all guides, as (page, text)."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```", re.DOTALL | re.MULTILINE)
    return [(page.stem, text) for page in PAGES for text in pattern.findall(page.read_text(encoding="utf-8"))]


def parameters(language):
    """Give the blocks as parameters, named after their pages."""
    return [pytest.param(text, id=f"{page}-{number}") for number, (page, text) in enumerate(blocks(language))]


def completed(text):
    """Complete an example that shows a part of a file: a source, a sink, a worker, and a chain of edges."""
    file = tomllib.loads(text)
    if "edges" in file.get("pipeline", {}):
        return text
    every = ["input", "context", "messages", "prompt", "completion", "text"]
    sources = file.setdefault("sources", {}) or {"given": {"type": "jsonl", "path": "in.jsonl", "fields": every}}
    sinks = file.setdefault("sinks", {}) or {"taken": {"type": "null"}}
    file["sources"], file["sinks"] = sources, sinks
    chain = [next(iter(sources)), *file.get("stages", {})]
    edges = [*pairwise(chain), *((chain[-1], sink) for sink in sinks)]
    edges += [(source, chain[1] if len(chain) > 1 else next(iter(sinks))) for source in list(sources)[1:]]
    file.setdefault("pipeline", {})["edges"] = [{"from": start, "to": end} for start, end in edges]
    return tomli_w.dumps(file)


@pytest.mark.parametrize("text", parameters("toml"))
def test_toml_examples_are_valid(text):
    """An example compiles without an error; one that is a whole file also without a warning."""
    file = completed(text)
    plan = compile_text(file, environ={})
    assert not plan.warnings or file != text


def test_examples_are_found():
    """The pattern that finds examples finds as many as there are fences."""
    fences = sum(page.read_text(encoding="utf-8").count("```toml") for page in PAGES)
    assert len(blocks("toml")) == fences > 30


@pytest.mark.parametrize("text", [text for page, text in blocks("python") if page.endswith("plugin")])
def test_plugin_examples_are_plugins(text):
    """Each example of a plugin defines a class that can be built from its default options."""
    names: dict = {}
    exec(compile(text, "<guide>", "exec"), names)
    classes = [value for value in names.values() if isinstance(value, type) and issubclass(value, Plugin)]
    own = [cls for cls in classes if not cls.__module__.startswith("dagflow")]
    assert len(own) == 1
    assert own[0]().options is not None


def test_embedding_examples_run(tmp_path, monkeypatch, capsys):
    """The programs of the page on embedding work with the file that stands there."""
    monkeypatch.chdir(tmp_path)
    (file,) = [text for page, text in blocks("toml") if page.endswith("embedding")]
    Path("pipeline.toml").write_text(file, encoding="utf-8")
    submit, stream, nightly = [text for page, text in blocks("python") if page.endswith("embedding")]
    names: dict = {"__name__": "guide"}
    for text in (submit, stream, nightly):
        exec(compile(text, "<guide>", "exec"), names)
    asyncio.run(names["main"]())
    asyncio.run(names["tell"]("Who goes there?"))
    assert capsys.readouterr().out == "delivered What is back-pressure?\nWho goes there?"
    assert names["nightly"]() == 0


def reference(*starts):
    """Give the text of the pages whose names begin so."""
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.stem.startswith(starts))


BUILT_IN = Registry()
BUILT_IN_PACKAGE = "dagflow-engine"
REFERENCES = {
    "source": ("12", "39", "43", "44"),
    "stage": ("13", "14", "15", "35"),
    "sink": ("16", "43", "44"),
    "worker": ("17", "34", "36", "37"),
    "exporter": ("40",),
}


@pytest.mark.parametrize(
    ("kind", "type_name"),
    [(k, offer.name) for k in REFERENCES for offer in BUILT_IN.offers(k) if offer.package == BUILT_IN_PACKAGE],
)
def test_every_option_is_documented(kind, type_name):
    """The page on a kind names each built-in type and each of its options."""
    text = reference(*REFERENCES[kind])
    options = BUILT_IN.load(kind, f"{BUILT_IN_PACKAGE}:{type_name}").Options
    missing = [name for name in (type_name, *fields_of(options)) if f"`{name}" not in text]
    assert not missing


@pytest.mark.parametrize(
    ("model", "start"),
    [
        (PipelineTable, "02"),
        (StageTable, "02"),
        (RetryTable, "08"),
        (EdgeTable, "04"),
        (LoggingTable, "02"),
        (DeadLettersTable, "31"),
        (AuthTable, "39"),
        (TokenTable, "39"),
        (MetricsTable, "40"),
        (ExporterTable, "40"),
        (TracingTable, "40"),
        (AdminTable, "41"),
    ],
)
def test_every_engine_key_is_documented(model, start):
    """The page on a table of the engine names each of its keys."""
    text = reference(start)
    assert [name for name in fields_of(model) if f"`{name}`" not in text] == []


def test_codes_are_real():
    """Every diagnostic code that a guide explains exists."""
    text = reference("22")
    told = re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE) + re.findall(r"warning `([a-z-]+)` means", text)
    assert len(told) > 15
    assert set(told) <= set(CODES)


def test_handbook_is_a_handbook():
    """There are enough pages and words for retrieval to have something to find."""
    assert len(PAGES) >= 22
    assert sum(len(page.read_text(encoding="utf-8").split()) for page in PAGES) >= 11_000


def test_questions():
    """Each question has an id of its own and ends with a question mark."""
    lines = (ROOT / "pipelines" / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [msgspec.json.decode(line) for line in lines]
    assert len(questions) >= 60
    assert len({question["id"] for question in questions}) == len(questions)
    assert all(question["input"].endswith("?") and question.keys() == {"id", "input"} for question in questions)
