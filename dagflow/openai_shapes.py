"""OpenAI's shapes of answers, as values for JSON: what batch lines and the service have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagflow.completion import Completion
    from dagflow.exchange import Usage


def build_chat_body(completion: Completion, id: str, created_s: int, model: str | None) -> dict[str, Any]:
    """Build a `chat.completion` of a whole completion."""
    message: dict[str, Any] = {"role": "assistant", "content": completion.text}
    if completion.tool_calls:
        message |= {"content": completion.text or None, "tool_calls": completion.tool_calls}
    if completion.reasoning:
        message["reasoning_content"] = completion.reasoning
    return {
        "id": id,
        "object": "chat.completion",
        "created": created_s,
        "model": model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": completion.finish_reason}],
        "usage": build_usage(completion.usage),
    }


def build_text_body(completion: Completion, id: str, created_s: int, model: str | None) -> dict[str, Any]:
    """Build a `text_completion` of a whole completion."""
    choice = {"index": 0, "text": completion.text, "logprobs": None, "finish_reason": completion.finish_reason}
    usage = build_usage(completion.usage)
    return {
        "id": id,
        "object": "text_completion",
        "created": created_s,
        "model": model,
        "choices": [choice],
        "usage": usage,
    }


def build_usage(usage: Usage | None) -> dict[str, Any] | None:
    """Build a `usage`; None where nothing is known."""
    if usage is None:
        return None
    built: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens:
        built["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    return built
