"""The writer thread: order, batches, failures, the end."""

from __future__ import annotations

import asyncio
import sqlite3
import threading

import pytest

from dagflow.store.writer import Writer, commit, commit_alone


def connect(path):
    """A connection to a table of numbers, each of which may be there once."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    connection.execute("CREATE TABLE IF NOT EXISTS numbers (n INTEGER UNIQUE)")
    return connection


def put(n):
    """A job that adds a number and gives it."""

    def work(connection):
        connection.execute("INSERT INTO numbers VALUES (?)", (n,))
        return n

    return work


def numbers(path):
    """What is committed."""
    connection = sqlite3.connect(path)
    try:
        return [n for (n,) in connection.execute("SELECT n FROM numbers ORDER BY n")]
    finally:
        connection.close()


def test_what_is_queued_is_committed_in_one_transaction_and_told_in_order(tmp_path):
    """What came while the thread was busy goes together; each is told when it is there to be read."""
    path, told, transactions = tmp_path / "a.db", [], []
    busy, gate = threading.Event(), threading.Event()

    def hold(connection):
        busy.set()
        gate.wait(10)

    def slow_connect():
        connection = connect(path)
        connection.set_trace_callback(lambda sql: transactions.append(sql) if sql.startswith("BEGIN") else None)
        return connection

    async def main():
        writer = Writer(slow_connect)
        await writer.open()
        first = asyncio.ensure_future(writer.ask(hold))
        await asyncio.to_thread(busy.wait, 10)
        for n in range(50):
            writer.submit(put(n), lambda result, error: told.append((result, error, result in numbers(path))))
        gate.set()
        await first
        await writer.close()

    asyncio.run(main())
    assert told == [(n, None, True) for n in range(50)]
    assert len(transactions) == 2


def test_one_that_fails_takes_no_other_down(tmp_path):
    """The rest of its batch is committed one by one."""
    connection = connect(tmp_path / "a.db")
    told = commit(connection, [(put(n), n) for n in (1, 2, 2, 3)])
    connection.close()
    assert [(job, result, type(error)) for job, result, error in told] == [
        (1, 1, type(None)),
        (2, 2, type(None)),
        (2, None, sqlite3.IntegrityError),
        (3, 3, type(None)),
    ]
    assert numbers(tmp_path / "a.db") == [1, 2, 3]


def test_a_store_that_is_locked_is_waited_for_once(tmp_path):
    """Not once for each job."""
    tries = []
    connection, other = connect(tmp_path / "a.db"), connect(tmp_path / "a.db")
    connection.set_trace_callback(tries.append)
    other.execute("BEGIN IMMEDIATE")
    told = commit(connection, [(put(n), n) for n in range(5)])
    other.close()
    assert [type(error) for _, _, error in told] == [sqlite3.OperationalError] * 5
    assert len(tries) == 1
    assert commit_alone(connection, put(7)) == 7
    connection.close()


def test_what_connecting_raises_is_raised_by_open():
    """And closing is fine all the same, twice."""

    def fail():
        raise sqlite3.OperationalError("no")

    async def main():
        writer = Writer(fail)
        with pytest.raises(sqlite3.OperationalError):
            await writer.open()
        await writer.close()
        await writer.close()

    asyncio.run(main())


def test_a_callback_that_raises_keeps_no_other_waiting(tmp_path):
    """Each is called by itself."""
    told, raised = [], []

    def fail(result, error):
        raise ValueError(result)

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context["exception"]))
        writer = Writer(lambda: connect(tmp_path / "a.db"))
        await writer.open()
        writer.submit(put(1), fail)
        writer.submit(put(2), lambda result, error: told.append(result))
        await writer.close()
        while not told:
            await asyncio.sleep(0)

    asyncio.run(main())
    assert told == [2]
    assert [str(error) for error in raised] == ["1"]
