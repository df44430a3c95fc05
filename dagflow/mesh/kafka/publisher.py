"""Publisher: hands messages to brokers, and knows of each whether all replicas have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dagflow.errors import NotPublished, PluginError
from dagflow.mesh.kafka.client import Lifetime, load_aiokafka, reason_of, settings

if TYPE_CHECKING:
    from collections.abc import Sequence

_OF_LOGIN: Final = ("Connection", "Authorization", "Authentication", "Sasl", "NoBrokers")


class Publisher:
    """A producer of one topic.

    Args:
        options: those of the sink.
    """

    def __init__(self, options: Any) -> None:
        self._options = options
        self._producer: Any = None

    async def open(self) -> None:
        """Connect.

        Raises:
            PluginError: there is no client library, or the brokers cannot be reached or refuse.
        """
        options, aiokafka = self._options, load_aiokafka("sink type `kafka`")
        self._errors = aiokafka.errors.KafkaError
        self._producer = aiokafka.AIOKafkaProducer(
            **settings(options),
            acks="all",
            enable_idempotence=options.idempotent,
            linger_ms=round(options.linger * 1000),
            max_batch_size=options.max_batch,
            max_request_size=options.max_request,
        )
        self._lifetime = Lifetime(self._producer, options.servers)
        try:
            await self._lifetime.start()
        except PluginError as error:
            cause = error.__cause__
            if not options.idempotent or any(word in type(cause).__name__ for word in _OF_LOGIN):
                raise
            text = f"the brokers take no idempotent producer ({reason_of(cause)}); set `idempotent = false`"
            raise PluginError(text) from cause

    async def close(self) -> None:
        """Let go of the connections; twice is fine."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await self._lifetime.stop()

    async def publish(self, payload: bytes, key: bytes | None, headers: Sequence[tuple[str, bytes]]) -> Any:
        """Send a message, and wait until it is acknowledged.

        Returns:
            Where it was stored: `topic_partition` and `offset`.

        Raises:
            NotPublished: it was not.
        """
        topic = self._options.topic
        try:
            return await (await self._producer.send(topic, payload, key, headers=headers))
        except self._errors as error:
            retryable = bool(error.retriable) or type(error).__name__ == "KafkaTimeoutError"
            raise NotPublished(topic, reason_of(error), retryable) from error
