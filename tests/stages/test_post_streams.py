"""Stage `post` on live completions: the same answer as on whole ones, and nothing shown too early."""

from __future__ import annotations

import asyncio
import re

import pytest
from alone import build, opened
from anyio import wait_all_tasks_blocked
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dagflow.completion import Completion
from dagflow.errors import InvalidOutput, PluginBug, RecordError, StreamCut, WorkerError
from dagflow.exchange import Chunk, Usage
from dagflow.record import Record
from dagflow.rewriting import Gathered
from dagflow.stages.pii import LONGEST
from dagflow.stages.post import Post

pytestmark = pytest.mark.anyio

REDACT = {"type": "redact"}
PIECES = [
    *(
        "Hello ",
        "wörld",
        " ",
        "  ",
        "\n",
        "\t",
        ",",
        ". ",
        ".",
        "-",
        "/",
        "(",
        ")",
        "+",
        "_",
        "%",
        "@",
        "ab",
        "aab",
        "A",
    ),
    *("jo@example.com", "a.b@c.de", "4111 1111 1111 1111", "5500-0000-0000-0004", "DE89 3704 0044 0532 0130 00"),
    *("GB82WEST12345698765432", "123-45-6789", "192.168.1.254", "+49 (30) 1234567", "(555) 123-4567"),
    *("030 12345678", "0", "1", "12", "٣", "1 ", "DE89", "x", "```json\n", "```", '{"a": 1}', "café", "x" * 700),
]
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=12).map("".join)
step = st.one_of(
    st.fixed_dictionaries({"type": st.just("trim")}, optional={"max_chars": st.integers(1, 30)}),
    st.fixed_dictionaries({"type": st.just("replace"), "find": st.sampled_from(["a", "ab", "aab", " ", "1 1"])}).map(
        lambda step: step | {"replacement": "_b"}
    ),
    st.just({"type": "replace", "find": r"\d+|\s", "replacement": "#", "regex": True}),
    st.builds(
        lambda kinds: REDACT | {"kinds": kinds},
        st.lists(st.sampled_from(["email", "iban", "credit_card", "us_ssn", "ipv4", "phone"]), min_size=1, unique=True),
    ),
    st.just({"type": "json"}),
)


def cut_up(text: str, places: list[int]) -> list[str]:
    """Cut a text at places, which need not lie in it."""
    ends = sorted({min(place, len(text)) for place in places})
    return [text[start:end] for start, end in zip([0, *ends], [*ends, len(text)], strict=True)]


async def stream(
    pieces: list[str], *steps: dict[str, object], ahead: int = 0, **fed: str
) -> tuple[Record, list[Chunk]]:
    """Run the stage on a live completion that has the first `ahead` pieces; give the record and all chunks."""
    async with opened(build(Post, steps=list(steps)), name="post") as stage:
        completion = Completion.live("m")
        record = Record({"completion": completion})
        for piece in pieces[:ahead]:
            await completion.feed(Chunk(piece, **fed))
        assert await stage.process(record) is record
        assert record["completion"] is completion

        async def produce() -> None:
            for piece in pieces[ahead:]:
                await completion.feed(Chunk(piece, **fed))
            await completion.feed(Chunk("", "length", Usage(1, 2)))
            completion.finish()

        producing = asyncio.create_task(produce())
        chunks = [chunk async for chunk in completion.chunks()]
        await producing
    return record, chunks


async def read_into(seen: list[str], completion: Completion) -> None:
    """Note the texts of all chunks, up to where the stream breaks."""
    async for chunk in completion.chunks():
        seen.append(chunk.text)


async def whole(text: str, *steps: dict[str, object]) -> Record:
    """Run the stage on a whole completion."""
    async with opened(build(Post, steps=list(steps)), name="post") as stage:
        return await stage.process(Record({"completion": Completion(text, "length", "m", Usage(1, 2))}))


@given(texts, st.lists(st.integers(0, 120), max_size=12), st.lists(step, max_size=4), st.integers(0, 3))
@example("4111 1111 1111 1111", list(range(19)), [REDACT], 1)
@example("a" * (5 * LONGEST) + " jo@example.com", [LONGEST, 3 * LONGEST], [REDACT], 0)
@example("1 " * (4 * LONGEST), [LONGEST * n for n in range(8)], [REDACT], 0)
@settings(max_examples=300, deadline=None)
def test_a_stream_gives_what_the_whole_text_would(text, places, steps, ahead) -> None:
    """For every text, every way of cutting it, and all steps: the same text and fields, or the same error."""

    async def main() -> None:
        pieces = cut_up(text, places)
        try:
            expected = await whole(text, *steps)
        except InvalidOutput as error:
            with pytest.raises(InvalidOutput, match=re.escape(str(error))) as caught:
                await stream(pieces, *steps, ahead=ahead)
            assert caught.value.node == "post"
            return
        record, chunks = await stream(pieces, *steps, ahead=ahead)
        assert "".join(chunk.text for chunk in chunks) == expected["completion"].text
        assert {**record, "completion": None} == {**expected, "completion": None}
        assert record["completion"].as_dict() == expected["completion"].as_dict()
        assert chunks[-1].finish_reason == "length"

    asyncio.run(main())


@given(texts, st.data())
@settings(max_examples=100, deadline=None)
def test_every_cut_of_what_is_redacted(text, data) -> None:
    """One character a chunk is the hardest case."""

    async def main() -> None:
        expected = await whole(text, REDACT)
        _, chunks = await stream(list(text), REDACT, ahead=data.draw(st.integers(0, 60)))
        assert "".join(chunk.text for chunk in chunks) == expected["text"]

    asyncio.run(main())


async def shown_at_once(text: str, *steps: dict[str, object]) -> str:
    """What a reader has seen when a text came, and more may come."""
    async with opened(build(Post, steps=list(steps))) as stage:
        completion = Completion.live()
        await stage.process(Record({"completion": completion}))
        await completion.feed(Chunk(text))
        return completion.text


@pytest.mark.parametrize(
    ("steps", "text", "shown"),
    [
        ([{"type": "trim"}], "  a b  ", "a b"),
        ([{"type": "trim", "max_chars": 2}], "  a b  ", "a"),
        ([{"type": "replace", "find": "abc", "replacement": "-"}], "xabcxab", "x-x"),
        ([{"type": "replace", "find": "abc", "replacement": "-"}], "xabcxabd", "x-xabd"),
        ([{"type": "replace", "find": "a", "replacement": "-", "regex": True}], "xax", ""),
        ([REDACT], "one two", "one "),
        ([REDACT], "Write to jo@example.com, ", "Write to [email], "),
        ([REDACT], "Card 4111 1111 1111 111", "Card "),
        ([REDACT], "日本語", "日本語"),
        ([{"type": "json"}], '{"a": 1}', ""),
        ([], " a", " a"),
    ],
)
async def test_no_more_is_held_back_than_must_be(steps, text, shown) -> None:
    """What is certain is shown at once."""
    assert await shown_at_once(text, *steps) == shown


@pytest.mark.parametrize("unit", ["a", "1", "1 ", "a.", "a@", "AA11 ", "+1", "(12) ", "0123 ", "999 45 6789 "])
async def test_what_is_held_back_is_bounded(unit: str) -> None:
    """A run without a place to cut it at is decided by the length of what could be found."""
    text = unit * (10_000 // len(unit))
    assert len(await shown_at_once(text, REDACT)) >= len(text) - 2 * LONGEST


async def test_reasoning_is_redacted_and_nothing_else() -> None:
    """A sink can show it."""
    fed = {"reasoning": " to jo@example.com "}
    trim = {"type": "trim"}
    record, chunks = await stream(["a"], trim, REDACT, **fed)
    assert record["completion"].reasoning == "".join(chunk.reasoning for chunk in chunks) == " to [email] "
    async with opened(build(Post, steps=[trim, REDACT])) as stage:
        done = await stage.process(Record({"completion": Completion("a", reasoning=" to jo@example.com ")}))
    assert done["completion"].reasoning == " to [email] "


async def test_what_else_a_chunk_says_gets_through() -> None:
    """Also what stood on a chunk whose text was held back."""
    completion = Completion.live()
    await completion.feed(Chunk("  ", model="m", worker="w"))
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    async with opened(build(Post)) as stage:
        await stage.process(Record({"completion": completion}))
    await completion.feed(Chunk("a ", tool_calls=(call,)))
    await completion.feed(Chunk("b ", "stop", Usage(1, 2)))
    completion.finish()
    assert [chunk async for chunk in completion.chunks()] == [
        Chunk("a", None, None, "m", (call,), "", "w"),
        Chunk(" b", "stop", Usage(1, 2)),
    ]
    assert completion.tool_calls == [{name: value for name, value in call.items() if name != "index"}]


async def test_a_json_that_does_not_fit_ends_the_stream_as_failed() -> None:
    """Nothing of it is shown, and it never looks whole."""
    completion = Completion.live()
    record = Record({"completion": completion})
    async with opened(build(Post, steps=[{"type": "json"}]), name="post") as stage:
        await stage.process(record)
    await completion.feed(Chunk("no JSON", "stop"))
    completion.finish()
    with pytest.raises(InvalidOutput):
        await completion.whole()
    assert (completion.text, completion.finish_reason, completion.error.node) == ("", None, "post")
    assert "text" not in record


@pytest.mark.parametrize("error", [None, WorkerError("unavailable", "cut"), StreamCut()])
async def test_what_is_held_back_is_never_shown_where_the_stream_breaks(error) -> None:
    """It may be half of what was to be redacted. No finish reason is such an end, too."""
    completion = Completion.live()
    record = Record({"completion": completion})
    async with opened(build(Post, steps=[REDACT])) as stage:
        await stage.process(record)
    await completion.feed(Chunk("Card 4111 1111"))
    completion.finish(error)
    seen = []
    with pytest.raises(RecordError):
        await read_into(seen, completion)
    assert completion.text == "".join(seen) == "Card "
    assert "text" not in record


async def test_a_stream_that_broke_before_is_redacted_as_well() -> None:
    """What came before the break is still to be read."""
    completion = Completion.live()
    await completion.feed(Chunk("jo@example.com, "))
    broken = WorkerError("unavailable", "cut")
    completion.finish(broken)
    async with opened(build(Post, steps=[REDACT])) as stage:
        await stage.process(Record({"completion": completion}))
    seen = []
    with pytest.raises(WorkerError):
        await read_into(seen, completion)
    assert (seen, completion.text, completion.error) == (["[email], "], "[email], ", broken)


async def test_an_abandoned_stream_is_transformed() -> None:
    """Its text is read later."""
    completion = Completion.live()
    await completion.feed(Chunk("jo@exam"))
    completion.abandon()
    record = Record({"completion": completion})
    async with opened(build(Post, steps=[REDACT])) as stage:
        await stage.process(record)
    await completion.feed(Chunk("ple.com", "stop"))
    completion.finish()
    assert (completion.text, record["text"], (await completion.whole()).text) == ("[email]",) * 3


async def test_two_stages_compose() -> None:
    """The second works on what the first has left, buffered or to come."""
    completion = Completion.live()
    await completion.feed(Chunk("a "))
    for find, replacement in (("a", "bb"), ("bbb", "c")):
        async with opened(build(Post, steps=[{"type": "replace", "find": find, "replacement": replacement}])) as stage:
            await stage.process(Record({"completion": completion}))
    await completion.feed(Chunk("aa"))
    await completion.feed(Chunk("", "stop"))
    completion.finish()
    assert (await completion.whole()).text == "bb cb"
    assert completion.finish_reason == "stop"


async def test_a_transform_that_fails_stops_the_producer() -> None:
    """The first error counts, and a bug is one."""

    class Broken(Gathered):
        def feed(self, text: str) -> str:
            raise ValueError("a bug")

    completion = Completion.live()
    completion.transform(Broken(str))
    for _ in range(2):
        with pytest.raises(PluginBug, match="a bug"):
            await completion.feed(Chunk("a"))
    assert not completion.is_live
    with pytest.raises(PluginBug):
        await completion.whole()


async def test_what_is_being_read_cannot_be_transformed() -> None:
    """The reader has seen the original."""
    completion = Completion.live()
    reading = asyncio.create_task(completion.whole())
    await wait_all_tasks_blocked()
    with pytest.raises(RuntimeError, match="can no longer be transformed"):
        completion.transform(Gathered(str))
    completion.finish(StreamCut())
    with pytest.raises(StreamCut):
        await reading
