"""Writer: the one thread that writes to a store.

It commits all that is queued in one transaction, so that a burst costs little more than a single
change. It never decides what is written. Each job is told its result once, on the event loop, in
the order of submission, and not before it is durable.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

Work = Callable[[sqlite3.Connection], Any]
"""Changes a store within a transaction that others may share; what it returns is the job's result."""

Done = Callable[[Any, Exception | None], None]
"""Told the result of a job, or why nothing of it was written."""

_Job = tuple[Work, Done]


class Writer:
    """Commits jobs in a thread of its own, from `open` to `close`."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended = asyncio.Event()

    async def open(self) -> None:
        """Start the thread and connect in it; raises what connecting raises."""
        self._loop = asyncio.get_running_loop()
        opened = self._loop.create_future()
        # A daemon: the end of the program waits for no disk. What is not committed was not told.
        Thread(target=self._run, args=(opened,), name="dagflow-store", daemon=True).start()
        await opened

    def submit(self, work: Work, done: Done) -> None:
        """Queue a job; never waits."""
        self._queue.put((work, done))

    async def ask(self, work: Work) -> Any:
        """Do a job and give its result; raises why it could not be done."""
        told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.submit(work, lambda result, error: _resolve(told, result, error))
        return await told

    async def close(self) -> None:
        """Wait until all that was submitted is done, and disconnect; twice is fine."""
        if self._loop is not None:
            self._queue.put(None)
            await self._ended.wait()

    def _run(self, opened: asyncio.Future[None]) -> None:
        try:
            connection = self._connect()
        except Exception as error:
            self._call(_resolve, opened, None, error)
        else:
            self._call(_resolve, opened, None, None)
            with closing(connection):
                while jobs := self._take():
                    self._call(self._tell, commit(connection, jobs))
        self._call(self._ended.set)

    def _take(self) -> list[_Job]:
        """Take all that is queued, waiting for the first; empty at the end."""
        job = self._queue.get()
        jobs = []
        with suppress(Empty):
            while job is not None:
                jobs.append(job)
                job = self._queue.get_nowait()
            self._queue.put(None)  # for the next time, when nothing stands before it
        return jobs

    def _tell(self, told: list[tuple[Done, Any, Exception | None]]) -> None:
        # One by one: what is wrong with one of them must not keep the others waiting.
        for done, result, error in told:
            self._loop.call_soon(done, result, error)

    def _call(self, function: Callable[..., object], *arguments: Any) -> None:
        with suppress(RuntimeError):  # the loop may have gone, and with it whoever waits
            self._loop.call_soon_threadsafe(function, *arguments)


def commit(connection: sqlite3.Connection, jobs: list[_Job]) -> list[tuple[Done, Any, Exception | None]]:
    """Do jobs in one transaction, or each in its own, if one of them spoils it for all."""
    try:
        results = _together(connection, jobs)
    except Exception as error:
        # Who waited in vain for another process would wait again for each.
        if len(jobs) == 1 or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            return [(done, None, error) for _, done in jobs]
        return [told for job in jobs for told in commit(connection, [job])]
    return [(done, result, None) for (_, done), result in zip(jobs, results, strict=True)]


def commit_alone(connection: sqlite3.Connection, work: Work) -> Any:
    """Do one job at once, without a writer, and give its result."""
    return _together(connection, [(work, lambda result, error: None)])[0]


def _together(connection: sqlite3.Connection, jobs: list[_Job]) -> list[Any]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        results = [work(connection) for work, _ in jobs]
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # after some errors SQLite has done it already
            connection.execute("ROLLBACK")
        raise
    return results


def _resolve(told: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if told.done():
        return
    if error is None:
        told.set_result(result)
    else:
        told.set_exception(error)
