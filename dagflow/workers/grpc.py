"""Worker `grpc`: a worker on another machine, or in another language, that speaks dagflow's protocol for them.

The protocol is `dagflow/remote/v1/worker.proto`; `dagflow worker serve` is its server.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from dagflow.errors import PluginError, WorkerError
from dagflow.options import Duration, FilePath, Options, Secret, Size
from dagflow.plugin import ModelWorker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from dagflow.completion import Completion
    from dagflow.exchange import Chunk, Embeddings, Request
    from dagflow.plugin import Context

_LOCAL: Final = ("127.0.0.1", "localhost", "[::1]")
_OF_TLS: Final = ("ssl", "certificate", "handshake", "verification")
# What a status means where no fault comes with it: it is gRPC's own, or that of something in between.
_KINDS: Final = {
    "DEADLINE_EXCEEDED": "timeout",
    "UNAVAILABLE": "unavailable",
    "RESOURCE_EXHAUSTED": "overloaded",
    "CANCELLED": "unavailable",
    "INVALID_ARGUMENT": "refused",
    "UNAUTHENTICATED": "refused",
    "PERMISSION_DENIED": "refused",
}


class Grpc(ModelWorker):
    """Asks a server of dagflow's worker protocol at `address`."""

    incidental = frozenset(
        {"address", "token", "tls", "ca_file", "cert_file", "key_file", "server_name", "max_message", "keepalive"}
    )

    remote = True

    class Options(Options):
        address: str = Field(description="where the server listens: `HOST:PORT`")
        model: str | None = Field(None, description="the model to ask for; without it, the one that a record names")
        token: Secret | None = Field(None, description="what the server demands as a bearer token")
        tls: bool = Field(False, description="encrypt, and check the server's certificate")
        ca_file: FilePath | None = Field(None, description="certificates that are trusted instead of the system's")
        cert_file: FilePath | None = Field(None, description="this side's certificate, where the server wants one")
        key_file: FilePath | None = Field(None, description="the key of `cert_file`")
        server_name: str | None = Field(None, description="the name in the server's certificate, if not the host's")
        max_message: Size = Field(64 * 1024**2, ge=1024, description="the largest answer that is taken")
        keepalive: Duration = Field(30.0, gt=0, description="how often a silent connection is tried during a call")

        @field_validator("token")
        @classmethod
        def _fits_metadata(cls, token: Secret | None) -> Secret | None:
            if token is not None and not all(" " <= character <= "~" for character in token.get_secret_value()):
                raise PydanticCustomError("bad_token", "expected one line of ASCII, without control characters")
            return token

        @field_validator("address")
        @classmethod
        def _is_address(cls, address: str) -> str:
            host, _, port = address.rpartition(":")
            if not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
                text = "`{address}` is no address; expected `HOST:PORT`, such as `gpu-1:50051`"
                raise PydanticCustomError("bad_address", text, {"address": address})
            return address

        @model_validator(mode="after")
        def _fits(self) -> Grpc.Options:
            files = [name for name in ("ca_file", "cert_file", "key_file", "server_name") if getattr(self, name)]
            if files and not self.tls:
                raise PydanticCustomError("tls_off", "`{name}` has no effect without `tls = true`", {"name": files[0]})
            if (self.cert_file is None) is not (self.key_file is None):
                raise PydanticCustomError("half_a_pair", "`cert_file` and `key_file` go together")
            host = self.address.rpartition(":")[0]
            if self.token is not None and not self.tls and host not in _LOCAL:
                text = "a `token` would travel in clear to `{host}`; set `tls = true`"
                raise PydanticCustomError("token_in_clear", text, {"host": host})
            return self

    _channel: Any = None

    async def open(self, context: Context) -> None:
        await super().open(context)
        try:
            import grpc
        except ModuleNotFoundError:
            remedy = "install them with `pip install 'dagflow-engine[grpc]'`"
            raise PluginError(f"worker type `grpc` needs grpcio and protobuf; {remedy}") from None
        from dagflow.remote import wire
        from dagflow.remote.protocol import SERVICE, messages

        self._grpc, self._wire, kinds = grpc, wire, messages()
        self._channel = channel = self._connect()
        calls = {
            "Infer": (channel.unary_unary, kinds.Completion),
            "InferStream": (channel.unary_stream, kinds.Chunk),
            "Embed": (channel.unary_unary, kinds.Embeddings),
            "Health": (channel.unary_unary, kinds.HealthReply),
        }
        self._calls = {
            name: build(f"/{SERVICE}/{name}", lambda message: message.SerializeToString(), reply.FromString)
            for name, (build, reply) in calls.items()
        }
        token = self.options.token
        self._metadata = () if token is None else (("authorization", f"Bearer {token.get_secret_value()}"),)

    async def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def infer(self, request: Request) -> Completion:
        with self._told():
            packed = self._read(await self._ask("Infer", self._packed(request), request))
            return self._wire.unpack_completion(packed)

    async def stream(self, request: Request) -> AsyncIterator[Chunk]:
        with self._told():
            call = self._ask("InferStream", self._packed(request), request)
            try:
                async for packed in call:
                    yield self._wire.unpack_chunk(self._read(packed))
            finally:
                call.cancel()

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        from dagflow.remote.protocol import messages

        with self._told():
            packed = self._read(await self._ask("Embed", messages().EmbedRequest(texts=texts)))
            return self._wire.unpack_embeddings(packed)

    async def probe(self) -> str:
        from dagflow.remote.protocol import messages

        with self._told():
            health = self._read(await self._ask("Health", messages().HealthRequest()))
        if health.draining:
            raise WorkerError("unavailable", f"`{self.options.address}` is about to end")
        return f"`{health.worker}` answers at {self.options.address}"

    def _packed(self, request: Request) -> Any:
        packed = self._wire.pack_request(request)
        if self.options.model is not None:
            packed.model = self.options.model
        return packed

    def _ask(self, name: str, message: Any, request: Request | None = None) -> Any:
        if self._channel is None:
            raise WorkerError("unavailable", "the worker is closed", retryable=False)
        return self._calls[name](message, timeout=self._time_left(request), metadata=self._metadata)

    def _read(self, packed: Any) -> Any:
        """Give a message that came; gRPC gives None for what it can't read."""
        if packed is None:
            raise WorkerError("protocol", f"what `{self.options.address}` answers is no message of the protocol")
        return packed

    def _time_left(self, request: Request | None) -> float | None:
        """How long anybody will wait for the answer, in seconds: the server is told, and need not go on longer."""
        if request is None:
            return None
        deadline_s = None if request.deadline is None else request.deadline - self.context.clock()
        lengths = [length for length in (deadline_s, request.timeout_s) if length is not None]
        return max(min(lengths), 0.0) if lengths else None

    def _connect(self) -> Any:
        options = self.options
        settings = [
            ("grpc.max_receive_message_length", options.max_message),
            ("grpc.keepalive_time_ms", round(options.keepalive * 1000)),
            ("grpc.enable_retries", 0),  # the stage's `retry` owns them
            # Whoever asks again after a while wants it tried again, and not to hear of the last failure.
            ("grpc.max_reconnect_backoff_ms", 2000),
            # Two workers for one address have nothing in common.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if not options.tls:
            return self._grpc.aio.insecure_channel(options.address, settings)
        files = [_content(path) for path in (options.ca_file, options.key_file, options.cert_file)]
        if options.server_name is not None:
            settings.append(("grpc.ssl_target_name_override", options.server_name))
        return self._grpc.aio.secure_channel(options.address, self._grpc.ssl_channel_credentials(*files), settings)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Raise what gRPC raises in the classes of workers."""
        try:
            yield
        except self._grpc.aio.AioRpcError as error:
            raise self._error_of(error) from None

    def _error_of(self, error: Any) -> WorkerError:
        from dagflow.remote.protocol import FAULT_KEY

        for key, value in error.trailing_metadata() or ():
            if key == FAULT_KEY:
                return self._wire.unpack_fault(value)
        status, said = error.code().name, error.details() or ""
        address = self.options.address
        if status == "UNIMPLEMENTED":
            text = f"`{address}` does not speak version 1 of dagflow's worker protocol: {said}"
            return WorkerError("protocol", text)
        if status == "UNAVAILABLE" and any(word in said.lower() for word in _OF_TLS):
            text = (
                f"`{address}` and this worker do not agree on TLS: {said}; see to `tls`, `ca_file`, `server_name` and"
            )
            return WorkerError("unavailable", f"{text} `cert_file`", retryable=False)
        if status == "RESOURCE_EXHAUSTED" and "larger than max" in said:  # trying again would not make it smaller
            return WorkerError("protocol", f"`{address}`: {said}; an answer may have the length `max_message`")
        return WorkerError(_KINDS.get(status, "protocol"), f"`{address}`: {said or status.lower()}")


def _content(path: Any) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise PluginError(f"`{path}` can't be read: {error.strerror}") from error
