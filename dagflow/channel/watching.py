"""Watching: lets somebody see the records that go into a channel, while that is wanted.

The channel's way in is swapped for one that looks, and swapped back: nothing is paid while nobody watches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.channel.channel import Channel
    from dagflow.record import Record


def watch(channel: Channel, onlooker: Callable[[Record], None] | None) -> None:
    """Show each record that goes in to an onlooker, which must neither raise nor change it; None for nobody."""
    push = channel._buffer.push
    if onlooker is None:
        channel._push = push
        return

    def shown(record: Record) -> None:
        onlooker(record)
        push(record)

    channel._push = shown
