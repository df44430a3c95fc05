"""Stage `template`: prompts and chats from fields."""

from __future__ import annotations

import pytest
from alone import build, complaints, opened

from dagflow.errors import ExpressionError
from dagflow.record import Record
from dagflow.stages.template import TemplateStage

pytestmark = pytest.mark.anyio

CONTEXT = "{% for passage in context %}[{{ loop.index }}] {{ passage.text }}\n{% endfor %}Question: {{ input }}"
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "{{ input }}"}]


async def test_template_writes_prompt() -> None:
    """Loops and fields work as in the example pipeline."""
    async with opened(build(TemplateStage, template=CONTEXT)) as stage:
        record = Record({"input": "Why?", "context": [{"text": "Because."}, {"text": "So."}]})
        assert await stage.process(record) is record
    assert record["prompt"] == "[1] Because.\n[2] So.\nQuestion: Why?"


async def test_messages_write_a_chat() -> None:
    """Each message has its own template."""
    async with opened(build(TemplateStage, messages=CHAT)) as stage:
        record = await stage.process(Record({"input": "Why?"}))
    assert record["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    assert "prompt" not in record


async def test_the_record_s_own_names_can_be_used() -> None:
    """Id and meta stand beside the fields."""
    async with opened(build(TemplateStage, template="{{ id }} {{ meta.tier }}")) as stage:
        record = await stage.process(Record(id="a:1", meta={"tier": "gold"}))
    assert record["prompt"] == "a:1 gold"


async def test_an_undefined_name_fails_the_record() -> None:
    """The error says which."""
    async with opened(build(TemplateStage, template="{{ input }}")) as stage:
        with pytest.raises(ExpressionError, match="'input' is undefined"):
            await stage.process(Record())


@pytest.mark.parametrize(
    ("options", "reads", "writes"),
    [
        ({"template": CONTEXT}, {"context", "input"}, {"prompt"}),
        ({"template": "{{ a }}", "output": "question"}, {"a"}, {"question"}),
        ({"template": "{{ a }} {{ b | default('') }}"}, {"a"}, {"prompt"}),
        ({"messages": CHAT}, {"input"}, {"messages"}),
        ({"messages": CHAT, "output": "chat"}, {"input"}, {"chat"}),
    ],
)
def test_fields(options: dict, reads: set[str], writes: set[str]) -> None:
    """Reads what its templates need; `output` renames what it writes."""
    stage = build(TemplateStage, **options)
    assert (stage.reads(), stage.writes()) == (reads, writes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected either `template` or `messages`; neither is given"),
        ({"template": "a", "messages": CHAT}, "expected either `template` or `messages`; both are given"),
        ({"template": "{{ a"}, "the template does not parse"),
        ({"messages": []}, "at least 1 item"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "'system', 'developer', 'user' or 'assistant'"),
        ({"template": "a", "output": "my field"}, "expected a field name"),
        ({"template": "a", "output": "id"}, "`id` always stands for the record's own"),
    ],
)
def test_bad_options(options: dict, message: str) -> None:
    """Each is refused when the file is validated."""
    assert any(message in text for _, text in complaints(TemplateStage, **options))
