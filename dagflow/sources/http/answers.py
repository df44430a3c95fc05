"""Answers: what a record has become, in OpenAI's shapes. Whole answers here; streamed ones in `events.py`."""

from __future__ import annotations

from array import array
from base64 import b64encode
from sys import byteorder
from time import time
from typing import TYPE_CHECKING, Any, Final

from dagflow.completion import Completion
from dagflow.openai_shapes import build_chat_body, build_text_body
from dagflow.sources.http.refusals import Refusal

if TYPE_CHECKING:
    from dagflow.record import Record

WITHOUT_MODEL: Final = "dagflow"
"""The `model` of an answer of which nobody said who gave it: clients demand one."""


def completion_of(answer: Record) -> Completion:
    """Give the completion of an answer, or its `text` as one.

    Raises:
        Refusal: it has neither.
    """
    completion = answer.get("completion")
    if isinstance(completion, Completion):
        return completion
    text = answer.get("text")
    if isinstance(text, str):
        return Completion(text, model=answer.get("model"))
    raise _nothing("completion" if "embeddings" not in answer else "")


def build_chat(completion: Completion, id: str, asked_for: str | None) -> dict[str, Any]:
    """Build the answer of `/v1/chat/completions`."""
    model = completion.model or asked_for or WITHOUT_MODEL
    return build_chat_body(completion, f"chatcmpl-{id}", int(time()), model)


def build_text(completion: Completion, id: str, asked_for: str | None) -> dict[str, Any]:
    """Build the answer of `/v1/completions`."""
    model = completion.model or asked_for or WITHOUT_MODEL
    return build_text_body(completion, f"cmpl-{id}", int(time()), model)


def build_embeddings(answer: Record, encoding: str, asked_for: str | None) -> dict[str, Any]:
    """Build the answer of `/v1/embeddings`, from what stage `embed` writes.

    Raises:
        Refusal: there are no embeddings in it.
    """
    found = answer.get("embeddings")
    if not isinstance(found, dict) or not isinstance(found.get("vectors"), list):
        raise _nothing("")
    encode = _in_base64 if encoding == "base64" else list
    tokens = (found.get("usage") or {}).get("input_tokens", 0)
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(vector)}
            for index, vector in enumerate(found["vectors"])
        ],
        "model": found.get("model") or asked_for or WITHOUT_MODEL,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def build_models(models: list[str], created_s: int) -> dict[str, Any]:
    """Build the answer of `/v1/models`."""
    return {"object": "list", "data": [build_model(name, created_s) for name in models]}


def build_model(name: str, created_s: int) -> dict[str, Any]:
    """Build what is said of one model."""
    return {"id": name, "object": "model", "created": created_s, "owned_by": "dagflow"}


def _in_base64(vector: list[float]) -> str:
    packed = array("f", vector)
    if byteorder == "big":
        packed.byteswap()
    return b64encode(packed.tobytes()).decode()


def _nothing(missing: str) -> Refusal:
    """Say that an answer lacks what was asked for; nothing is `missing` where the pipeline makes something else."""
    if missing:
        return Refusal(500, "no-answer", f"the pipeline's answer has no {missing}", should_retry=False)
    return Refusal(400, "unsupported", "this model does not do what was asked for", should_retry=False)
