"""Formats: how the object of one line becomes a record.

A format takes what it knows from the object; what is left is the record's `meta`. Either way the
line's own `id` (or `custom_id`), `session`, `priority` and `deadline` become those of the record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from dagflow.chat import is_message, last_user_text
from dagflow.record import NO_META, Record
from dagflow.units import parse_duration

Object = dict[str, Any]
Format = Callable[[Object, Record], None]
"""Fills the fields of a record from an object, and takes what it used out of it; raises ValueError."""

BATCH_FIELDS: Final = frozenset({"messages", "input", "parameters"})


def is_batch_line(value: Object) -> bool:
    """Whether an object looks like a line of OpenAI's batch API."""
    return "custom_id" in value and "body" in value


def records_format(fields: Sequence[str]) -> Format:
    """Build the format of plain objects, of which `fields` become fields of the record."""

    def fill(value: Object, record: Record) -> None:
        for name in fields:
            field = value.pop(name, None)
            if field is None:  # `null` too: a prompt would say None
                raise ValueError(f"field `{name}` is missing; {_keys(value)}")
            record[name] = field

    return fill


def fill_from_batch(value: Object, record: Record) -> None:
    """Take `messages`, `input` and `parameters` from the `body` of a batch line; its `model` stays in meta."""
    body = value.pop("body", None)
    if not isinstance(body, dict):
        raise ValueError(f"`body` {_found(body, 'an object')}")
    messages = body.pop("messages", None)
    if not isinstance(messages, list):
        raise ValueError(f"`body.messages` {_found(messages, 'a list of messages')}")
    for index, message in enumerate(messages):
        if not is_message(message):
            raise ValueError(f"`body.messages[{index}]` should be an object with `role` and `content`")
    if "model" in body:
        value["model"] = body.pop("model")
    record["messages"] = messages
    record["input"] = last_user_text(messages)
    record["parameters"] = body


def take_id(value: Object, record: Record) -> None:
    """Make the line's `id`, or else its `custom_id`, that of the record.

    Raises:
        ValueError: it is of the wrong type.
    """
    given = value.pop("id", None)
    if given is None:
        given = value.pop("custom_id", None)
    if given is not None:
        record.id = _name("id", given)


def take_rest(value: Object, record: Record, clock: Callable[[], float]) -> None:
    """Make the line's own session, priority and deadline those of the record, and what is left its meta.

    Raises:
        ValueError: one of them is of the wrong type.
    """
    if (session := value.pop("session", None)) is not None:
        record.session = _name("session", session)
    if (priority := value.pop("priority", None)) is not None:
        record.priority = _priority(priority)
    if (deadline := value.pop("deadline", None)) is not None:
        record.deadline = clock() + _duration(deadline)
    record.meta = _meta(value)


def _name(what: str, value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"`{what}` {_found(value, 'a text or a whole number')}")


def _priority(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError(f"`priority` {_found(value, 'a whole number')}")


def _duration(value: Any) -> float:
    if not isinstance(value, str):
        raise ValueError(f"`deadline` {_found(value, 'a duration with a unit, such as `30s`')}")
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"`deadline` is `{value}`; {error}") from None


def _meta(value: Object) -> Any:
    """Give what is left of a line; an object under `meta` is not nested but part of it."""
    own = value.get("meta")
    if isinstance(own, dict):
        del value["meta"]
        value = {**own, **value}
    return value or NO_META


def _keys(value: Object) -> str:
    shown = [f"`{key}`" for key in list(value)[:5]]
    return f"the line has {', '.join(shown)}" + (", ..." if len(value) > 5 else "") if shown else "the line has no more"


def _found(value: Any, expected: str) -> str:
    return "is missing" if value is None else f"should be {expected}, but is `{type(value).__name__}`"
