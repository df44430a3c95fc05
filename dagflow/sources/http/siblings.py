"""Siblings: the other processes that listen at the same port.

The kernel chooses whom a connection reaches. What somebody may ask for again, by a record's id or an idempotency key,
belongs to one of them, and the others pass it on.

They meet at sockets in a folder of the run, which nobody else can enter.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from aiohttp import ClientConnectionError, ClientSession, ClientTimeout, UnixConnector, web

from dagflow.shares import bucket_of
from dagflow.sources.http.asked import read_object
from dagflow.sources.http.ids import new_id
from dagflow.sources.http.refusals import Refusal

if TYPE_CHECKING:
    from pathlib import Path

    from dagflow.shares import Share

RECORD: Final = "/v1/records"
RECORDS: Final = "/v1/records/"
_OF_ONE_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


class Siblings:
    """The processes that serve one source.

    Args:
        share: which of them this one is, and where they meet.
        name: the source's.
    """

    def __init__(self, share: Share, name: str) -> None:
        assert share.folder is not None
        self._share = share
        self._paths = [share.folder / f"{name}.{index}" for index in range(share.count)]
        self._sessions: dict[int, ClientSession] = {}
        self._stack = AsyncExitStack()

    @property
    def own_path(self) -> Path:
        """Where this one takes what others pass on."""
        return self._paths[self._share.index]

    def own_id(self) -> str:
        """Give a new id of a record that belongs here."""
        while self._owner(id := f"req_{new_id()}") != self._share.index:
            pass
        return id

    def owner_of(self, request: web.BaseRequest, body: bytes, request_id: str) -> int | None:
        """Say whose a request is; None if it may be answered here.

        Raises:
            Refusal: the body of a record is none.
        """
        if request.path.startswith(RECORDS):
            name = unquote(request.path.removeprefix(RECORDS))
        elif request.path == RECORD:
            given = read_object(body).get("id")
            name = given if isinstance(given, str) and given else request_id
        else:
            name = request.headers.get("Idempotency-Key", "")
        owner = self._owner(name) if name else self._share.index
        return None if owner == self._share.index else owner

    async def pass_on(self, owner: int, request: web.BaseRequest, body: bytes, request_id: str) -> web.StreamResponse:
        """Have another process answer; whoever leaves here leaves there, too.

        Raises:
            Refusal: it is not there now.
        """
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_ONE_HOP}
        headers["x-request-id"] = request_id
        session = await self._session(owner)
        try:
            async with session.request(request.method, request.raw_path, data=body or None, headers=headers) as answer:
                return await _relayed(request, answer)
        except ClientConnectionError:
            text = "the process that has this is being started again"
            raise Refusal(503, "unavailable", text, retry_after_s=1, should_retry=True) from None

    async def close(self) -> None:
        """Let go of what leads there; twice is fine."""
        self._sessions.clear()
        await self._stack.aclose()

    def _owner(self, name: str) -> int:
        return bucket_of.__wrapped__(name, self._share.count, "http")

    async def _session(self, owner: int) -> ClientSession:
        if owner not in self._sessions:
            connector = UnixConnector(str(self._paths[owner]), limit=0)
            timeout = ClientTimeout(total=None, sock_connect=5.0)
            made = ClientSession("http://sibling", connector=connector, timeout=timeout, auto_decompress=False)
            self._sessions[owner] = await self._stack.enter_async_context(made)
        return self._sessions[owner]


async def _relayed(request: web.BaseRequest, answer: Any) -> web.StreamResponse:
    """Give what was answered; a stream as it comes."""
    headers = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_ONE_HOP}
    headers["Server"] = answer.headers.get("Server", "")
    if answer.content_length is not None:
        return web.Response(body=await answer.read(), status=answer.status, headers=headers)
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    async for piece in answer.content.iter_any():
        await response.write(piece)
    await response.write_eof()
    return response
