"""Worker `vllm`: a vLLM server, with its priorities, and with what it says of its load.

The load is asked for in the background, and only while somebody wants to know it: no call waits for it.
"""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from dagflow.errors import WorkerError
from dagflow.options import Duration
from dagflow.tasks import end
from dagflow.workers.http.load import Load, read_load
from dagflow.workers.http.options import BaseUrl
from dagflow.workers.openai import OpenAI

if TYPE_CHECKING:
    from dagflow.exchange import Request

_PATIENCE_S: Final = 5.0  # for a server's word on its load


class VLLM(OpenAI):
    """Asks a vLLM server, as `openai` does; parameters such as `guided_json` and `structured_outputs` are passed on.

    In a pool with `strategy = "least_busy"`, what the server has to do for others counts, too.
    """

    incidental = OpenAI.incidental | frozenset({"priority", "load_interval"})

    class Options(OpenAI.Options):
        base_url: BaseUrl = Field("http://127.0.0.1:8000/v1", description="where the server's endpoints begin")
        priority: bool = Field(
            False, description="pass on the record's priority, for a server with `--scheduling-policy priority`"
        )
        load_interval: Duration = Field(1.0, gt=0, description="how old the server's word on its load may get")

    _load: Load | None = None
    _asked_s = -math.inf
    _asking: asyncio.Task[None] | None = None

    async def close(self) -> None:
        if self._asking is not None:
            await end(self._asking)
        await super().close()

    def _body(self, request: Request, streams: bool) -> dict[str, Any]:
        body = super()._body(request, streams)
        if self.options.priority:
            body["priority"] = -round(request.priority)  # vLLM takes the lowest number first
        return body

    def load_hint(self) -> int | None:
        """Say how many calls the server has, as last heard; and ask it again, if that is too long ago."""
        now_s = self.context.clock()
        if now_s - self._asked_s >= self.options.load_interval and (self._asking is None or self._asking.done()):
            self._asked_s = now_s
            self._asking = asyncio.ensure_future(self._ask_load())
        return None if self._load is None else self._load.calls

    async def load(self) -> Load | None:
        """Ask the server what it has to do; None where it doesn't tell."""
        try:
            return read_load((await self._session.get("/../metrics")).decode(errors="replace"))
        except WorkerError:
            return None

    async def _ask_load(self) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                self._load = await self.load()
        except TimeoutError:
            self._load = None

    async def probe(self) -> str:
        found, load = await super().probe(), await self.load()
        return found if load is None else f"{found}; {load}"
