"""Source `kafka`, on each broker: what it reads, what it commits, and where it begins and ends."""

from __future__ import annotations

import asyncio

import pytest
from peers.kafka_client import Desk, Pipe
from pydantic import ValidationError
from service import until

from dagflow.errors import PluginError, WorkerError
from dagflow.sources.kafka import Kafka

pytestmark = pytest.mark.anyio


def texts(count, first=0):
    """Give as many messages of plain text."""
    return [b"text %d" % number for number in range(first, first + count)]


async def test_a_topic_is_read_to_the_end_that_it_had(tmp_path, desk):
    """Each message is a record, and all is committed; a second run reads only what came since."""
    await desk.send(*texts(40))
    pipe = Pipe(tmp_path, desk.source())
    assert await pipe.run() == {"delivered": 40}
    assert sorted(fields["input"] for _, fields in pipe.sink.written) == sorted(t.decode() for t in texts(40))
    assert await desk.committed() == [10, 10, 10, 10]
    await desk.send(*texts(4, first=40))
    again = Pipe(tmp_path, desk.source())
    assert await again.run() == {"delivered": 4}
    assert sorted(again.sink.ids) == [f"{desk.topic}:{n}:10" for n in range(4)]
    assert await Pipe(tmp_path, desk.source()).run() == {}


async def test_what_a_message_tells(tmp_path, desk):
    """Its key is the session; an object brings its own id and priority; `meta` says where it stood."""
    await desk.send(b'{"id": "a", "input": "one", "priority": 2, "more": 3}', b"two", key=b"anna", partition=1)
    seen = []

    async def look(record):
        seen.append((record.id, record.session, record.priority, dict(record), dict(record.meta)))
        return record

    await Pipe(tmp_path, desk.source(), look).run()
    place = {"topic": desk.topic, "partition": 1}
    assert seen == [
        ("a", "anna", 2, {"input": "one"}, {"more": 3, **place, "offset": 0}),
        (f"{desk.topic}:1:1", "anna", 0, {"input": "two"}, {**place, "offset": 1}),
    ]


@pytest.mark.parametrize(("start", "count"), [("earliest", 3), ("latest", 0)])
async def test_where_a_new_group_begins(tmp_path, desk, start, count):
    """At the first message that there is, or behind the last one."""
    await desk.send(*texts(3))
    assert await Pipe(tmp_path, desk.source(start=start)).run() == ({"delivered": count} if count else {})


async def test_it_goes_on_without_an_end(tmp_path, desk):
    """What is sent while it runs comes too, and is committed while it runs."""
    pipe = Pipe(tmp_path, desk.source(until=None))
    async with pipe.running():
        await desk.send(*texts(4))
        await until(lambda: len(pipe.sink.written) == 4)
        await desk.wait_committed(1)
    assert pipe.flow.report["outcomes"]["delivered"] == 4


@pytest.mark.parametrize("interval", ["10ms", "1h"])
async def test_how_often_it_commits(tmp_path, desk, interval):
    """In between nothing is committed; at the end everything is."""
    await desk.send(*texts(1), partition=0)
    pipe = Pipe(tmp_path, desk.source(until=None, commit_interval=interval))
    async with pipe.running():
        await until(lambda: len(pipe.sink.written) == 1)
        if interval == "10ms":
            async with asyncio.timeout(10):
                while (await desk.committed())[0] != 1:
                    await asyncio.sleep(0.01)
        else:
            assert (await desk.committed())[0] is None
    assert (await desk.committed())[0] == 1


async def test_only_what_is_contiguous_is_committed(tmp_path, desk):
    """A record that takes long holds back those behind it; cut off, it and they come again."""
    await desk.send(*texts(10), partition=2)
    slow = f"{desk.topic}:2:4"

    async def wait(record):
        if record.id == slow:
            await asyncio.Event().wait()
        return record

    pipe = Pipe(tmp_path, desk.source(), wait, concurrency=4, plan={"drain_timeout_s": 0.05})
    async with pipe.running():
        await until(lambda: len(pipe.sink.written) == 9)
    assert (await desk.committed())[2] == 4
    assert pipe.letters == []
    again = Pipe(tmp_path, desk.source())
    assert await again.run() == {"delivered": 6}
    assert again.sink.ids[0] == slow


async def test_what_fails_is_kept_and_passed(tmp_path, desk):
    """A poisoned record, one that is no record, and one that expires: each has a letter, and is committed."""
    late = b'{"input": "late", "deadline": "0s"}'
    await desk.send(b"poison", b"\xff", late, b"fine", b'{"id": 7}', partition=0)

    async def fail(record):
        if record["input"] == "poison":
            raise WorkerError("refused", "no")
        return record

    pipe = Pipe(tmp_path, desk.source(), fail)
    outcomes = await pipe.run()
    assert outcomes == {"failed": 3, "expired": 1, "delivered": 1}
    at = f"{desk.topic}:0:"
    assert pipe.letters == [
        (at + "0", "failed", "worker-refused"),
        (at + "1", "failed", "unreadable"),
        (at + "2", "expired", "deadline"),
        (at + "4", "failed", "unreadable"),
    ]
    assert (await desk.committed())[0] == 5


async def test_a_record_that_is_kept_nowhere_ends_the_run(tmp_path, desk):
    """Its offset is not passed: it comes again."""
    await desk.send(*texts(3), partition=0)

    async def fail(record):
        raise WorkerError("refused", "no")

    pipe = Pipe(tmp_path, desk.source(until=None), fail, plan={"dead_letters": None})
    await pipe.run()
    assert (await desk.committed())[0] is None
    assert pipe.flow.report["exit_code"] == 1


async def test_how_far_it_reads_ahead(tmp_path, desk):
    """Of a partition whose oldest record is open, so many are handed in at most; others go on."""
    await desk.send(*texts(30), partition=0)
    await desk.send(*texts(30), partition=1)
    release = asyncio.Event()

    async def wait(record):
        if record.id == f"{desk.topic}:0:0":
            await release.wait()
        return record

    pipe = Pipe(tmp_path, desk.source(max_ahead=5), wait, concurrency=2)
    async with pipe.running():
        await until(lambda: len(pipe.sink.written) == 34)
        assert [offsets.span for offsets in pipe.source._consumer._offsets.values() if offsets.span] == [5]
        assert sorted(i for i in pipe.sink.ids if ":0:" in i) == [f"{desk.topic}:0:{n}" for n in range(1, 5)]
        release.set()
        await until(lambda: len(pipe.sink.written) == 60)


async def test_reading_waits_for_the_pipeline(tmp_path, desk):
    """With 3 in flight no more than a batch has been asked for; all come in the end."""
    await desk.send(*texts(20), partition=0)
    release, most = asyncio.Event(), 0

    async def wait(record):
        nonlocal most
        most = max(most, len(pipe.source._places))
        await release.wait()
        return record

    pipe = Pipe(tmp_path, desk.source(), wait, plan={"max_in_flight": 3})
    async with pipe.running():
        await until(lambda: len(pipe.source._places) == 3)
        release.set()
        await until(lambda: len(pipe.sink.written) == 20)
    assert most == 3


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"servers": ["127.0.0.1:9"]}, "none of `127.0.0.1:9` can be reached"),
        ({"tls": True, "ca_file": "nowhere.pem"}, "certificates cannot be used"),
    ],
)
async def test_what_cannot_be_opened(tmp_path, desk, more, reason):
    """The reason is told."""
    with pytest.raises(PluginError, match=reason):
        await Pipe(tmp_path, desk.source(**more)).run()


async def test_several_topics(tmp_path, desk):
    """All of them are read to their ends."""
    other = Desk(desk.broker)
    await desk.send(*texts(3), partition=0)
    await other.send(*texts(2), partition=0)
    pipe = Pipe(tmp_path, desk.source(topics=[desk.topic, other.topic]))
    assert await pipe.run() == {"delivered": 5}
    assert {id.rpartition(":")[0] for id in pipe.sink.ids} == {f"{desk.topic}:0", f"{other.topic}:0"}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"handover": "2s", "session_timeout": "2s"}, "late_handover"),
        ({"session_timeout": "10s", "request_timeout": "10s"}, "hasty_requests"),
        ({"format": "raw", "fields": ["other"]}, "fields_of_raw"),
        ({"topics": []}, "too_short"),
        ({"max_ahead": 0}, "greater_than_equal"),
    ],
)
def test_options_that_do_not_fit(options, code):
    """Each is refused with its reason."""
    with pytest.raises(ValidationError) as caught:
        Kafka.Options(**{"servers": ["127.0.0.1:9092"], "topics": ["t"], "group": "g", **options})
    assert caught.value.errors()[0]["type"] == code
