"""What a scripted server answers without a script: as servers of models do, with what it was asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peers.scripted_server import Reply, Seen

METRICS = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 3.0
vllm:num_requests_waiting{engine="0",model_name="tiny"} 2.0
"""


def answer_as_a_model(seen: Seen) -> Reply:
    """Answer any request that a worker makes."""
    from peers.scripted_server import Reply, json_reply

    path = seen.path.partition("?")[0]
    if path.endswith("/models"):
        return json_reply({"object": "list", "data": [{"id": "tiny"}]})
    if path.endswith("/metrics"):
        return Reply([METRICS.encode()], 200, {"Content-Type": "text/plain"})
    body = seen.json
    if body.get("model") != "tiny":
        return json_reply({"error": {"message": "The model does not exist.", "code": "model_not_found"}}, 404)
    if path.endswith("/embeddings"):
        return _vectors(body["input"])
    most = body.get("max_tokens", 1)
    if type(most) is not int or most < 1:
        return json_reply({"error": {"message": "`max_tokens` is odd", "type": "invalid_request_error"}}, 400)
    text = asked(body)
    if text is None:
        return json_reply({"error": {"message": "nothing is asked", "type": "invalid_request_error"}}, 400)
    if path.endswith("/messages"):
        return _as_anthropic(text, body)
    return _as_openai(text, body)


def asked(body: dict[str, Any]) -> str | None:
    """Give the text of the last user message, or the prompt."""
    if "prompt" in body:
        return body["prompt"]
    contents = [m["content"] for m in body["messages"] if m["role"] == "user"]
    if not contents:
        return None
    content = contents[-1]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def words_of(text: str) -> list[str]:
    """Cut a text into pieces of some characters."""
    return [text[start : start + 5] for start in range(0, len(text), 5)]


def _vectors(texts: list[str]) -> Reply:
    from peers.scripted_server import json_reply

    data = [{"index": n, "embedding": [float(len(text)), 1.0]} for n, text in enumerate(texts)]
    usage = {"prompt_tokens": sum(len(text.split()) for text in texts)}
    return json_reply({"data": data[::-1], "model": "tiny", "usage": usage})


def _as_openai(text: str, body: dict[str, Any]) -> Reply:
    from peers.scripted_server import delta, events, json_reply

    usage = {"prompt_tokens": 7, "completion_tokens": len(words_of(text)), "prompt_tokens_details": None}
    if not body.get("stream"):
        message = {"role": "assistant", "content": text}
        choice = {"text": text} if "prompt" in body else {"message": message}
        return json_reply({"model": "tiny", "choices": [{**choice, "finish_reason": "stop"}], "usage": usage})
    if "prompt" in body:
        parts = [{"model": "tiny", "choices": [{"text": word, "finish_reason": None}]} for word in words_of(text)]
        parts.append({"model": "tiny", "choices": [{"text": "", "finish_reason": "stop"}]})
    else:
        parts = [delta("", role="assistant"), *map(delta, words_of(text)), delta(finish_reason="stop")]
    if (body.get("stream_options") or {}).get("include_usage"):
        parts.append({"model": "tiny", "choices": [], "usage": usage})
    return events(*parts)


def _as_anthropic(text: str, body: dict[str, Any]) -> Reply:
    from peers.scripted_server import events, json_reply

    counts = {"input_tokens": 7, "output_tokens": len(words_of(text))}
    if not body.get("stream"):
        content = [{"type": "text", "text": text}]
        return json_reply({"model": "tiny", "content": content, "stop_reason": "end_turn", "usage": counts})
    start = {"type": "message_start", "message": {"model": "tiny", "usage": {**counts, "output_tokens": 1}}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    pieces = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": word}}
        for word in words_of(text)
    ]
    ends = [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": len(pieces)}},
        {"type": "message_stop"},
    ]
    return events(start, {"type": "ping"}, block, *pieces, *ends, done=False)
