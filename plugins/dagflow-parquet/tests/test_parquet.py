"""Source and sink `parquet`: what goes through them, what they refuse, and the rules that all keep."""

import asyncio
import datetime
import decimal
import runpy
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from dagflow import Completion, PluginError, Record, Usage
from dagflow.testing import Sample, SinkConformance, SourceConformance, build_plugin, opened, run_text

from dagflow_parquet import sink, source

FOLDER = Path(__file__).parents[1]
PIPELINE = (FOLDER / "pipeline.toml").read_text()
READ = """
[pipeline]
edges = [{ from = "rows", to = "out" }]
[sources.rows]
type = "parquet"
path = "in.parquet"
[sinks.out]
type = "null"
"""


def table_bytes(**columns):
    """Give the bytes of a Parquet file."""
    buffer = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue().to_pybytes()


def count_rows(folder):
    """Count the rows of all files that have arrived."""
    return sum(pq.read_metadata(path).num_rows for path in (folder / "out").glob("*.parquet"))


class TestSource(SourceConformance):
    """The source keeps every rule."""

    @pytest.fixture
    def plugin(self):
        content = table_bytes(name=["a", "b", None], input=["one", "two", "three"], tags=[["x"], [], None])
        options = {"path": "*.parquet", "id": "name", "meta": ["tags"], "batch_rows": 2}
        return Sample(source.Parquet, options=options, files={"in.parquet": content, "more.parquet": content})


class TestSink(SinkConformance):
    """The sink keeps every rule, though it collects what it writes."""

    @pytest.fixture
    def plugin(self):
        columns = {"id": "text", "input": "text", "completion": "json"}
        options = {"path": "out", "linger": "2ms", "columns": columns}
        return Sample(sink.Parquet, options=options, arrived=count_rows)


def read(folder, content, **options):
    """Run the source over a file, with further options."""
    (folder / "in.parquet").write_bytes(content)
    overrides = [f"sources.rows.{name}={value}" for name, value in options.items()]
    return run_text(READ, plugins={"parquet": source.Parquet}, overrides=overrides, folder=folder)


def test_the_pipeline_answers_every_question(tmp_path, monkeypatch):
    """2,500 rows make three files or more, which read as one table with all questions."""
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(FOLDER / "make_questions.py"))
    run = run_text(PIPELINE, plugins={"parquet": [source.Parquet, sink.Parquet]}, folder=tmp_path)
    table = pq.read_table(tmp_path / "answers").sort_by("id")
    assert len(run.outcomes) == table.num_rows == 2500
    assert len(list((tmp_path / "answers").iterdir())) >= 3
    assert table.schema.names == ["id", "input", "completion"]
    first = table.slice(0, 1).to_pylist()[0]
    assert first == {
        "id": "q0",
        "input": "What is 0 times 0?",
        "completion": "Answer in one sentence: What is 0 times 0?",
    }


def test_rows_become_records(tmp_path):
    """Ids, sessions and meta come from their columns; without an id, a row has its number."""
    content = table_bytes(
        name=["a", None], user=[7, 8], input=["one", "two"], when=[datetime.date(2024, 5, 1)] * 2, unused=[1, 2]
    )
    run = read(tmp_path, content, id="name", session="user", meta='["when"]')
    first, second = run.outputs["out"]
    assert (first.id, first.session, dict(first), first.meta) == ("a", "7", {"input": "one"}, {"when": "2024-05-01"})
    assert (second.id, second.session) == ("rows:1", "8")


def test_cells_become_json(tmp_path):
    """What JSON does not know becomes text, a number or null; bytes that are no text fail their row alone."""
    kinds = [
        decimal.Decimal("1.50"),
        datetime.datetime(2024, 5, 1, 12, 30),
        datetime.timedelta(seconds=90),
        float("nan"),
        b"text",
        {"a": [1, None]},
    ]
    content = table_bytes(**{f"c{n}": [kind] for n, kind in enumerate(kinds)})
    run = read(tmp_path, content, fields=str([f"c{n}" for n in range(len(kinds))]))
    (record,) = run.outputs["out"]
    assert list(record.values()) == ["1.50", "2024-05-01T12:30:00", 90.0, None, "text", {"a": [1, None]}]
    run = read(tmp_path, table_bytes(input=[b"fine", b"\xff"]))
    assert run.outcomes == {"rows:0": "delivered", "rows:1": "failed"}
    assert str(run.errors["rows:1"]) == "a cell holds bytes that are no UTF-8"


def test_several_files_are_read_in_order(tmp_path):
    """Their names stand in the ids, the folder too where names are not enough."""
    (tmp_path / "b").mkdir()
    (tmp_path / "z.parquet").write_bytes(table_bytes(input=["z"]))
    run = read(tmp_path, table_bytes(input=["a"]), path='"*.parquet"')
    assert [record.id for record in run.outputs["out"]] == ["rows:in.parquet:0", "rows:z.parquet:0"]
    (tmp_path / "b" / "in.parquet").write_bytes(table_bytes(input=["b"]))
    run = read(tmp_path, table_bytes(input=["a"]), path='"**/in.parquet"')
    assert len(run.outcomes) == 1
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "in.parquet").write_bytes(table_bytes(input=["c"]))
    run = read(tmp_path, table_bytes(input=["a"]), path='"*/in.parquet"')
    assert len(run.outcomes) == 2


@pytest.mark.parametrize(
    ("content", "options", "told"),
    [
        (table_bytes(text=["a"]), {}, "has no column `input`; it has text"),
        (b"no parquet", {}, "can't be read"),
        (table_bytes(input=["a"]), {"path": "no/*.parquet"}, "no file is named like"),
        (table_bytes(input=["a"]), {"path": "gone.parquet"}, "can't be read"),
    ],
)
def test_what_cannot_be_read_stops_the_start(tmp_path, content, options, told):
    """The message names the file and what is wrong with it."""
    with pytest.raises(PluginError, match=told):
        read(tmp_path, content, **options)


def write(folder, *records, **options):
    """Write records with the sink, all at the same time; give what each `write` raised."""

    async def main():
        options.setdefault("path", "out")
        options.setdefault("linger", "5ms")
        async with opened(build_plugin(sink.Parquet, folder, **options)) as plugin:
            done = await asyncio.gather(*(plugin.write(record) for record in records), return_exceptions=True)
            await plugin.flush()
            return done

    return asyncio.run(main())


def test_records_become_rows(tmp_path):
    """Each type of column takes its values; what is missing is null."""
    columns = {"id": "text", "session": "text", "n": "integer", "x": "number", "ok": "boolean", "all": "json"}
    completion = Completion("yes", "stop", "m", Usage(1, 2))
    write(
        tmp_path,
        Record({"n": 1, "x": 2, "ok": True, "all": {"a": [completion]}}, "first", session="s"),
        Record({"all": completion}, "second"),
        columns=columns,
    )
    first, second = pq.read_table(tmp_path / "out").to_pylist()
    assert {name: first[name] for name in ("id", "session", "n", "x", "ok")} == {
        "id": "first",
        "session": "s",
        "n": 1,
        "x": 2.0,
        "ok": True,
    }
    assert '"text": "yes"' in first["all"]
    assert second["n"] is None
    assert second["all"].startswith('{"text": "yes", "finish_reason": "stop"')


@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        ("text", 7),
        ("text", "\ud800"),
        ("integer", 1.5),
        ("integer", True),
        ("integer", 2**63),
        ("number", "1"),
        ("boolean", 1),
        ("json", {1, 2}),
        ("json", float("nan")),
    ],
)
def test_a_wrong_value_fails_its_record_alone(tmp_path, type_name, value):
    """The others of its file are written."""
    good = Record({"text": None}, "good")
    failed, fine = write(tmp_path, Record({"text": value}), good, columns={"id": "text", "text": type_name})
    assert (failed.code, fine) == ("wrong-value", None)
    assert str(failed).startswith("column `text` takes ")
    assert pq.read_table(tmp_path / "out")["id"].to_pylist() == ["good"]


def test_files_are_cut_at_their_rows(tmp_path):
    """Full files do not wait for `linger`; the last one is written by `flush`."""
    records = [Record({}, str(n)) for n in range(5)]
    write(tmp_path, *records, rows=2, columns={"id": "text"}, linger="5ms")
    assert [pq.read_metadata(path).num_rows for path in sorted((tmp_path / "out").iterdir())] == [2, 2, 1]


def test_a_folder_with_files_is_kept(tmp_path):
    """It is an error, or they get company."""
    write(tmp_path, Record({}, "a"))
    with pytest.raises(PluginError, match='holds Parquet files; choose another folder, or `mode = "append"`'):
        write(tmp_path, Record({}, "b"))
    write(tmp_path, Record({}, "b"), mode="append")
    assert [path.name for path in sorted((tmp_path / "out").iterdir())] == [
        "part-000000.parquet",
        "part-000001.parquet",
    ]
    assert pq.read_table(tmp_path / "out")["id"].to_pylist() == ["a", "b"]


def test_a_folder_that_cannot_be_made_stops_the_start(tmp_path):
    """Only one level is made."""
    with pytest.raises(PluginError, match="can't be written: No such file or directory"):
        write(tmp_path, path="no/such/folder")


def test_a_file_that_cannot_be_written_fails_all_its_records(tmp_path):
    """They may be tried again."""

    async def main():
        async with opened(build_plugin(sink.Parquet, tmp_path, path="out", linger="5ms")) as plugin:
            (tmp_path / "out").rmdir()
            return await asyncio.gather(*(plugin.write(Record({}, i)) for i in "ab"), return_exceptions=True)

    assert [(error.code, error.retryable) for error in asyncio.run(main())] == [("not-written", True)] * 2
