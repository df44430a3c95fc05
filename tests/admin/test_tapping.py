"""Taps over HTTP: what is told, what is hidden, and how they end."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from listening import admin_at, running, until
from rigs import Flow, FunctionStage, ListSink

from dagflow.admin import tapping
from dagflow.admin.samples import LONGEST_TEXT, Describer, size_of
from dagflow.completion import Completion
from dagflow.config.references import MASK
from dagflow.engine.taps import Asked, Passed
from dagflow.errors import RecordError
from dagflow.exchange import Request
from dagflow.plugin import Source
from dagflow.record import Record
from dagflow.redaction import Redactor

pytestmark = pytest.mark.anyio

PRIVATE = "write to ann.lee@example.org, pay with 4111 1111 1111 1111, key hunter2secret"


class Live(Source):
    """Hands in a record every moment."""

    finite = False

    async def records(self):
        """Give records as long as it is asked."""
        number = 0
        while True:
            yield Record({"text": PRIVATE, "n": number}, str(number))
            number += 1
            await asyncio.sleep(0.001)


async def same(record):
    """A stage that does nothing."""
    return record


def engine(folder):
    """A pipeline that never rests."""
    plugins = {"in": Live(), "work": FunctionStage(same), "out": ListSink()}
    return Flow(plugins, ["in -> work", "work -> out"], admin=admin_at(folder)).engine()


async def lines(ask, **query):
    """All lines of a tap that ends."""
    status, headers, body = await ask("/tap", params=query)
    assert status == 200, body
    assert headers["Content-Type"] == "application/jsonl"
    return [json.loads(line) for line in body.splitlines() if line]


async def test_samples_come_as_json_lines(tmp_path):
    """Names and sizes only; the last line has the counts."""
    async with running(engine(tmp_path)) as ask:
        *samples, end = await lines(ask, edge="in -> work", limit="3", rate="1000")
        assert [sample["edge"] for sample in samples] == ["in -> work"] * 3
        assert samples[0]["fields"] == {"text": f"text of {len(PRIVATE)} characters", "n": "number"}
        assert (end["shown"], end["dropped"]) == (3, 0)
        assert end["seen"] >= 3


async def test_values_are_told_to_who_asks(tmp_path):
    """What identifies a person is replaced; fields can be chosen."""
    async with running(engine(tmp_path)) as ask:
        [sample, _] = await lines(ask, edge="in -> work", limit="1", payload="true", fields="text, other")
        assert sample["fields"] == {"text": "write to [email], pay with [credit_card], key hunter2secret"}


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ({}, "expected `edge` or `worker`"),
        ({"edge": "in -> work", "worker": "x"}, "expected `edge` or `worker`"),
        ({"edge": "in -> out"}, "there is no edge `in -> out`; the pipeline has `in -> work`, `work -> out`"),
        ({"worker": "x"}, "there is no worker `x`; the pipeline has none"),
        ({"edge": "in -> work", "rate": "0"}, "rate"),
        ({"edge": "in -> work", "limit": "0"}, "limit"),
        ({"edge": "in -> work", "secrets": "yes"}, "secrets"),
    ],
)
async def test_what_is_wrong_is_told(tmp_path, query, words):
    """With what there is."""
    async with running(engine(tmp_path)) as ask:
        status, _, body = await ask("/tap", params=query)
        assert (status, body["error"]["code"]) == (400, "wrong-request")
        assert words in body["error"]["message"]


async def test_a_tap_ends_when_its_reader_leaves(tmp_path):
    """The channel is as it was before; without the token there is no tap."""
    one = engine(tmp_path)
    async with running(one) as ask:
        assert (await ask("/tap?edge=in -> work", token=False))[0] == 401
        channel = one.wiring.channels["in -> work"]
        plain = channel._push
        headers = {"Authorization": f"Bearer {ask.beacon.token}"}
        answer = await ask.session.get(f"{ask.beacon.address}/tap?edge=in -> work", headers=headers)
        await answer.content.readline()
        assert channel._push != plain
        answer.close()
        await until(lambda: channel._push == plain)


async def test_a_tap_ends_with_the_run(tmp_path):
    """Its last line has the counts, and nobody is held up."""
    async with aiohttp.ClientSession() as session:
        async with running(engine(tmp_path)) as ask:
            headers = {"Authorization": f"Bearer {ask.beacon.token}"}
            answer = await session.get(f"{ask.beacon.address}/tap?edge=in -> work", headers=headers)
            assert b'"edge"' in await answer.content.readline()
        rest = await answer.content.read()
    assert json.loads(rest.splitlines()[-1]).keys() == {"seen", "shown", "dropped"}


async def test_there_is_a_bound_on_taps(tmp_path, monkeypatch):
    """One too many is refused."""
    monkeypatch.setattr(tapping, "MOST_TAPS", 0)
    async with running(engine(tmp_path)) as ask:
        assert (await ask("/tap?edge=in -> work"))[0] == 503


async def test_silence_is_told(tmp_path, monkeypatch):
    """An empty line now and then shows both sides that the other is there."""
    monkeypatch.setattr(tapping, "_SIGN_S", 0.01)
    one = engine(tmp_path)
    async with running(one) as ask:
        one.stop("test")
        headers = {"Authorization": f"Bearer {ask.beacon.token}"}
        async with ask.session.get(f"{ask.beacon.address}/tap?edge=work -> out", headers=headers) as answer:
            seen = [await answer.content.readline() for _ in range(3)]
        assert seen[-1] == b"\n"


def told(value, **options):
    """What a describer with payload says of one field."""
    describer = Describer(Redactor(["hunter2secret"]), True, **options)
    return describer.describe(Passed(0.0, "a -> b", Record({"x": value}, "1")))["fields"]["x"]


def test_secrets_and_persons_are_replaced_wherever_they_stand():
    """In texts, in lists and objects, in numbers and in names."""
    assert told(PRIVATE) == "write to [email], pay with [credit_card], key " + MASK
    assert told([{"mail a@b.org": ["c@d.org", 1, None, True]}]) == [{"mail [email]": ["[email]", 1, None, True]}]
    assert told(4111111111111111) == "[credit_card]"
    assert told(Completion("ask a@b.org")) == {
        "text": "ask [email]",
        "finish_reason": "stop",
        "model": None,
        "usage": None,
    }
    assert told(Completion.live()) == {"live": True}


def test_long_values_are_cut_and_nothing_private_is_cut_in_two():
    """A finding that stands across the cut is not told in part."""
    assert told("x" * 5000) == "x" * LONGEST_TEXT + "…"
    across = "x" * (LONGEST_TEXT - 6) + " ann.lee@example.org" + " y" * 2000
    assert told(across) == "x" * (LONGEST_TEXT - 6) + " …"
    assert len(told(list(range(100)))) == 50
    assert told({str(n): n for n in range(100)}).keys() == {str(n) for n in range(50)}
    deep = value = []
    for _ in range(20):
        value.append([])
        value = value[0]
    assert "list of 1" in json.dumps(told(deep))


def test_calls_of_workers():
    """Without payload, what somebody wrote is told by its size alone."""
    answered = Completion("to a@b.org", "stop", "m").as_dict()
    sample = Asked(0.0, "w", Request(prompt="ask a@b.org", parameters={"seed": 1}), answered, None, 0.5)
    plain = Describer(Redactor(), False).describe(sample)
    assert plain["sent"] == {"prompt": "text of 11 characters", "parameters": "object of 1"}
    assert plain["answered"] == {"text": "text of 10 characters", "finish_reason": "stop", "model": "m", "usage": None}
    whole = Describer(Redactor(), True).describe(sample)
    assert (whole["sent"]["prompt"], whole["answered"]["text"]) == ("ask [email]", "to [email]")
    failed = Asked(0.0, "w", ["a", "b"], {}, "no hunter2secret", 0.5)
    told = Describer(Redactor(["hunter2secret"]), False).describe(failed)
    assert (told["sent"], told["answered"], told["error"]) == ({"texts": "list of 2"}, {}, f"no {MASK}")


def test_sizes():
    """Each kind of value has words."""
    values = ["abc", 1, 1.5, True, None, [1, 2], {"a": 1}, Completion("abc"), Completion.live(), b"x"]
    assert [size_of(value) for value in values] == [
        "text of 3 characters",
        "number",
        "number",
        "yes or no",
        "nothing",
        "list of 2",
        "object of 1",
        "answer of 3 characters",
        "live answer",
        "bytes",
    ]


class Wordless:
    """A value of a plugin that nobody can print."""

    def __str__(self):
        raise RuntimeError("no words")


def test_what_has_no_text_is_told_by_its_size():
    """Nothing that a record holds ends the tap."""
    assert told(Wordless()) == "Wordless"
    assert told(10**5000) == "number"


async def test_text_that_is_no_unicode_is_told(tmp_path):
    """Half of a surrogate pair comes out of many a model's answer, and UTF-8 has no form for it."""

    async def fails(record):
        raise RecordError("half \ud800")

    plugins = {"in": Halves(), "work": FunctionStage(fails), "out": ListSink()}
    one = Flow(plugins, ["in -> work", "work -> out"], admin=admin_at(tmp_path)).engine()
    async with running(one) as ask:
        [sample, _] = await lines(ask, edge="in -> work", limit="1", payload="true")
        assert (sample["record"], sample["fields"]) == ("id?", {"text": "half ?"})
        assert (await ask("/status"))[0] == 200


class Halves(Live):
    """Hands in what is no Unicode."""

    async def records(self):
        """Give records as long as it is asked."""
        async for _ in super().records():
            yield Record({"text": "half \ud800"}, "id\ud800")
