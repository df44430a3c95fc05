"""The output line of OpenAI's batch API: what a record answers to the batch line it came from.

`{"id", "custom_id", "response": {"status_code", "request_id", "body"}, "error"}`, where the body
is a chat completion; a record that came over an error port has its `error` instead.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from dagflow.completion import Completion
from dagflow.errors import InvalidField
from dagflow.openai_shapes import build_chat_body

if TYPE_CHECKING:
    from dagflow.record import Record


def build_answer(record: Record) -> dict[str, Any]:
    """Build the line's object. The record's id is the `custom_id`; the other ids are new.

    Raises:
        InvalidField: it has neither a `completion` nor an `error`.
    """
    unique = uuid4().hex
    answer = {"id": f"batch_req_{unique}", "custom_id": record.id, "response": None, "error": None}
    completion = record.get("completion")
    if isinstance(completion, Completion):
        body = build_chat_body(completion, f"chatcmpl-{unique}", int(time.time()), completion.model)
        answer["response"] = {"status_code": 200, "request_id": f"req_{unique}", "body": body}
    elif record.get("error"):
        answer["error"] = {"code": record["error"]["code"], "message": record["error"]["message"]}
    else:
        raise InvalidField("completion", "a completion, as stage `inference` writes it", completion)
    return answer
