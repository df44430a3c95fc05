"""Stage `post`: its steps, and what they do to the completion."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from alone import build, complaints, opened

from dagflow.completion import Completion
from dagflow.errors import InvalidField, InvalidOutput
from dagflow.exchange import Usage
from dagflow.record import Record
from dagflow.stages.post import Post

pytestmark = pytest.mark.anyio

SCHEMA = {
    "type": "object",
    "required": ["a"],
    "properties": {"a": {"$ref": "#/$defs/n"}},
    "$defs": {"n": {"type": "integer"}},
}


async def post(text: str, base: Path | None = None, **options: object) -> Record:
    """Run the stage on a record whose completion has this text."""
    async with opened(build(Post, base, **options)) as stage:
        record = Record({"completion": Completion(text, "length", "m", Usage(1, 2))})
        assert await stage.process(record) is record
    assert record["completion"].text == record[stage.options.output]
    return record


async def test_the_default_trims_and_mirrors() -> None:
    """The new completion keeps all but the text."""
    record = await post("  hello \n")
    assert record["text"] == "hello"
    completion = record["completion"]
    assert (completion.finish_reason, completion.model, completion.usage) == ("length", "m", Usage(1, 2))


async def test_an_unchanged_completion_stays_the_same_object() -> None:
    """Nothing is copied without need."""
    stage = build(Post)
    completion = Completion("hello")
    record = await stage.process(Record({"completion": completion}))
    assert record["completion"] is completion


async def test_the_completion_that_came_in_is_not_changed() -> None:
    """Other branches may share it."""
    completion = Completion(" a ")
    await build(Post).process(Record({"completion": completion}))
    assert completion.text == " a "


async def test_output_renames_the_mirror() -> None:
    """Nothing is written under `text` then."""
    record = await post("a", output="answer")
    assert record["answer"] == "a"
    assert "text" not in record


async def test_steps_run_in_their_order() -> None:
    """Each sees what the one before it left."""
    first, second = (
        {"type": "replace", "find": "a", "replacement": "b"},
        {"type": "replace", "find": "b", "replacement": "c"},
    )
    assert (await post("a", steps=[first, second]))["text"] == "c"
    assert (await post("a", steps=[second, first]))["text"] == "b"
    assert (await post(" a ", steps=[]))["text"] == " a "


async def test_trim_cuts_what_is_too_long() -> None:
    """White space at the cut goes, too."""
    assert (await post("one two", steps=[{"type": "trim", "max_chars": 4}]))["text"] == "one"
    assert (await post("one", steps=[{"type": "trim", "max_chars": 3}]))["text"] == "one"


async def test_replace_takes_texts_as_they_stand() -> None:
    """Without `regex` nothing in them is special."""
    step = {"type": "replace", "find": "a.c", "replacement": r"\1"}
    assert (await post("abc a.c", steps=[step]))["text"] == r"abc \1"


async def test_replace_takes_regular_expressions() -> None:
    """Groups can be used in the replacement."""
    step = {"type": "replace", "find": r"(\w+)@(\w+)", "replacement": r"\2 at \g<1>", "regex": True}
    assert (await post("me@home", steps=[step]))["text"] == "home at me"


async def test_redact_reaches_the_completion() -> None:
    """No sink can show what was taken out."""
    record = await post("Ask jo@example.com or 4111 1111 1111 1111.", steps=[{"type": "redact"}])
    assert record["completion"].text == "Ask [email] or [credit_card]."


async def test_redact_knows_kinds_and_replacement() -> None:
    """The template may use the kind."""
    step = {"type": "redact", "kinds": ["email"], "replacement": "<{{ kind | upper }}>"}
    assert (await post("jo@example.com, 10.0.0.1", steps=[step]))["text"] == "<EMAIL>, 10.0.0.1"


@pytest.mark.parametrize(
    "text", ['{"a": 1}', ' {"a": 1}\n', '```json\n{"a": 1}\n```', 'Sure, here:\n```\n{"a": 1}\n```\nAnything else?']
)
async def test_json_is_read_with_or_without_fences(text: str) -> None:
    """The value goes into `json`, its bare text into the completion."""
    record = await post(text, steps=[{"type": "json", "schema": SCHEMA}])
    assert record["json"] == {"a": 1}
    assert record["text"] == '{"a": 1}'


@pytest.mark.parametrize("text", ["", "hello", '{"a": 1', '{"a": NaN}', '{"a": 1} {"b": 2}', "[" * 100_000])
async def test_what_is_no_json_is_invalid_output(text: str) -> None:
    """Such an answer fails its record."""
    with pytest.raises(InvalidOutput, match="the answer is not JSON: "):
        await post(text, steps=[{"type": "json"}])


async def test_json_must_fit_the_schema() -> None:
    """The message says where and why."""
    with pytest.raises(InvalidOutput, match=r"does not fit its schema: `\$\.a`: 'x' is not of type 'integer'"):
        await post('{"a": "x"}', steps=[{"type": "json", "schema": SCHEMA}])
    with pytest.raises(InvalidOutput) as caught:
        await post(json.dumps({"a": "x" * 10_000}), steps=[{"type": "json", "schema": SCHEMA}])
    assert len(str(caught.value)) < 400


@pytest.mark.timeout(10)
async def test_a_fence_that_is_never_closed_takes_no_time() -> None:
    """Blanks without end are searched once, not once for each of them."""
    with pytest.raises(InvalidOutput):
        await post("```json\n" + " " * 300_000, steps=[{"type": "json"}])


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"$anchor": "top", "properties": {"a": {"$ref": "#top"}}, "type": "object"}, '{"a": {}}', '{"a": 1}'),
        ({"$ref": "#/$defs/a%20b", "$defs": {"a b": {"type": "string"}}}, '"x"', "1"),
        ({"const": {"$ref": "http://localhost/"}}, '{"$ref": "http://localhost/"}', "1"),
        (
            {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 3, "exclusiveMinimum": True},
            "4",
            "3",
        ),
    ],
)
async def test_schemas_refer_to_their_parts_by_any_means(schema: dict, right: str, wrong: str) -> None:
    """By anchor or pointer, in the way of their draft; what looks like a reference in a value is none."""
    assert "json" in await post(right, steps=[{"type": "json", "schema": schema}])
    with pytest.raises(InvalidOutput, match="does not fit its schema"):
        await post(wrong, steps=[{"type": "json", "schema": schema}])


@pytest.mark.parametrize(
    ("schema", "text"), [({"$ref": "#"}, "1"), ({"multipleOf": 0.5}, "1" + "0" * 400)], ids=["endless", "huge"]
)
async def test_what_cannot_be_checked_is_invalid_output(schema: dict, text: str) -> None:
    """It is no bug: the record fails, with a message that fits in a line."""
    with pytest.raises(InvalidOutput, match="the answer cannot be checked against its schema: "):
        await post(text, steps=[{"type": "json", "schema": schema}])


async def test_the_schema_may_be_a_file(tmp_path: Path) -> None:
    """Its path is relative to the pipeline's file."""
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    step = {"type": "json", "schema": "schema.json"}
    assert (await post('{"a": 1}', tmp_path, steps=[step]))["json"] == {"a": 1}
    with pytest.raises(InvalidOutput):
        await post("{}", tmp_path, steps=[step])


async def test_a_record_without_completion_fails() -> None:
    """So does one whose completion is something else."""
    with pytest.raises(InvalidField, match=r"field `completion` should be a completion.*but it is missing"):
        await build(Post).process(Record())
    with pytest.raises(InvalidField, match="but it is of type `str`"):
        await build(Post).process(Record({"completion": "text"}))


def test_fields() -> None:
    """A json step writes `json`."""
    assert build(Post).reads() == {"completion"}
    assert build(Post).writes() == {"completion", "text"}
    assert build(Post, steps=[{"type": "json"}], output="answer").writes() == {"completion", "answer", "json"}


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({}, "Unable to extract tag"),
        ({"type": "shorten"}, "'trim', 'replace', 'redact', 'json'"),
        ({"type": "trim", "max_chars": 0}, "greater than or equal to 1"),
        ({"type": "trim", "max": 1}, "Extra inputs are not permitted"),
        ({"type": "replace", "find": "", "replacement": "a"}, "at least 1 character"),
        ({"type": "replace", "find": "(", "replacement": "a", "regex": True}, "the regular expression does not work"),
        ({"type": "replace", "find": "a", "replacement": r"\1", "regex": True}, "invalid group reference 1"),
        ({"type": "redact", "kinds": ["name"]}, "'email'"),
        ({"type": "redact", "kinds": []}, "at least 1 item"),
        ({"type": "redact", "replacement": "{{ input }}"}, "the replacement can use `kind` only, not `input`"),
        ({"type": "json", "schema": {"type": "objekt"}}, "it is no JSON Schema: `$.type`: 'objekt'"),
        ({"type": "json", "schema": {"$ref": "http://localhost/x.json"}}, "not to `http://localhost/x.json`"),
        ({"type": "json", "schema": {"$ref": "#/$defs/no"}}, "not to `#/$defs/no`"),
        ({"type": "json", "schema": {"allOf": [{"$dynamicRef": "#no"}]}}, "not to `#no`"),
        ({"type": "json", "schema": {"$schema": "http://localhost/"}}, "no draft of JSON Schema that is known"),
        ({"type": "redact", "replacement": "{{ kind.__class__ }}"}, "is unsafe"),
        ({"type": "json", "schema": "missing.json"}, "`missing.json`: No such file or directory"),
        ({"type": "json", "schema": 5}, "expected a JSON Schema as a table, or the path of a JSON file"),
    ],
)
def test_bad_options(step: dict, message: str) -> None:
    """Each is refused when the file is validated."""
    ((place, text),) = complaints(Post, steps=[step])
    assert place.startswith("steps.0")
    assert message in text


def test_a_schema_file_must_be_json(tmp_path: Path) -> None:
    """The message says what is wrong with it."""
    (tmp_path / "schema.json").write_text("{")
    ((_, text),) = complaints(Post, steps=[{"type": "json", "schema": str(tmp_path / "schema.json")}])
    assert text.startswith("the schema cannot be used: ")


def test_options_are_shown_as_they_stand_in_the_file() -> None:
    """`schema` keeps its name."""
    steps = [{"type": "json", "schema": SCHEMA}, {"type": "redact", "kinds": ["iban"], "replacement": "x"}]
    assert build(Post, steps=steps).options.model_dump() == {"steps": steps, "output": "text"}
