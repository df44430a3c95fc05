"""Consumer: one member of a group, which commits only what is contiguous.

The client keeps up its heartbeats by itself. What is not asked for stays with the brokers, but for one fetch for each
partition: so a slow pipeline holds back the reading, and never its membership.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from dagflow.errors import PluginError, describe
from dagflow.mesh.kafka.client import Lifetime, bounded, load_aiokafka, reason_of, settings
from dagflow.mesh.kafka.offsets import Offsets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

Batch = tuple[Offsets, list[Any]]

_POLL_MS: Final = 200
_BATCH: Final = 500  # messages of one poll; larger ones are no faster
_COMMIT_S: Final = 1.5  # for the last commit of a partition; a broker that is away does not answer
_NEVER_MS: Final = 2**31 - 1


class Consumer:
    """A member of a group.

    Args:
        options: those of the source.
        log: told what could not be committed.
    """

    def __init__(self, options: Any, log: Any) -> None:
        self._options = options
        self._log = log
        self._offsets: dict[Any, Offsets] = {}
        self._generation = 0  # counts up when partitions are revoked; what was read before is of no use then
        self._ends: dict[Any, int] = {}
        self._failure: PluginError | None = None
        self._finished = asyncio.Event()
        self._commits = asyncio.Lock()
        self._client: Any = None
        self._committing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Join the group.

        Raises:
            PluginError: there is no client library, or the brokers cannot be reached or refuse.
        """
        options, aiokafka = self._options, load_aiokafka("source type `kafka`")
        session_ms = round(options.session_timeout * 1000)
        self._client = aiokafka.AIOKafkaConsumer(
            **settings(options),
            group_id=options.group,
            auto_offset_reset=options.start,
            enable_auto_commit=False,
            isolation_level="read_committed",
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=min(3000, session_ms // 4),
            max_poll_interval_ms=_NEVER_MS,  # else a pipeline that is busy for long would lose its partitions
        )
        self._lifetime = Lifetime(self._client, options.servers)
        self._client.subscribe(options.topics, listener=_listener(aiokafka, self))
        await self._lifetime.start()
        self._committing = asyncio.create_task(self._commit_now_and_then())

    async def close(self) -> None:
        """Commit what is done, and leave the group; twice is fine."""
        client, self._client = self._client, None
        if client is None:
            return
        if self._committing is not None:
            self._committing.cancel()
            await bounded(self._commit(client, self._offsets), _COMMIT_S)
        await self._lifetime.stop()

    async def batches(self) -> AsyncIterator[Batch]:
        """Iterate over messages, some of one partition at a time, with its offsets.

        Raises:
            PluginError: the brokers refuse, or `fail` was called.
        """
        while True:
            found, generation = await self._poll(), self._generation
            for partition, messages in found.items():
                if self._generation != generation:
                    break
                if within := self._before_end(partition, messages):
                    yield self._offsets.setdefault(partition, Offsets()), within
            if self._options.until == "end" and await self._is_at_end():
                return

    def note_finished(self) -> None:
        """Learn that a record is done: a partition that is to be handed over may have waited for it."""
        self._finished.set()

    def fail(self, error: PluginError) -> None:
        """Have `batches` raise an error."""
        self._failure = self._failure or error

    async def on_revoked(self, partitions: Iterable[Any]) -> None:
        """Hand in no more of these partitions, wait a while for what is open, commit, and forget the rest."""
        self._generation += 1
        leaving = {one: self._offsets.pop(one) for one in partitions if one in self._offsets}
        for offsets in leaving.values():
            offsets.closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._options.handover):
                while any(offsets.span for offsets in leaving.values()):
                    self._finished.clear()
                    await self._finished.wait()
        await bounded(self._commit(self._client, leaving), _COMMIT_S)

    async def _poll(self) -> Mapping[Any, list[Any]]:
        """Ask for messages, of those partitions of which not too many are open, and for no more than may be."""
        if self._failure is not None:
            raise self._failure
        limit = self._options.max_ahead
        spans = {one: offsets.span for one, offsets in self._offsets.items()}
        full = [one for one, span in spans.items() if span >= limit]
        free = list(self._client.assignment().difference(full)) if full else []
        if full and not free:
            await asyncio.sleep(_POLL_MS / 10_000)
            return {}
        import aiokafka.errors as errors

        room = limit - max((span for span in spans.values() if span < limit), default=0)
        try:
            return await self._client.getmany(*free, timeout_ms=_POLL_MS, max_records=min(_BATCH, room))
        except errors.IllegalStateError:  # a partition was revoked meanwhile
            return {}
        except errors.KafkaError as error:
            if error.retriable:
                await asyncio.sleep(_POLL_MS / 1000)
                return {}
            raise PluginError(reason_of(error, self._options.servers)) from error

    def _end_of(self, partition: Any) -> int | None:
        """Give the end that a partition had when it was first read from; None until then.

        It comes with what is read, and so is never behind it; what brokers answer to the question for the end may be.
        """
        if partition not in self._ends and (end := self._client.highwater(partition)) is not None:
            self._ends[partition] = end
        return self._ends.get(partition)

    def _before_end(self, partition: Any, messages: list[Any]) -> list[Any]:
        if self._options.until is None or (end := self._end_of(partition)) is None or messages[-1].offset < end:
            return messages
        return [message for message in messages if message.offset < end]

    async def _is_at_end(self) -> bool:
        import aiokafka.errors as errors

        try:
            for partition, end in {one: self._end_of(one) for one in self._client.assignment()}.items():
                if end is None or await self._client.position(partition) < end:
                    return False
        except errors.IllegalStateError:  # it was revoked meanwhile
            return False
        return True

    async def _commit_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(self._options.commit_interval)
            await self._commit(self._client, self._offsets)

    async def _commit(self, client: Any, states: Mapping[Any, Offsets]) -> None:
        """Commit what is new; what could not be committed is tried again the next time, unless it went to somebody."""
        import aiokafka.errors as errors

        async with self._commits:
            found = {one: offset for one, state in states.items() if (offset := state.to_commit) is not None}
            try:
                if found:
                    await client.commit(found)
            except errors.KafkaError as error:
                self._log.warning("offsets not committed", error=describe(error))
                return
            for one, offset in found.items():
                states[one].note_committed(offset)


def _listener(aiokafka: Any, consumer: Consumer) -> Any:
    class Listener(aiokafka.ConsumerRebalanceListener):
        async def on_partitions_revoked(self, revoked: Iterable[Any]) -> None:
            await consumer.on_revoked(revoked)

        def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
            """Each begins anew with what is read of it, where the group has committed."""

    return Listener()
