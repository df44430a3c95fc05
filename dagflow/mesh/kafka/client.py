"""Client: aiokafka, loaded when it is needed, what it is given, and its errors in words of this house."""

from __future__ import annotations

import asyncio
import logging
import ssl
from typing import TYPE_CHECKING, Any, Final

from dagflow.errors import PluginError, describe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from dagflow.mesh.kafka.options import KafkaOptions

_CONNECT_S: Final = 1.0
_LEAVE_S: Final = 1.5
_SILENT: Final = logging.NullHandler()
UNREACHABLE: Final = "none of {servers} can be reached as a Kafka broker"
_REFUSED: Final = {
    "TopicAuthorizationFailedError": "the brokers do not let this user use the topic",
    "GroupAuthorizationFailedError": "the brokers do not let this user use the group",
    "ClusterAuthorizationFailedError": "the brokers do not let this user do that",
    "AuthenticationFailedError": "the brokers do not accept `username` and `password`",
    "SaslAuthenticationFailed": "the brokers do not accept `username` and `password`",
    "UnsupportedSaslMechanismError": "the brokers know no such `sasl`",
    "UnknownTopicOrPartitionError": "there is no such topic, and the brokers create none",
    "InvalidTopicError": "no topic can have that name",
    "MessageSizeTooLargeError": "it is larger than the broker or `max_request` allows",
    "RecordListTooLargeError": "it is larger than the broker or `max_request` allows",
}


def load_aiokafka(type_name: str) -> Any:
    """Import the client library.

    Raises:
        PluginError: it is not installed; the message names the extra.
    """
    try:
        import aiokafka
    except ModuleNotFoundError:
        remedy = "install it with `pip install 'dagflow-engine[kafka]'`"
        raise PluginError(f"{type_name} needs aiokafka; {remedy}") from None
    # What it logs comes as errors of ours too; without a handler of somebody's it would go to the standard error.
    logging.getLogger("aiokafka").addHandler(_SILENT)
    return aiokafka


def settings(options: KafkaOptions) -> dict[str, Any]:
    """Give what every client is built with.

    Raises:
        PluginError: a file of certificates cannot be used.
    """
    security = ("SASL_" if options.sasl else "") + ("SSL" if options.tls else "PLAINTEXT")
    given: dict[str, Any] = {
        "bootstrap_servers": list(options.servers),
        "client_id": "dagflow",
        "security_protocol": security if options.sasl or options.tls else "PLAINTEXT",
        "request_timeout_ms": round(options.request_timeout * 1000),
    }
    if options.tls:
        given["ssl_context"] = _tls(options)
    if options.sasl is not None:
        given["sasl_mechanism"] = options.sasl.upper()
        given["sasl_plain_username"] = options.username
        given["sasl_plain_password"] = options.password.get_secret_value()
    return given


class Lifetime:
    """A client of the library, from its start to its end, whatever is cancelled in between.

    Args:
        client: a consumer or a producer.
    """

    def __init__(self, client: Any, servers: Sequence[str]) -> None:
        self._client = client
        self._servers = servers
        self._starting: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Connect.

        Raises:
            PluginError: no broker could be reached, or they refused.
        """
        self._starting = asyncio.ensure_future(self._client.start())
        try:
            # Cancelled while it connects, the library would leave a socket open.
            await asyncio.shield(self._starting)
        except Exception as error:
            raise PluginError(reason_of(error, self._servers)) from error

    async def stop(self) -> None:
        """Let go of everything, within a few seconds: a broker that is away answers no farewell."""
        if self._starting is not None:
            await bounded(self._starting, _CONNECT_S)
        if not await bounded(self._client.stop(), _LEAVE_S):
            connections = getattr(self._client, "client", None) or self._client._client
            await bounded(connections.close(), _CONNECT_S)


async def bounded(work: Awaitable[Any], timeout_s: float) -> bool:
    """Wait for the end of something, however it ends, and cancel it after a while; give whether it ended by itself."""
    task = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([task], timeout=timeout_s)
    if done:
        task.cancelled() or task.exception()  # that nobody else would ask for
    else:
        task.cancel()
        await asyncio.wait([task], timeout=timeout_s)
    return bool(done)


async def has_topic(options: KafkaOptions, topic: str) -> bool:
    """Say whether there is a topic; asks for all of them, since a question for one may create it.

    Raises:
        PluginError: there is no client library, or the brokers cannot be reached or refuse.
    """
    aiokafka = load_aiokafka("type `kafka`")
    consumer = aiokafka.AIOKafkaConsumer(**settings(options))
    lifetime = Lifetime(consumer, options.servers)
    try:
        await lifetime.start()
        return topic in await consumer.topics()
    finally:
        await lifetime.stop()


def reason_of(error: BaseException, servers: Sequence[str] = ()) -> str:
    """Say why something failed."""
    name = type(error).__name__
    if name in _REFUSED:
        return _REFUSED[name]
    if name in ("KafkaConnectionError", "NoBrokersAvailable") and servers:
        return UNREACHABLE.format(servers=", ".join(f"`{server}`" for server in servers))
    if name == "KafkaTimeoutError":
        return "no broker acknowledged it within `request_timeout`"
    return describe(error)


def _tls(options: KafkaOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=options.ca_file)
        if options.cert_file is not None:
            context.load_cert_chain(options.cert_file, options.key_file)
    except (OSError, ssl.SSLError) as error:
        raise PluginError(f"the certificates cannot be used: {describe(error)}") from error
    return context
