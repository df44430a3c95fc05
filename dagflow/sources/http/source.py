"""Source `http`: an OpenAI-compatible service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.plugin import Source
from dagflow.sources.http.asked import WRITTEN
from dagflow.sources.http.options import HttpOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from dagflow.addresses import Address
    from dagflow.plugin import Context
    from dagflow.record import Outcome, Record
    from dagflow.sources.http.door import Door
    from dagflow.sources.http.endpoints import Endpoints
    from dagflow.sources.http.listener import Listener
    from dagflow.sources.http.siblings import Siblings

_CLOSE_S = 2.0  # how long answers may take to go out once all records have settled


class Http(Source):
    """Serves `/v1/chat/completions`, `/v1/completions`, `/v1/embeddings`, `/v1/models` and `/v1/records`.

    Each request is a record with `input`, `messages`, `parameters`, `model` and `operation`, whose answer a sink of
    type `reply` gives. What ends otherwise is answered with an error.
    """

    Options = HttpOptions
    finite = False
    can_cancel = True
    serves = True
    splits = replaceable = True

    address: Address | None = None
    _listener: Listener | None = None
    _door: Door | None = None
    _endpoints: Endpoints
    _siblings: Siblings | None = None
    _switch: Callable[[], None] | None = None

    def writes(self) -> set[str]:
        return {*WRITTEN, *self.options.fields}

    def ports(self) -> set[str]:
        return set(self.options.routes.values())

    def exposed_at(self) -> str | None:
        options = self.options
        return None if options.listen.is_loopback or options.insecure else str(options.listen)

    async def open(self, context: Context) -> None:
        from dagflow.sources.http.asking import Asking
        from dagflow.sources.http.door import Door
        from dagflow.sources.http.endpoints import Endpoints
        from dagflow.sources.http.listener import Listener
        from dagflow.sources.http.recording import Recording
        from dagflow.sources.http.siblings import Siblings

        await super().open(context)
        options = self.options
        self._door = door = Door(context, options.max_waiting, options.on_disconnect == "continue")
        if not context.share.is_all:
            self._siblings = Siblings(context.share, context.name)
        asking, recording = Asking(options, context, door), Recording(options, context, door)
        self._endpoints = endpoints = Endpoints(options, context, asking, recording, self._siblings)
        before = context.replaces
        if isinstance(before, Http) and before.options.listen == options.listen:
            self.address, self._switch = before.address, before._listener.renew(options, endpoints.handle)
            return
        self._listener = Listener(options, endpoints.handle, self._siblings and self._siblings.own_path)
        self.address = await self._listener.open()
        context.logger.info("listening", address=f"{'https' if options.tls else 'http'}://{self.address}")

    def replace(self, before: Source) -> None:
        assert isinstance(before, Http)
        if self._switch is not None:
            self._switch()
            self._listener, before._listener = before._listener, None
        self._door.replace(before._door, {None, *self.ports()})
        self._endpoints.replace(before._endpoints)

    def records(self) -> AsyncIterator[Record]:
        return self._door.records()

    def on_answer(self, record: Record, answer: Record) -> None:
        self._door.take_answer(record, answer)

    def settle(self, record: Record, outcome: Outcome) -> None:
        self._door.settle(record, outcome)

    async def close(self) -> None:
        listener, self._listener = self._listener, None
        if self._door is not None:
            self._door.abandon()
        if listener is not None:
            await listener.close(_CLOSE_S)
        if self._siblings is not None:
            await self._siblings.close()
