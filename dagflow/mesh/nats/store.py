"""NatsStore: entries in a bucket of a key-value store on NATS, changed only by who knows their revision."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from secrets import token_hex
from typing import TYPE_CHECKING, Any, Final

from dagflow.errors import PluginError, StoreUnreachable
from dagflow.inference.leasing import Conflict
from dagflow.mesh.nats.connection import Connection, said
from dagflow.mesh.nats.jetstream import find_stream

if TYPE_CHECKING:
    from dagflow.mesh.nats.options import NatsOptions

KEPT_S: Final = 7 * 86_400.0
"""How long an entry is kept that nobody changes: longer than any window."""
_ASK_S: Final = 2.0
_EXPECTED: Final = "Nats-Expected-Last-Subject-Sequence"
_WRONG_REVISION: Final = frozenset({10071, 10164})


def bucket_stream(bucket: str) -> str:
    """Name the stream behind a bucket."""
    return f"KV_{bucket}"


class NatsStore:
    """One bucket.

    Args:
        options: where the servers are, and who this is.
        name: what the servers call this program.
    """

    def __init__(self, options: NatsOptions, bucket: str, name: str, log: Any) -> None:
        self._connection = Connection(options, name, log)
        self._bucket = bucket
        self._clock = f"clock.{token_hex(8)}"

    async def open(self) -> None:
        """Connect.

        Raises:
            PluginError: no server answers, or there is no such bucket.
        """
        await self._connection.open()
        try:
            await find_stream(self._connection, bucket_stream(self._bucket))
        except PluginError as error:
            text = f"the bucket `{self._bucket}` of `[shared]`: {error}; `dagflow mesh apply` creates what is needed"
            raise PluginError(text) from error

    async def close(self) -> None:
        """Let go of the connection; twice is fine."""
        await self._connection.close()

    async def read(self, name: str) -> tuple[bytes | None, int]:
        """Give an entry and its revision; None and 0 where there is none.

        Raises:
            StoreUnreachable: the servers do not answer.
        """
        found = await self._get(name)
        return (None, 0) if found is None else (found.data, int(found.headers["Nats-Sequence"]))

    async def write(self, name: str, data: bytes, revision: int) -> int:
        """Write an entry whose revision is still this one; gives the new one.

        Raises:
            Conflict: it is not.
            StoreUnreachable: the servers do not answer, or refuse.
        """
        return await self._put(name, data, {_EXPECTED: str(revision)})

    async def time(self) -> float:
        """Give what the clock of the store showed between the call and the answer, in seconds since the epoch.

        Raises:
            StoreUnreachable: the servers do not answer.
        """
        await self._put(self._clock, b"", {})
        found = await self._get(self._clock)
        if found is None:
            raise StoreUnreachable(f"bucket `{self._bucket}`: what was written is not there")
        whole, _, rest = found.headers["Nats-Time-Stamp"].rstrip("Z").partition(".")
        return datetime.fromisoformat(whole).replace(tzinfo=UTC).timestamp() + float(f"0.{rest or 0}")

    def _subject(self, name: str) -> str:
        return f"$KV.{self._bucket}.{name}"

    async def _get(self, name: str) -> Any:
        found = await self._ask(f"$JS.API.DIRECT.GET.{bucket_stream(self._bucket)}.{self._subject(name)}", b"", {})
        status = (found.headers or {}).get("Status")
        if status is None:
            return found
        if status == "404":
            return None
        raise StoreUnreachable(f"bucket `{self._bucket}`: {found.headers.get('Description', status)}")

    async def _put(self, name: str, data: bytes, headers: dict[str, str]) -> int:
        told = json.loads((await self._ask(self._subject(name), data, headers)).data)
        error = told.get("error")
        if error is None:
            return int(told["seq"])
        if error.get("err_code") in _WRONG_REVISION:
            raise Conflict
        raise StoreUnreachable(f"bucket `{self._bucket}`: {error.get('description', error)}")

    async def _ask(self, subject: str, data: bytes, headers: dict[str, str]) -> Any:
        from nats.errors import Error

        try:
            return await self._connection.client.request(subject, data, timeout=_ASK_S, headers=headers or None)
        except (TimeoutError, Error, OSError) as error:
            reason = "no answer" if isinstance(error, TimeoutError) else said(error)
            raise StoreUnreachable(f"bucket `{self._bucket}`: {reason}") from error
