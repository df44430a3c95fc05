"""Wire: dagflow's values as messages of the protocol, and back.

Either side may be written in another language: what comes is checked, and what is wrong is told by name.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dagflow.chat import is_message
from dagflow.completion import Completion
from dagflow.errors import WorkerError, describe
from dagflow.exchange import Chunk, Embeddings, Request, Usage
from dagflow.remote.protocol import messages

if TYPE_CHECKING:
    from collections.abc import Sequence

STATUS_OF: Final = {
    "timeout": "DEADLINE_EXCEEDED",
    "unavailable": "UNAVAILABLE",
    "overloaded": "RESOURCE_EXHAUSTED",
    "refused": "INVALID_ARGUMENT",
    "context_window": "OUT_OF_RANGE",
    "content_policy": "FAILED_PRECONDITION",
    "protocol": "INTERNAL",
}
"""The status of a failed call, by the kind of its error."""

_to_json: Final = msgspec.json.encode
_from_json: Final = msgspec.json.decode


def pack_request(request: Request) -> Any:
    """Give the message of a request; what belongs to this pipeline alone stays here.

    Raises:
        WorkerError: of kind `refused`, where JSON can't hold it.
    """
    try:
        packed = messages().InferRequest(
            messages_json=_text(request.messages) if request.prompt is None else "",
            parameters_json=_text(request.parameters) if request.parameters else "",
            priority=float(request.priority),
            metadata={str(name): str(value) for name, value in request.metadata.items()},
        )
        for name in ("prompt", "model", "session"):
            if getattr(request, name) is not None:
                setattr(packed, name, getattr(request, name))
    except (TypeError, ValueError, OverflowError) as error:
        raise WorkerError("refused", f"the request can't be sent: {error}") from error
    return packed


def unpack_request(packed: Any, deadline: float | None) -> Request:
    """Give the request of a message; `deadline` is a point on this side's clock.

    Raises:
        WorkerError: of kind `refused`: it is no request.
    """
    prompt = packed.prompt if packed.HasField("prompt") else None
    chat = None if prompt is not None else _json_in(packed.messages_json or "[]", "messages_json", list)
    if chat is not None and not all(map(is_message, chat)):
        raise WorkerError("refused", "`messages_json` holds something else than messages with `role` and `content`")
    if not math.isfinite(packed.priority):  # it would have no place in a line
        raise WorkerError("refused", f"`priority` should be a number, but is `{packed.priority}`")
    return Request(
        messages=chat,
        prompt=prompt,
        model=packed.model if packed.HasField("model") else None,
        parameters=_json_in(packed.parameters_json or "{}", "parameters_json", dict),
        session=packed.session if packed.HasField("session") else None,
        deadline=deadline,
        metadata=dict(packed.metadata),
        priority=packed.priority,
    )


def pack_completion(completion: Completion) -> Any:
    """Give the message of a whole completion."""
    return _packed(
        messages().Completion, completion, completion.text, completion.tool_calls or (), completion.reasoning
    )


def pack_chunk(chunk: Chunk) -> Any:
    """Give the message of a chunk."""
    return _packed(messages().Chunk, chunk, chunk.text, chunk.tool_calls, chunk.reasoning)


def unpack_completion(packed: Any) -> Completion:
    """Give the completion of a message.

    Raises:
        WorkerError: of kind `protocol`: it has no finish reason, or no JSON where some should be.
    """
    chunk = unpack_chunk(packed)
    if chunk.finish_reason is None:
        raise WorkerError("protocol", "the completion has no `finish_reason`")
    calls = list(chunk.tool_calls) or None
    return Completion(chunk.text, chunk.finish_reason, chunk.model, chunk.usage, calls, chunk.reasoning)


def unpack_chunk(packed: Any) -> Chunk:
    """Give the chunk of a message.

    Raises:
        WorkerError: of kind `protocol`: there is no JSON where some should be.
    """
    calls: Sequence[Any] = ()
    if packed.tool_calls_json:
        try:
            calls = _json_in(packed.tool_calls_json, "tool_calls_json", list[dict[str, Any]])
        except WorkerError as error:
            raise WorkerError("protocol", str(error)) from None
    return Chunk(
        packed.text,
        packed.finish_reason or None,
        unpack_usage(packed),
        packed.model if packed.HasField("model") else None,
        tuple(calls),
        packed.reasoning,
    )


def pack_embeddings(vectors: Sequence[Sequence[float]]) -> Any:
    """Give the message of vectors."""
    kinds = messages()
    packed = kinds.Embeddings(vectors=[kinds.Vector(values=vector) for vector in vectors])
    _add_about(packed, getattr(vectors, "usage", None), getattr(vectors, "model", None))
    return packed


def unpack_embeddings(packed: Any) -> Embeddings:
    """Give the vectors of a message."""
    vectors = [list(vector.values) for vector in packed.vectors]
    return Embeddings(vectors, unpack_usage(packed), packed.model if packed.HasField("model") else None)


def unpack_usage(packed: Any) -> Usage | None:
    """Give the usage in a message; None if there is none.

    Raises:
        WorkerError: of kind `protocol`: it counts what can't be, which would spoil sums and budgets.
    """
    if not packed.HasField("usage"):
        return None
    usage = packed.usage
    cost = usage.cost if usage.HasField("cost") else None
    counts = usage.input_tokens, usage.output_tokens, usage.cached_tokens
    if min(counts) < 0 or not 0 <= (cost or 0.0) < math.inf:
        raise WorkerError("protocol", "the `usage` has a number that is below 0, or is none")
    return Usage(*counts, cost)


def pack_fault(error: Exception) -> Any:
    """Give the message of what a worker raised; what is no `WorkerError` is a bug, and told as `protocol`."""
    if not isinstance(error, WorkerError):
        error = WorkerError("protocol", f"the worker failed: {describe(error)}")
    fault = messages().Fault(kind=error.kind, message=str(error), retryable=error.retryable)
    if error.retry_after is not None:
        fault.retry_after_s = error.retry_after
    if error.status is not None:
        fault.status = error.status
    return fault


def unpack_fault(data: bytes) -> WorkerError:
    """Give the error of a serialized fault; an unknown kind, or no fault at all, is a fault of the protocol."""
    from google.protobuf.message import DecodeError

    try:
        fault = messages().Fault.FromString(data)
    except DecodeError:
        return WorkerError("protocol", "the server failed, and what it tells of that is no `Fault`")
    after = fault.retry_after_s if fault.HasField("retry_after_s") and 0 <= fault.retry_after_s < math.inf else None
    if fault.kind not in WorkerError.KINDS:
        text = f"the server failed with the unknown kind `{fault.kind}`: {fault.message}"
        return WorkerError("protocol", text, retryable=fault.retryable, retry_after=after)
    status = fault.status if 400 <= fault.status < 600 else None
    return WorkerError(fault.kind, fault.message, retryable=fault.retryable, retry_after=after, status=status)


def _packed(kind: Any, value: Any, text: str, calls: Sequence[Any], reasoning: str) -> Any:
    packed = kind(text=text, finish_reason=value.finish_reason or "", reasoning=reasoning)
    if calls:
        packed.tool_calls_json = _text(calls)
    _add_about(packed, value.usage, value.model)
    return packed


def _add_about(packed: Any, usage: Usage | None, model: str | None) -> None:
    if usage is not None:
        packed.usage.input_tokens = usage.input_tokens
        packed.usage.output_tokens = usage.output_tokens
        packed.usage.cached_tokens = usage.cached_tokens
        if usage.cost is not None:
            packed.usage.cost = usage.cost
    if model is not None:
        packed.model = model


def _text(value: Any) -> str:
    return _to_json(value).decode()


def _json_in(text: str, field: str, kind: type[Any]) -> Any:
    try:
        return _from_json(text, type=kind)
    except (msgspec.DecodeError, msgspec.ValidationError, RecursionError) as error:
        raise WorkerError("refused", f"`{field}` is not what it should be: {error}") from None
