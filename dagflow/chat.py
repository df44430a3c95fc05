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


def merge_tool_calls(calls: list[dict[str, Any]] | None, deltas: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Give the tool calls with some deltas of a stream added: texts of `arguments` and names are joined.

    A delta says by its `index` which call it belongs to; one without is a call of its own.
    """
    merged = list(calls or ())
    for delta in deltas:
        index = min(delta.get("index", len(merged)), len(merged))
        if index == len(merged):
            merged.append({"id": None, "type": "function", "function": {"name": "", "arguments": ""}})
        call, function = merged[index], delta.get("function") or {}
        merged[index] = {
            "id": delta.get("id") or call["id"],
            "type": delta.get("type") or call["type"],
            "function": {
                name: call["function"].get(name, "") + (function.get(name) or "") for name in ("name", "arguments")
            },
        }
    return merged


def _is_content(value: Any) -> bool:
    return value is None or isinstance(value, str) or (isinstance(value, list) and all(map(_is_part, value)))


def _is_part(value: Any) -> bool:
    return isinstance(value, dict) and (value.get("type") != "text" or isinstance(value.get("text"), str))
