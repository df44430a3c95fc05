"""Asked: what a request's body asks for, as the fields of a record.

Each endpoint has an `Operation`: how its body becomes fields. The record of every operation has `input`, `messages`,
`parameters`, `model` and `operation`; completions have their `prompt` beside them. What a body says wrong is refused
here, with the name of the key.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dagflow.chat import is_message, last_user_text
from dagflow.sources.http.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

WRITTEN: Final = frozenset({"input", "messages", "parameters", "model", "operation"})
"""The fields that every record of the source has."""

_OURS: Final = ("stream", "stream_options", "user", "priority", "metadata", "n")
_CHAT, _COMPLETION, _EMBEDDING = "chat", "text_completion", "embeddings"
_RECORD: Final = "record"
_OF_RECORD: Final = ("id", "session", "priority", "deadline", "meta")


@dataclass(slots=True)
class Asked:
    """What a request asks for.

    Attributes:
        fields: those of the record.
        model: the name that was asked for; None where the body has none.
        stream: whether the answer is wanted in chunks; with_usage: whether a last chunk is to tell the usage.
        encoding: of embeddings, `float` or `base64`.
        own: what else the body says of the record, such as its `user` and `priority`.
    """

    fields: dict[str, Any]
    model: str | None
    stream: bool = False
    with_usage: bool = False
    encoding: str = "float"
    own: dict[str, Any] = field(default_factory=dict)


def read_object(body: bytes) -> dict[str, Any]:
    """Read a body that has to be one JSON object.

    Raises:
        Refusal: it is something else.
    """
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:  # msgspec says at which byte
        raise wrong(f"the body is no JSON: {error}", code="invalid_json") from None
    if not isinstance(value, dict):
        raise wrong("the body should be a JSON object", code="invalid_json")
    return value


def read_chat(body: dict[str, Any]) -> Asked:
    """Read the body of `/v1/chat/completions`."""
    messages = body.pop("messages", None)
    if not isinstance(messages, list) or not messages:
        raise wrong("`messages` should be a list of at least one message", "messages")
    for index, message in enumerate(messages):
        if not is_message(message):
            raise wrong(f"`messages[{index}]` should be an object with `role` and `content`", "messages")
    fields = {"input": last_user_text(messages), "messages": messages}
    return _completed(body, fields, _CHAT)


def read_completion(body: dict[str, Any]) -> Asked:
    """Read the body of `/v1/completions`."""
    prompt = body.pop("prompt", None)
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise wrong("`prompt` should be one text; a request has one answer", "prompt")
    for name, plain in (("echo", False), ("best_of", 1), ("suffix", "")):
        value = body.pop(name, plain)
        if value is not None and (value != plain or isinstance(value, bool) is not isinstance(plain, bool)):
            raise wrong(f"`{name}` is not supported", name)
    fields = {"input": prompt, "messages": [{"role": "user", "content": prompt}], "prompt": prompt}
    return _completed(body, fields, _COMPLETION)


def read_embedding(body: dict[str, Any]) -> Asked:
    """Read the body of `/v1/embeddings`."""
    texts = body.pop("input", None)
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise wrong("`input` should be a text or a list of texts", "input")
    encoding = body.pop("encoding_format", None)
    encoding = "float" if encoding is None else encoding
    if encoding not in ("float", "base64"):
        raise wrong("`encoding_format` should be `float` or `base64`", "encoding_format")
    if body.pop("dimensions", None) is not None:
        raise wrong("`dimensions` is not supported", "dimensions")
    asked = _completed(body, {"input": texts, "messages": []}, _EMBEDDING)
    if asked.stream:
        raise wrong("embeddings cannot be streamed", "stream")
    asked.encoding = encoding
    return asked


def read_record(body: dict[str, Any]) -> Asked:
    """Read the body of `/v1/records`: its keys are the fields, but for those that say something of the record."""
    own = {name: body.pop(name) for name in _OF_RECORD if name in body}
    model = _model(body)
    text = body.get("input")
    usual = {"input": "", "messages": [], "parameters": {"stream": False}, "model": model, "operation": _RECORD}
    messages = body.get("messages")
    if messages is None and isinstance(text, str):
        usual["messages"] = [{"role": "user", "content": text}]
    elif text is None and isinstance(messages, list) and all(map(is_message, messages)):
        usual["input"] = last_user_text(messages)
    for name in body:
        if not name.isidentifier():
            raise wrong(f"`{name}` is no name of a field: letters, digits and `_`, no digit first", name)
    given = {name: value for name, value in body.items() if value is not None}
    return Asked({**usual, **given}, model, own=own)


OPERATIONS: Final[dict[str, Callable[[dict[str, Any]], Asked]]] = {
    "/v1/chat/completions": read_chat,
    "/v1/completions": read_completion,
    "/v1/embeddings": read_embedding,
    "/v1/records": read_record,
}
"""How the body of each endpoint is read; all of them may raise a `Refusal`."""


def whole(value: Any) -> Any:
    """Give a whole number as such, also where it is written `5.0`, which is the same in JSON."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def wrong(message: str, param: str | None = None, code: str = "invalid_value") -> Refusal:
    """Say what of a request is wrong."""
    return Refusal(400, code, message, param=param, should_retry=False)


def _completed(body: dict[str, Any], fields: dict[str, Any], operation: str) -> Asked:
    model = _model(body)
    body.pop("model", None)
    own = {name: body.pop(name, None) for name in _OURS}
    stream, options = own.pop("stream"), own.pop("stream_options")
    if not isinstance(stream, bool | None):
        raise wrong("`stream` should be true or false", "stream")
    if not isinstance(options, dict | None) or not isinstance((options or {}).get("include_usage"), bool | None):
        raise wrong("`stream_options` should be an object, with `include_usage` true or false", "stream_options")
    if own.pop("n") not in (None, 1):
        raise wrong("`n` should be 1: a request has one answer", "n")
    if body.get("logprobs") is not None and body["logprobs"] is not False:
        raise wrong("`logprobs` are not supported", "logprobs")
    parameters = {name: whole(value) for name, value in body.items() if value is not None}
    if not stream:
        parameters["stream"] = False  # nobody reads chunks: the model may answer at once
    fields |= {"parameters": parameters, "model": model, "operation": operation}
    return Asked(fields, model, bool(stream), bool(options and options.get("include_usage")), own=own)


def _model(body: dict[str, Any]) -> str | None:
    model = body.get("model")
    if not isinstance(model, str | None):
        raise wrong("`model` should be a name", "model")
    return model or None
