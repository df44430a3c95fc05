"""JetStream: what the server says in its replies, and a look at a stream."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from dagflow.errors import PluginError
from dagflow.mesh.nats.connection import said

if TYPE_CHECKING:
    from dagflow.mesh.nats.connection import Connection


_ASK_S: Final = 5.0


class Origin(NamedTuple):
    """Where a message came from, as its reply subject says it.

    Attributes:
        sequence: its number in the stream.
        stored: when the stream took it, nanoseconds since the epoch; tells it from one of a stream that was made anew.
        deliveries: how often it was delivered, this time included.
    """

    sequence: int
    stored: str
    deliveries: int


def origin_of(reply: str) -> Origin:
    """Read a reply subject: `$JS.ACK.STREAM.CONSUMER.DELIVERIES.SEQUENCE.NUMBER.TIME.PENDING`.

    Newer servers put a domain and a hash of the account before the stream.

    Raises:
        ValueError: it is none of JetStream.
    """
    tokens = reply.split(".")
    if tokens[:2] != ["$JS", "ACK"] or len(tokens) < 9:
        raise ValueError(f"`{reply}` is no reply subject of JetStream")
    shift = 0 if len(tokens) == 9 else 2
    return Origin(int(tokens[5 + shift]), tokens[7 + shift], int(tokens[4 + shift]))


async def ask(connection: Connection, question: str, *args: Any) -> Any:
    """Ask JetStream: `question` is a method of the library's manager, such as `stream_info`.

    Raises:
        nats.errors.Error: it is refused, or there is no JetStream.
        TimeoutError: nobody answers.
    """
    # The library's own timeout may lose a cancellation that comes with the answer.
    async with asyncio.timeout(_ASK_S):
        return await getattr(connection.client.jetstream(timeout=None), question)(*args)


async def find_stream(connection: Connection, stream: str) -> Any:
    """Give what is known of a stream.

    Raises:
        PluginError: it is not there, or this may not be asked.
    """
    from nats.errors import Error
    from nats.js.errors import NotFoundError

    try:
        return await ask(connection, "stream_info", stream)
    except NotFoundError:
        raise PluginError(f"there is no stream `{stream}`; create it first") from None
    except (TimeoutError, Error) as error:
        raise PluginError(f"cannot ask for the stream `{stream}`: {reason_of(error)}") from error


def reason_of(error: BaseException) -> str:
    """Give the reason that an error of JetStream names."""
    from nats.errors import NoRespondersError

    told = getattr(error, "description", None)
    if told is None and (isinstance(error, NoRespondersError | TimeoutError) or getattr(error, "code", None) == 503):
        return "JetStream does not answer; is it enabled for this account?"
    return told or said(error)
