"""Chat messages in OpenAI's shape: `{"role": "user", "content": "Why?"}`.

The content is a text, or a list of parts of which those of type `text` have one, or nothing, as where
an assistant calls tools.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def is_message(value: Any) -> bool:
    """Whether a value is a chat message."""
    return isinstance(value, dict) and isinstance(value.get("role"), str) and _is_content(value.get("content"))


def last_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the last user message; parts of other kinds than text are left out."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return text_of(message)
    return ""


def text_of(message: Mapping[str, Any]) -> str:
    """Return the text of one chat message; parts of other kinds than text are left out."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if part.get("type") == "text")


def _is_content(value: Any) -> bool:
    return value is None or isinstance(value, str) or (isinstance(value, list) and all(map(_is_part, value)))


def _is_part(value: Any) -> bool:
    return isinstance(value, dict) and (value.get("type") != "text" or isinstance(value.get("text"), str))
