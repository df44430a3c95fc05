"""Client: asks the admin listener of a running pipeline."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from dagflow.errors import AdminError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from dagflow.admin.beacon import Beacon

_ASK_S: Final = 10.0  # longer than a tap is ever silent


class AdminClient:
    """Asks one listener; open it as a context."""

    def __init__(self, beacon: Beacon) -> None:
        self._beacon = beacon
        self._session: Any = None

    async def __aenter__(self) -> AdminClient:
        import aiohttp

        headers = {"Authorization": f"Bearer {self._beacon.token}"}
        self._session = aiohttp.ClientSession(self._beacon.address, headers=headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Give what a path answers, as JSON-like values.

        Raises:
            AdminError: nobody answers, or the answer is no.
        """
        async with self._asked(path, query) as answer, asyncio.timeout(_ASK_S):
            return await answer.json()

    async def lines(self, path: str, query: Mapping[str, str]) -> AsyncIterator[Any]:
        """Give the JSON lines that a path answers, as they come.

        Raises:
            AdminError: nobody answers, or the answer is no.
        """
        async with self._asked(path, query) as answer:
            rest = b""
            async for part in answer.content.iter_any():  # to read by lines would bound their length
                *lines, rest = (rest + part).split(b"\n")
                for line in filter(None, lines):  # the others only say that somebody is there
                    yield json.loads(line)

    @asynccontextmanager
    async def _asked(self, path: str, query: Mapping[str, str] | None) -> AsyncIterator[Any]:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_ASK_S, sock_read=_ASK_S)
        try:
            async with self._session.get(path, params=query, timeout=timeout) as answer:
                if answer.status >= 400:
                    raise AdminError(await _refusal(answer))
                yield answer
        except (ValueError, aiohttp.ContentTypeError) as error:
            raise AdminError(f"what answers at {self._beacon.address} is no admin listener") from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise AdminError(f"nobody answers at {self._beacon.address}: the pipeline has ended, or hangs") from error


async def _refusal(answer: Any) -> str:
    try:
        return (await answer.json())["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return f"the listener answered with status {answer.status}"
