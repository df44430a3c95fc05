"""Live values: what becomes of the live completions among the fields of a record that goes elsewhere, or nowhere."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dagflow.completion import Completion
from dagflow.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable


def abandon_live(values: Iterable[Any]) -> None:
    """Say of every live completion among the values that nobody will read its chunks; what has ended stays readable."""
    for value in values:
        if isinstance(value, Completion) and value.is_live:
            value.abandon()


def abandon_dropped(before: Iterable[Any], after: Collection[Any]) -> None:
    """Abandon the live completions of `before` that `after` lacks, but for those that somebody is reading."""
    for value in before:
        if isinstance(value, Completion) and value.is_live and not value.is_read and all(value is not v for v in after):
            value.abandon()


async def await_live(values: Iterable[Any]) -> None:
    """Wait until no completion among the values is live; none of their chunks is for anybody."""
    for value in values:
        if isinstance(value, Completion) and value.is_live:
            value.abandon()
            with suppress(RecordError):  # it stands in the completion, for whoever looks
                await value.wait_ended()
