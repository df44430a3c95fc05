"""Lines: what a record looks like in the output."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from alone import complaints

from dagflow.completion import Completion
from dagflow.errors import ExpressionError, InvalidField
from dagflow.exchange import Usage
from dagflow.record import Record
from dagflow.sinks.lines import LineOptions
from dagflow.sinks.stdout import Stdout

ANSWER = Completion("four", "length", "m", Usage(3, 1))


def encode(record: Record, **options: Any) -> bytes:
    """Give the line of one record."""
    return LineOptions.model_validate(options).build_encoder()(record)


def test_by_default_a_line_has_the_id_and_all_fields() -> None:
    """In their order, in UTF-8, and nothing else."""
    record = Record({"input": "2+2 — é\n", "n": [1, None, 0.5]}, "a:1", session="s", meta={"x": 1})
    assert encode(record) == '{"id":"a:1","input":"2+2 — é\\n","n":[1,null,0.5]}\n'.encode()


def test_completions_are_objects() -> None:
    """Wherever they are."""
    line = json.loads(encode(Record({"completion": ANSWER, "others": [ANSWER]})))
    assert line["completion"] == line["others"][0] == ANSWER.as_dict()


def test_fields_chooses_them_and_their_order() -> None:
    """The record's own attributes may be among them."""
    record = Record({"b": 1, "a": 2, "c": 3}, "x", "s", 5, 7.0, {"tier": "gold"})
    assert encode(record, fields=["a", "b"]) == b'{"a":2,"b":1}\n'
    assert json.loads(encode(record, fields=["meta", "id", "c", "session", "priority", "deadline"])) == {
        "meta": {"tier": "gold"},
        "id": "x",
        "c": 3,
        "session": "s",
        "priority": 5,
        "deadline": 7.0,
    }
    assert encode(Record(id="x"), fields=["meta"]) == b'{"meta":{}}\n'


def test_a_missing_field_fails_the_record() -> None:
    """Null would be a lie."""
    with pytest.raises(InvalidField, match="field `a` should be there, as this sink writes it, but it is missing"):
        encode(Record(), fields=["a"])


def test_template_gives_text() -> None:
    """With one line feed at its end."""
    record = Record({"text": "é", "completion": ANSWER}, "a:1")
    assert (
        encode(record, template="{{ id }}: {{ text }} ({{ completion.usage.output_tokens }})\n")
        == "a:1: é (1)\n".encode()
    )
    with pytest.raises(ExpressionError, match="'nothing' is undefined"):
        encode(record, template="{{ nothing }}")


@pytest.mark.parametrize(
    ("value", "type_name"),
    [(object(), "object"), ([{1, object()}], "list"), ("\ud800", "str"), (time, "module"), ({(1, 2): 3}, "dict")],
)
@pytest.mark.parametrize("options", [{}, {"fields": ["good", "bad"]}])
def test_what_is_not_json_fails_the_record(value: object, type_name: str, options: dict[str, Any]) -> None:
    """And the message names the field."""
    with pytest.raises(InvalidField, match=f"field `bad` should be something .* of type `{type_name}`"):
        encode(Record({"good": 1, "bad": value}), **options)


def test_a_template_can_t_write_half_characters() -> None:
    """A lone surrogate is no text."""
    with pytest.raises(InvalidField, match="field `bad`"):
        encode(Record({"good": 1, "bad": "\ud800"}), template="{{ bad }}")


def test_endless_nesting_fails_the_record() -> None:
    """Not the program."""
    value: list[Any] = []
    value.append(value)
    with pytest.raises(InvalidField, match="field `bad`"):
        encode(Record({"bad": value}))


def test_openai_batch_lines() -> None:
    """The answer to a batch line has the form that its clients read."""
    line = json.loads(encode(Record({"completion": ANSWER}, "q1"), format="openai-batch"))
    assert (line["custom_id"], line["error"]) == ("q1", None)
    assert line["id"].startswith("batch_req_")
    response = line["response"]
    assert response["status_code"] == 200
    assert response["request_id"].startswith("req_")
    body = response["body"]
    assert body.pop("id").startswith("chatcmpl-")
    assert abs(body.pop("created") - time.time()) < 60
    assert body == {
        "object": "chat.completion",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "four"},
                "logprobs": None,
                "finish_reason": "length",
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4},
    }


def test_openai_batch_lines_tell_tool_calls_and_cached_tokens() -> None:
    """Where there are some; a call has no text then."""
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    answer = Completion("", "tool_calls", usage=Usage(5, 1, 3), tool_calls=calls)
    body = json.loads(encode(Record({"completion": answer}), format="openai-batch"))["response"]["body"]
    assert body["choices"][0]["message"] == {"role": "assistant", "content": None, "tool_calls": calls}
    assert body["usage"]["prompt_tokens_details"] == {"cached_tokens": 3}


def test_openai_batch_lines_of_failed_records() -> None:
    """What comes over an error port has its error, and no response."""
    error = {"code": "worker-overloaded", "message": "busy", "node": "llm", "attempt": 3}
    line = json.loads(encode(Record({"error": error}, "q1"), format="openai-batch"))
    assert (line["custom_id"], line["response"]) == ("q1", None)
    assert line["error"] == {"code": "worker-overloaded", "message": "busy"}
    with pytest.raises(InvalidField, match="field `completion` should be a completion"):
        encode(Record(), format="openai-batch")


@pytest.mark.parametrize(
    ("options", "reads", "reads_any"),
    [
        ({}, set(), []),
        ({"fields": ["id", "text", "meta"]}, {"text"}, []),
        ({"template": "{{ id }} {{ text }} {{ note | default('') }}"}, {"text"}, []),
        ({"format": "openai-batch"}, set(), [{"completion", "error"}]),
        ({"format": "stream"}, {"completion"}, []),
    ],
)
def test_reads(options: dict[str, Any], reads: set[str], reads_any: list[set[str]]) -> None:
    """What each record must have."""
    sink = Stdout(Stdout.Options.model_validate(options))
    assert (sink.reads(), sink.reads_any(), sink.writes()) == (reads, reads_any, set())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fields": ["a"], "template": "b"}, "`fields` and `template` exclude each other"),
        ({"fields": ["a"], "format": "openai-batch"}, '`fields` and `format = "openai-batch"` exclude each other'),
        ({"fields": ["a"], "format": "stream"}, '`fields` and `format = "stream"` exclude each other'),
        ({"template": "a", "format": "openai-batch"}, '`template` and `format = "openai-batch"` exclude each other'),
        ({"fields": []}, "at least 1 item"),
        ({"format": "csv"}, "'records', 'openai-batch' or 'stream'"),
        ({"template": "{{ a"}, "the template does not parse"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    """Each is refused when the file is validated."""
    ((_, text),) = complaints(Stdout, **options)
    assert message in text
