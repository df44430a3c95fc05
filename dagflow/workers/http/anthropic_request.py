"""Anthropic's dialect: chats and parameters in OpenAI's shape, written as its Messages API wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dagflow.chat import text_of
from dagflow.errors import WorkerError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CHOICES = {"auto": "auto", "none": "none", "required": "any"}


def write_chat(messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Write a chat as `messages`, and as `system` what its system messages say.

    Raises:
        WorkerError: a message cannot be written so.
    """
    system, chat = [], []
    for message in messages:
        role = message.get("role")
        if role in ("system", "developer"):
            system.append(text_of(message))
        elif role == "tool":
            _add_result(chat, message)
        elif message.get("tool_calls"):
            calls = [_write_call(call) for call in message["tool_calls"]]
            chat.append({"role": role, "content": [*_parts_of(message), *calls]})
        else:
            content = message.get("content")
            chat.append({"role": role, "content": _parts_of(message) if isinstance(content, list) else content or ""})
    return {"messages": chat, **({"system": "\n\n".join(system)} if system else {})}


def write_parameters(given: Mapping[str, Any], max_tokens: int) -> dict[str, Any]:
    """Write parameters; what has no other name there is left as it is.

    Raises:
        WorkerError: a parameter cannot be written so.
    """
    parameters = {name: value for name, value in given.items() if value is not None}
    most = (parameters.pop("max_completion_tokens", None), parameters.pop("max_tokens", None))
    parameters["max_tokens"] = next((number for number in most if number is not None), max_tokens)
    if "stop" in parameters:
        stop = parameters.pop("stop")
        parameters["stop_sequences"] = [stop] if isinstance(stop, str) else stop
    if "user" in parameters:
        parameters["metadata"] = {"user_id": parameters.pop("user")}
    if isinstance(parameters.get("tools"), list):
        parameters["tools"] = [_write_tool(tool) for tool in parameters["tools"]]
    choice = _write_choice(parameters.get("tool_choice"), parameters.pop("parallel_tool_calls", True))
    return {**parameters, "tool_choice": choice} if choice is not None else parameters


def _write_choice(choice: Any, parallel: Any) -> Any:
    if isinstance(choice, str):
        choice = {"type": _CHOICES.get(choice, choice)}
    elif isinstance(choice, dict) and isinstance(choice.get("function"), dict):
        choice = {"type": "tool", "name": choice["function"].get("name")}
    if parallel is False:
        choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
    return choice


def _write_tool(tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        return tool  # one of Anthropic's own shape
    described = {"description": function["description"]} if function.get("description") else {}
    schema = function.get("parameters") or {"type": "object", "properties": {}}
    return {"name": function.get("name"), **described, "input_schema": schema}


def _write_call(call: Any) -> dict[str, Any]:
    try:
        function = call["function"]
        arguments = msgspec.json.decode(function.get("arguments") or "{}")
        return {"type": "tool_use", "id": call.get("id"), "name": function["name"], "input": arguments}
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise WorkerError("refused", "a tool call in the chat has no name, or arguments that are no JSON") from error


def _add_result(chat: list[dict[str, Any]], message: Mapping[str, Any]) -> None:
    """Add what a tool gave: all results of one turn belong into one message."""
    content = _parts_of(message) if isinstance(message.get("content"), list) else message.get("content") or ""
    result = {"type": "tool_result", "tool_use_id": message.get("tool_call_id"), "content": content}
    before = chat[-1]["content"] if chat and chat[-1]["role"] == "user" else None
    if isinstance(before, list) and before and before[-1].get("type") == "tool_result":
        before.append(result)
    else:
        chat.append({"role": "user", "content": [result]})


def _parts_of(message: Mapping[str, Any]) -> list[Any]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [_write_part(part) for part in content or ()]


def _write_part(part: Any) -> Any:
    if not isinstance(part, dict) or part.get("type") != "image_url":
        return part
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise WorkerError("refused", "an image in the chat has no `url`")
    if not url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": url}}
    kind, comma, data = url.removeprefix("data:").partition(",")
    if not comma or not kind.endswith(";base64"):
        raise WorkerError("refused", "an image in the chat is a data URL, but not one in base64")
    media_type = kind.removesuffix(";base64")
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
