"""The service's own description, in OpenAPI 3.1: what `GET /openapi.json` answers."""

from __future__ import annotations

from typing import Any, Final

from dagflow.version import __version__

_JSON: Final = "application/json"
_ERRORS: Final = {
    400: "the request is wrong, or its prompt too long for the model",
    401: "there is no valid token",
    403: "the page may not use the service",
    404: "there is no such model or record",
    405: "the method is not possible here",
    408: "the body did not arrive in time",
    409: "there is a record of this id already, or the request was cancelled",
    413: "the body is too large",
    415: "the body is not of the type `application/json`",
    421: "the request is for another host",
    422: "the pipeline filtered the request out, or a key came with another request",
    429: "there is too much to do, or a limit is reached; `Retry-After` says when to come back",
    500: "the pipeline failed on the request",
    502: "the model failed",
    503: "the service is about to end",
    504: "the deadline has passed",
}
_OPEN: Final = {"type": "object", "additionalProperties": True}
_TEXTS: Final = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_COMMON: Final = {
    "model": {"type": ["string", "null"]},
    "user": {"type": ["string", "null"], "maxLength": 256},
    "priority": {"type": ["integer", "null"], "minimum": -1_000_000, "maximum": 1_000_000},
}
_STREAMED: Final = {
    **_COMMON,
    "stream": {"type": ["boolean", "null"]},
    "stream_options": {"type": ["object", "null"], "properties": {"include_usage": {"type": ["boolean", "null"]}}},
    "n": {"type": ["integer", "null"], "enum": [1, None]},
    "logprobs": {"enum": [None, False]},
}
_MESSAGE: Final = {
    "type": "object",
    "required": ["role"],
    "properties": {"role": {"type": "string"}, "content": {"type": ["string", "null"]}},
}
_BODIES: Final = {
    "ChatRequest": {
        **_OPEN,
        "required": ["messages"],
        "properties": {**_STREAMED, "messages": {"type": "array", "items": _MESSAGE, "minItems": 1}},
    },
    "CompletionRequest": {
        **_OPEN,
        "required": ["prompt"],
        "properties": {
            **_STREAMED,
            "prompt": {"type": "string"},
            "echo": {"enum": [None, False]},
            "best_of": {"enum": [None, 1]},
            "suffix": {"enum": [None, ""]},
        },
    },
    "EmbeddingRequest": {
        **_OPEN,
        "required": ["input"],
        "properties": {
            **_COMMON,
            "input": {"anyOf": [{"type": "string"}, _TEXTS]},
            "encoding_format": {"enum": [None, "float", "base64"]},
            "dimensions": {"type": "null"},
            "stream": {"enum": [None, False]},
            "n": {"enum": [1, None]},
            "logprobs": {"enum": [None, False]},
        },
    },
    "RecordRequest": {
        "type": "object",
        "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
        "additionalProperties": True,
        "properties": {
            "id": {"type": ["string", "null"], "maxLength": 256},
            "session": {"type": ["string", "null"], "maxLength": 256},
            "priority": _COMMON["priority"],
            "deadline": {"type": ["string", "null"], "pattern": r"^[1-9]\d{0,3}(ms|s|min|h)$"},
            "meta": {"type": ["object", "null"]},
            "model": _COMMON["model"],
        },
    },
}
_ERROR: Final = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}
_STREAM: Final[dict[str, Any]] = {"text/event-stream": {}}


def build_openapi(models: list[str], fields: list[str], demands_token: bool) -> dict[str, Any]:
    """Describe the endpoints of a service with these models and fields of records."""
    paths = {
        "/v1/records": {"post": _asked("RecordRequest", "take a record in", 202)},
        "/v1/records/{id}": {
            "get": _looked("say what has become of a record", "id"),
            "delete": _looked("cancel a record", "id"),
        },
        "/v1/models": {"get": _looked("list the models")},
        "/v1/models/{model}": {"get": _looked("describe one model", "model")},
    }
    if not fields:
        paths |= {
            "/v1/chat/completions": {"post": _asked("ChatRequest", "answer a chat", streams=True)},
            "/v1/completions": {"post": _asked("CompletionRequest", "answer a prompt", streams=True)},
            "/v1/embeddings": {"post": _asked("EmbeddingRequest", "make the vectors of texts")},
        }
    scheme = {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}} if demands_token else {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "dagflow", "version": __version__},
        "paths": paths,
        "components": {"schemas": {**_bodies(models, fields), "Error": _ERROR}, **scheme},
        **({"security": [{"token": []}]} if demands_token else {}),
    }


def _bodies(models: list[str], fields: list[str]) -> dict[str, Any]:
    if not models and not fields:
        return dict(_BODIES)
    served = {"model": {"enum": [*models, None]}} if models else {}
    bodies = {name: {**body, "properties": {**body["properties"], **served}} for name, body in _BODIES.items()}
    if fields:
        bodies["RecordRequest"]["required"] = list(fields)
    return bodies


def _asked(body: str, summary: str, later: int | None = None, streams: bool = False) -> dict[str, Any]:
    content = {_JSON: {"schema": {"$ref": f"#/components/schemas/{body}"}}}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": content},
        "responses": _responses(_STREAM if streams else {}, later),
    }


def _looked(summary: str, parameter: str | None = None) -> dict[str, Any]:
    named = {"name": parameter, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    return {"summary": summary, "parameters": [named] if parameter else [], "responses": _responses({})}


def _responses(more: dict[str, Any], later: int | None = None) -> dict[str, Any]:
    content = {_JSON: {"schema": _OPEN}}
    error = {_JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}
    good = {200: {"description": "the answer", "content": {**content, **more}}}
    if later is not None:
        good[later] = {"description": "accepted; `Location` says where to ask", "content": content}
    bad = {status: {"description": text, "content": error} for status, text in _ERRORS.items()}
    return {str(status): response for status, response in {**good, **bad}.items()}
