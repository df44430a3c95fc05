"""Chat messages: what is one, and its text."""

from __future__ import annotations

from typing import Any

import pytest

from dagflow.chat import is_message, last_user_text, text_of

PARTS = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "b"}]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"role": "user", "content": "hi"}, "hi"),
        ({"role": "user", "content": PARTS}, "ab"),
        ({"role": "user", "content": []}, ""),
        ({"role": "assistant", "content": None}, ""),
        ({"role": "assistant", "tool_calls": []}, ""),
    ],
)
def test_messages_have_a_text(message: dict[str, Any], text: str) -> None:
    """It may be empty; parts of other kinds than text are left out."""
    assert is_message(message)
    assert text_of(message) == text


@pytest.mark.parametrize(
    "value",
    [
        "hi",
        {"content": "no role"},
        {"role": 1, "content": "hi"},
        {"role": "user", "content": 5},
        {"role": "user", "content": {"type": "text", "text": "a"}},
        {"role": "user", "content": ["a"]},
        {"role": "user", "content": [{"type": "text"}]},
        {"role": "user", "content": [{"type": "text", "text": None}]},
    ],
)
def test_what_is_no_message(value: Any) -> None:
    """Such a thing has no text that could be taken."""
    assert not is_message(value)


def test_the_last_user_message_asks() -> None:
    """Answers and instructions do not; where nobody asks, there is no text."""
    user, assistant = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}
    assert last_user_text([{"role": "user", "content": "Who?"}, user, assistant]) == "Why?"
    assert last_user_text([assistant]) == last_user_text([{"role": "user"}]) == ""
