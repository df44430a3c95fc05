"""WorkerServer: a worker that answers over the protocol of remote workers.

It bounds what waits, refuses the rest at once, and drains: calls under way are finished, new ones are refused, and
health says so meanwhile. A call whose client has gone is cancelled.
"""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from dagflow.errors import WorkerError, describe
from dagflow.remote import wire
from dagflow.remote.protocol import FAULT_KEY, SERVICE, messages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from dagflow.inference.guarded import GuardedWorker
    from dagflow.redaction import Redactor

_SOON_S: Final = 1.0  # when a call that is refused now may be welcome
_MAX_MESSAGE_BYTES: Final = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Security:
    """How a server is protected; PEM texts.

    Attributes:
        token: what each call has to show; None for nothing.
        certificate, key: the server's own; None for no encryption.
        client_ca: whose certificates clients must have; None for no matter.
    """

    token: str | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    client_ca: bytes | None = None


class WorkerServer:
    """Serves one worker.

    Args:
        max_waiting: how many calls may wait for the worker's guards; more are refused as `overloaded`.
        clock: the worker's, in seconds.
        redactor: knows what no client may be told.
    """

    def __init__(
        self,
        worker: GuardedWorker,
        security: Security,
        max_waiting: int,
        clock: Callable[[], float],
        log: Any,
        redactor: Redactor,
    ) -> None:
        self._worker = worker
        self._security = security
        self._max_waiting = max_waiting
        self._clock = clock
        self._log = log
        self._redactor = redactor
        self._draining = False
        self._running = 0
        self._idle = asyncio.Event()
        self._server: Any = None
        self._health: Any = None

    async def start(self, address: str) -> int:
        """Begin to listen; port 0 is any. Give the port.

        Raises:
            OSError: it can't listen there.
        """
        import grpc
        from grpc_health.v1 import health, health_pb2, health_pb2_grpc
        from grpc_reflection.v1alpha import reflection

        settings = [("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES), ("grpc.so_reuseport", 0)]
        self._server = server = grpc.aio.server(options=settings)
        self._status = {name: getattr(grpc.StatusCode, name) for name in (*wire.STATUS_OF.values(), "UNAUTHENTICATED")}
        server.add_generic_rpc_handlers([self._handlers(grpc)])
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        for name in ("", SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        try:
            port = self._listen(grpc, address)
        except RuntimeError as error:
            raise OSError(f"cannot listen at `{address}`: {describe(error)}") from error
        await server.start()
        return port

    async def drain(self, timeout_s: float) -> bool:
        """Refuse new calls, finish those under way, and end; give whether all were finished in time."""
        self._draining = True
        if self._health is not None:
            await self._health.enter_graceful_shutdown()
        finished = True
        try:
            async with asyncio.timeout(timeout_s):
                while self._running:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            finished = False
        await self.close()
        return finished

    async def close(self) -> None:
        """End at once; calls under way are cancelled."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(0)

    def _listen(self, grpc: Any, address: str) -> int:
        security = self._security
        if security.certificate is None:
            return self._server.add_insecure_port(address)
        pairs = [(security.key, security.certificate)]
        credentials = grpc.ssl_server_credentials(pairs, security.client_ca, security.client_ca is not None)
        return self._server.add_secure_port(address, credentials)

    def _handlers(self, grpc: Any) -> Any:
        kinds = messages()
        methods = {
            "Infer": (grpc.unary_unary_rpc_method_handler, self._infer, kinds.InferRequest),
            "InferStream": (grpc.unary_stream_rpc_method_handler, self._infer_stream, kinds.InferRequest),
            "Embed": (grpc.unary_unary_rpc_method_handler, self._embed, kinds.EmbedRequest),
            "Health": (grpc.unary_unary_rpc_method_handler, self._tell_health, kinds.HealthRequest),
        }
        handlers = {
            name: build(method, kind.FromString, lambda message: message.SerializeToString())
            for name, (build, method, kind) in methods.items()
        }
        return grpc.method_handlers_generic_handler(SERVICE, handlers)

    async def _infer(self, packed: Any, context: Any) -> Any:
        async def answer() -> Any:
            return wire.pack_completion(await self._worker.infer(self._request(packed, context)))

        return await self._answered(answer, context)

    async def _embed(self, packed: Any, context: Any) -> Any:
        async def answer() -> Any:
            return wire.pack_embeddings(await self._worker.embed(list(packed.texts)))

        return await self._answered(answer, context)

    async def _infer_stream(self, packed: Any, context: Any) -> AsyncIterator[Any]:
        await self._admit(context)
        self._running += 1
        stream = None
        try:
            stream = self._worker.stream(self._request(packed, context))
            async for chunk in stream:
                yield wire.pack_chunk(chunk)
        except Exception as error:
            await self._fail(error, context)
        finally:
            try:
                if stream is not None:
                    await stream.aclose()
            finally:
                self._leave()

    async def _tell_health(self, packed: Any, context: Any) -> Any:
        await self._check_token(context)
        worker = self._worker
        return messages().HealthReply(
            worker=f"{worker.name} ({worker.type})",
            draining=self._draining,
            busy=worker.tally.busy,
            waiting=worker.waiting,
        )

    async def _answered(self, answer: Callable[[], Awaitable[Any]], context: Any) -> Any:
        await self._admit(context)
        self._running += 1
        try:
            return await answer()
        except Exception as error:
            await self._fail(error, context)
        finally:
            self._leave()

    async def _admit(self, context: Any) -> None:
        """Refuse a call that is not welcome."""
        await self._check_token(context)
        if self._draining:
            error = WorkerError("unavailable", "the server is about to end", retry_after=_SOON_S)
            await self._fail(error, context)
        if self._worker.waiting >= self._max_waiting > 0 or (not self._max_waiting and self._would_wait()):
            error = WorkerError("overloaded", "the server has too much to do", retry_after=_SOON_S)
            await self._fail(error, context)

    def _would_wait(self) -> bool:
        try:
            return bool(self._worker.wait_s(None))
        except WorkerError:
            return False  # the call itself will be told

    async def _check_token(self, context: Any) -> None:
        token = self._security.token
        if token is None:
            return
        given = dict(context.invocation_metadata() or ()).get("authorization", "")
        if not hmac.compare_digest(str(given).encode(), f"Bearer {token}".encode()):
            error = WorkerError("refused", "the server demands another `token`")
            await self._fail(error, context, "UNAUTHENTICATED")

    async def _fail(self, error: Exception, context: Any, status: str | None = None) -> None:
        fault = wire.pack_fault(error)
        fault.message = self._redactor.redact(fault.message)
        if not isinstance(error, WorkerError):
            self._log.error("the worker failed", error=describe(error))
        context.set_trailing_metadata(((FAULT_KEY, fault.SerializeToString()),))
        # What a status may hold is less than what a fault may.
        await context.abort(self._status[status or wire.STATUS_OF[fault.kind]], fault.message[:1000])

    def _request(self, packed: Any, context: Any) -> Any:
        left_s = context.time_remaining()
        request = wire.unpack_request(packed, None if left_s is None else self._clock() + left_s)
        request.timeout_s = left_s
        return request

    def _leave(self) -> None:
        self._running -= 1
        if not self._running:
            self._idle.set()
