"""OpenTelemetry's conventions for generative AI: names and attributes, in one place, since they still change.

They live in open-telemetry/semantic-conventions-genai, and are in development.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from dagflow.inference.call import Call
    from dagflow.inference.guarded import GuardedWorker

VERSION: Final = "https://opentelemetry.io/schemas/1.38.0"

TOKEN_BOUNDS: Final = tuple(float(4**power) for power in range(14))
"""Bounds of numbers of tokens, as the conventions have them."""
DURATION_BOUNDS: Final = tuple(0.01 * 2**power for power in range(14))
"""Bounds of the durations of operations, in seconds."""
FIRST_CHUNK_BOUNDS: Final = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Bounds of times to a first chunk, in seconds."""

WORKFLOW_BOUNDS: Final = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)
"""Bounds of the durations of workflows, in seconds."""

_PROVIDERS: Final = {"openai": "openai", "anthropic": "anthropic"}


def call_attributes(worker: GuardedWorker, call: Call) -> dict[str, Any]:
    """Give the attributes of the span of one call of a worker; nothing of what was said."""
    options = worker.plugin.options
    request, usage = call.request, call.usage
    asked = getattr(options, "model", None) or (request.model if request is not None else None)
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": operation_of(call),
        "gen_ai.provider.name": provider_of(worker),
        "gen_ai.request.model": asked,
        "gen_ai.response.model": call.model,
        "gen_ai.conversation.id": request.session if request is not None else None,
        "gen_ai.response.finish_reasons": (call.finish_reason,) if call.finish_reason is not None else None,
        "gen_ai.usage.input_tokens": usage.input_tokens if usage is not None else None,
        "gen_ai.usage.output_tokens": usage.output_tokens if usage is not None else None,
        "dagflow.worker": worker.name,
        **server_of(options),
    }
    return {name: value for name, value in attributes.items() if value is not None}


def operation_of(call: Call) -> str:
    """Name what a call asks for."""
    if call.request is None:
        return "embeddings"
    return "chat" if call.request.prompt is None else "text_completion"


def provider_of(worker: GuardedWorker) -> str:
    """Name who answers: the conventions' own names where they have one, else the type of the worker."""
    type_name = worker.type.rpartition(":")[2]
    return _PROVIDERS.get(type_name, type_name)


def server_of(options: Any) -> dict[str, Any]:
    """Give host and port of the server that a worker asks, where its options tell."""
    url = getattr(options, "base_url", None)
    if not isinstance(url, str):
        return {}
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname, "server.port": port}


def span_name(attributes: dict[str, Any]) -> str:
    """Name the span of a call: `chat gpt-4o`."""
    model = attributes.get("gen_ai.request.model")
    return f"{attributes['gen_ai.operation.name']} {model}" if model else attributes["gen_ai.operation.name"]
