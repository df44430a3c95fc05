"""Stage `retrieve` and its index: what is found, and when the index is built."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from alone import build, complaints, opened

from dagflow.errors import ExpressionError, InvalidField, PluginError
from dagflow.record import Record
from dagflow.stages.passage_index import PassageIndex, build_query
from dagflow.stages.retrieve import Retrieve

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep indexes of tests out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dagflow"


@pytest.fixture
def handbook(tmp_path: Path) -> Path:
    """A small handbook."""
    folder = tmp_path / "handbook"
    (folder / "more").mkdir(parents=True)
    (folder / "guide.md").write_text(
        "# Channels\n\nA channel has a capacity. It never grows.\n\n# Tickets\n\nA ticket is settled once.\n"
    )
    (folder / "more" / "notes.txt").write_text("Retries use full jitter.\n")
    (folder / "old.rst").write_text("Shedding\n========\n\nWhat is shed is counted.\n")
    (folder / "image.png").write_bytes(b"capacity capacity")
    (folder / ".hidden.md").write_text("capacity capacity")
    return folder


async def retrieve(fields: dict[str, Any], documents: Path, **options: Any) -> list[dict[str, Any]]:
    """Give the context of one record."""
    async with opened(build(Retrieve, documents=str(documents), **options)) as stage:
        record = Record(fields)
        assert stage.process(record) is record
    return record["context"]


async def sources(question: str, documents: Path, **options: Any) -> list[str]:
    """Give the sources found for a question."""
    return [passage["source"] for passage in await retrieve({"input": question}, documents, **options)]


def only_file(folder: Path) -> Path:
    """Give the one file of a folder."""
    (file,) = folder.iterdir()
    return file


def inode(file: Path) -> int:
    """Tell a file from another one in its place."""
    return file.stat().st_ino


async def test_passages_have_text_source_and_score(handbook: Path) -> None:
    """The best one comes first."""
    found = await retrieve({"input": "How is the capacity of a channel counted?"}, handbook)
    assert found[0]["text"] == "# Channels\n\nA channel has a capacity. It never grows."
    assert [passage["source"] for passage in found] == ["guide.md#Channels", "old.rst#Shedding"]
    assert found[0]["score"] > found[1]["score"] > 0
    assert set(found[0]) == {"text", "source", "score"}


async def test_output_names_the_field(handbook: Path) -> None:
    """So that two finds can stand side by side."""
    stage = build(Retrieve, documents=str(handbook), output="found")
    assert stage.writes() == {"found"}
    async with opened(stage):
        record = stage.process(Record({"input": "What is the capacity of a channel?"}))
    assert "context" not in record
    assert [passage["source"] for passage in record["found"]]


async def test_forms_of_words_meet(handbook: Path) -> None:
    """And folders are searched, without hidden files and other types."""
    assert await sources("settling tickets", handbook) == ["guide.md#Tickets"]
    assert await sources("retry", handbook) == ["more/notes.txt:1"]
    assert await sources("CAPACITY", handbook) == ["guide.md#Channels"]


async def test_top_k_bounds_the_context(handbook: Path) -> None:
    """The best ones stay."""
    question = "channel capacity, ticket, jitter, shed"
    assert len(await sources(question, handbook)) == 3
    assert len(await sources(question, handbook, top_k=9)) == 4
    assert len(await sources(question, handbook, top_k=1)) == 1


async def test_no_match_gives_an_empty_context(handbook: Path) -> None:
    """It is no error."""
    for question in ("Zanzibar?", "what is it?", "", "?!", "_", "___ \0"):
        assert await sources(question, handbook) == []


@pytest.mark.parametrize(
    "question",
    [
        '"capacity',
        "capacity AND",
        "NEAR(capacity",
        "capacity*",
        "text:capacity",
        "-capacity ^",
        "capacity'); DROP",
        "((",
    ],
)
async def test_questions_are_never_queries(handbook: Path, question: str) -> None:
    """Operators in them mean nothing."""
    expected = ["guide.md#Channels"] if "capacity" in question else []
    assert await sources(question, handbook) == expected


async def test_long_questions_are_bounded(handbook: Path) -> None:
    """Only the first words count."""
    assert build_query(" ".join(f"w{number}" for number in range(1000))).count(" OR ") == 63
    assert build_query("edge edge EDGE") == '"edge"'
    assert await sources("capacity " + "x y z " * 10_000, handbook) == ["guide.md#Channels"]


async def test_query_is_a_template(handbook: Path) -> None:
    """It replaces the field `input`."""
    found = await retrieve({"topic": "ticket", "input": "channel"}, handbook, query="{{ topic }}")
    assert [passage["source"] for passage in found] == ["guide.md#Tickets"]
    with pytest.raises(ExpressionError, match="'topic' is undefined"):
        await retrieve({"input": "channel"}, handbook, query="{{ topic }}")


async def test_input_must_be_text(handbook: Path) -> None:
    """A record without it fails."""
    with pytest.raises(InvalidField, match="field `input` should be a text, but it is missing"):
        await retrieve({}, handbook)
    with pytest.raises(InvalidField, match="of type `int`"):
        await retrieve({"input": 5}, handbook)


async def test_a_single_file_will_do(handbook: Path) -> None:
    """Its source is its name."""
    assert await sources("ticket", handbook / "guide.md") == ["guide.md#Tickets"]


async def test_passage_chars_bounds_passages(handbook: Path) -> None:
    """Smaller ones make more."""
    (handbook / "long.md").write_text("Capacity is bounded here, too. " * 50)
    assert len(await sources("bounded", handbook, top_k=99, passage_chars=100)) > 10
    assert len(await sources("bounded", handbook, top_k=99, passage_chars=5000)) == 1


async def test_the_index_is_built_once(handbook: Path, cache: Path) -> None:
    """It is kept for its owner only, and reused while the documents are the same."""
    await sources("ticket", handbook)
    built = only_file(cache)
    assert stat.S_IMODE(built.stat().st_mode) == 0o600
    before = inode(built)
    assert await sources("ticket", handbook) == ["guide.md#Tickets"]
    assert inode(only_file(cache)) == before


@pytest.mark.parametrize("change", ["edit", "touch", "add", "remove"])
async def test_the_index_follows_the_documents(handbook: Path, cache: Path, change: str) -> None:
    """Each change builds it anew, in the place of the old one."""
    await sources("ticket", handbook)
    before = inode(only_file(cache))
    if change == "edit":
        (handbook / "guide.md").write_text("# Changed\n\nNo more tickets.\n")
    elif change == "touch":
        os.utime(handbook / "guide.md", ns=(1, 1))
    elif change == "add":
        (handbook / "new.md").write_text("Another ticket.")
    else:
        (handbook / "guide.md").unlink()
    expected = {"edit": ["guide.md#Changed"], "add": ["guide.md#Tickets", "new.md:1"], "remove": []}
    assert await sources("ticket", handbook) == expected.get(change, ["guide.md#Tickets"])
    assert inode(only_file(cache)) != before


async def test_other_passage_sizes_have_another_index(handbook: Path, cache: Path) -> None:
    """Two pipelines over one folder don't rebuild in turn."""
    await sources("ticket", handbook, passage_chars=100)
    await sources("ticket", handbook, passage_chars=200)
    assert len(os.listdir(cache)) == 2


async def test_a_broken_index_is_built_anew(handbook: Path, cache: Path) -> None:
    """It holds nothing that the documents don't."""
    await sources("ticket", handbook)
    index = only_file(cache)
    content = index.read_bytes()
    index.write_bytes(content[:100] + b"\xff" * 5000)
    assert await sources("ticket", handbook) == ["guide.md#Tickets"]
    index.write_bytes(b"")
    assert await sources("ticket", handbook) == ["guide.md#Tickets"]


async def test_index_chooses_the_file(handbook: Path, tmp_path: Path) -> None:
    """Its folder is made; nothing is written elsewhere."""
    path = tmp_path / "deep" / "index.db"
    for _ in range(2):
        assert await sources("ticket", handbook, index=str(path)) == ["guide.md#Tickets"]
    assert os.listdir(path.parent) == ["index.db"]
    assert "cache" not in os.listdir(tmp_path)


async def test_somebody_else_s_file_is_not_replaced(handbook: Path, tmp_path: Path) -> None:
    """Neither a text nor another database."""
    text, database = tmp_path / "notes.db", tmp_path / "other.db"
    text.write_text("mine")
    connection = sqlite3.connect(database)
    connection.execute("CREATE TABLE mine (a)")
    connection.close()
    for path in (text, database, tmp_path):
        with pytest.raises(PluginError, match="is no index of passages, and would be replaced"):
            await sources("ticket", handbook, index=str(path))
    assert text.read_text() == "mine"


async def test_where_nothing_can_be_written_the_message_says_what_to_do(handbook: Path, tmp_path: Path) -> None:
    """A file stands where a folder is needed."""
    (tmp_path / "file").write_text("")
    with pytest.raises(PluginError, match=r"cannot write the index .*; set `index` to a path that can be"):
        await sources("ticket", handbook, index=str(tmp_path / "file" / "index.db"))


async def test_two_can_start_at_once(handbook: Path, cache: Path) -> None:
    """Each builds aside and moves into place."""
    async with opened(build(Retrieve, documents=str(handbook))) as first:
        (handbook / "guide.md").write_text("# New\n\nA ticket.\n")
        async with opened(build(Retrieve, documents=str(handbook))) as second:
            old, new = Record({"input": "ticket"}), Record({"input": "ticket"})
            first.process(old)
            second.process(new)
    assert [old["context"][0]["source"], new["context"][0]["source"]] == ["guide.md#Tickets", "guide.md#New"]
    assert only_file(cache)


async def test_many_threads_may_ask(handbook: Path) -> None:
    """As the engine runs it with concurrency."""
    async with opened(build(Retrieve, documents=str(handbook))) as stage:
        records = [Record({"input": "ticket"}) for _ in range(64)]
        threads = [
            threading.Thread(target=lambda part: [stage.process(record) for record in part], args=(records[n::8],))
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {record["context"][0]["source"] for record in records} == {"guide.md#Tickets"}


async def test_nothing_to_read_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing folder, an empty one, and one without text, whose index is closed again."""
    closed = []
    monkeypatch.setattr(PassageIndex, "close", lambda index: closed.append(index))
    with pytest.raises(PluginError, match=r"there is no folder or file `.*/missing`"):
        await sources("a", tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(PluginError, match=r"no documents under `.*/empty`: no file ends in \.md, \.rst, \.txt"):
        await sources("a", tmp_path / "empty")
    (tmp_path / "empty" / "a.md").write_text("# Only a heading\n")
    with pytest.raises(PluginError, match=r"the documents under `.*/empty` have no text"):
        await sources("a", tmp_path / "empty")
    assert len(closed) == 1
    monkeypatch.undo()
    PassageIndex.close(*closed)


async def test_a_document_that_cannot_be_read_stops_the_start(handbook: Path) -> None:
    """Left out, it would be missed by nobody."""
    (handbook / "lost.md").symlink_to(handbook / "nowhere")
    with pytest.raises(PluginError, match=r"`.*/handbook/lost\.md` can't be read: No such file or directory"):
        await retrieve({"input": "capacity"}, handbook)


async def test_a_pipe_is_no_document(handbook: Path) -> None:
    """Nobody waits for its writer."""
    os.mkfifo(handbook / "pipe.md")
    assert await retrieve({"input": "capacity"}, handbook)


@pytest.fixture
def logs() -> Iterator[list[Any]]:
    """What is logged, as dictionaries."""
    with structlog.testing.capture_logs() as found:
        yield found
    structlog.reset_defaults()


async def test_a_document_that_is_not_utf_8_is_told(handbook: Path, logs: list[Any]) -> None:
    """What can be read of it is found."""
    (handbook / "old.rst").write_bytes(b"Caf\xe9 opening hours.")
    (passage,) = await retrieve({"input": "opening hours"}, handbook)
    assert passage["text"] == "Caf\ufffd opening hours."
    assert [log["document"] for log in logs] == ["old.rst"]


async def test_a_name_that_is_no_text(handbook: Path) -> None:
    """The source is text all the same."""
    (handbook / "b\udcff.md").write_text("Opening hours.")  # as Python writes the byte 255
    (passage,) = await retrieve({"input": "opening hours"}, handbook)
    assert passage["source"] == "b\ufffd.md:1"


async def test_the_default_place_of_the_index(handbook: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A cache that is no absolute path counts as none, and without a home the user has to choose."""
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    await retrieve({"input": "capacity"}, handbook)
    assert len(list((tmp_path / "home" / ".cache" / "dagflow").iterdir())) == 1
    monkeypatch.setattr(Path, "home", _no_home)
    with pytest.raises(PluginError, match="there is no home folder to keep the index in; set `index`"):
        await retrieve({"input": "capacity"}, handbook)


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_fields(tmp_path: Path) -> None:
    """Reads what its question is made of."""
    assert build(Retrieve, documents=".").reads() == {"input"}
    stage = build(Retrieve, tmp_path, documents="handbook", query="{{ a }} {{ b | default('') }}")
    assert (stage.reads(), stage.writes()) == ({"a"}, {"context"})
    assert stage.options.documents == tmp_path / "handbook"


def test_bad_options() -> None:
    """Each is refused when the file is validated."""
    assert complaints(Retrieve) == [("documents", "Field required")]
    assert complaints(Retrieve, documents=".", top_k=0)[0][0] == "top_k"
    assert complaints(Retrieve, documents=".", passage_chars=1)[0][0] == "passage_chars"
