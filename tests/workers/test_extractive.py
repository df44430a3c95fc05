"""Worker `extractive`: which sentences it answers with."""

from __future__ import annotations

import time

import pytest
from alone import build, complaints, opened

from dagflow.completion import Completion
from dagflow.exchange import Request, Usage
from dagflow.workers.extractive import NO_ANSWER, Extractive

pytestmark = pytest.mark.anyio

CHANNELS = """\
# Channels

A channel is the live form of an edge. Its **capacity** bounds how many records wait in it.
When a channel is full, `block` makes the sender wait:

```toml
when_full = "block"  # a full channel blocks
```

- `drop_newest` sheds the record that came last;
- `drop_oldest` sheds the record that waited longest.
"""
TICKETS = """\
## Tickets

A ticket stands for one accepted record. It is settled when the last branch has ended.

| outcome | meaning |
|---|---|
| `shed` | a full channel could not take it |
"""


def prompt(question: str, *passages: str) -> str:
    """Build a prompt as the example pipeline does."""
    numbered = [f"[{number}] (guide.md#Part)\n{text}\n" for number, text in enumerate(passages, 1)]
    return "\n".join([*numbered, f"Question: {question}\n"])


async def infer(request: Request, **options: int) -> Completion:
    """Give the answer to a request."""
    async with opened(build(Extractive, **options)) as worker:
        return await worker.infer(request)


async def ask(question: str, *passages: str, **options: int) -> str:
    """Give the text of an answer."""
    return (await infer(Request(prompt=prompt(question, *passages)), **options)).text


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is a ticket?", "A ticket stands for one accepted record. [2]"),
        ("How is the capacity of a channel bound?", "Its capacity bounds how many records wait in it. [1]"),
        ("Which record does drop_oldest shed?", "`drop_oldest` sheds the record that waited longest. [1]"),
        ("When are tickets settled?", "It is settled when the last branch has ended. [2]"),
        ("What does the outcome `shed` mean?", "`shed`: a full channel could not take it. [2]"),
    ],
)
async def test_the_best_sentence_answers(question: str, answer: str) -> None:
    """Without markup, and with the number of its passage."""
    assert await ask(question, CHANNELS, TICKETS, sentences=1) == answer


async def test_sentences_keep_their_order_and_cite_each_passage_once() -> None:
    """At most as many as were asked for."""
    question = "Which records does drop_newest shed, which does drop_oldest shed, and what is a ticket?"
    assert await ask(question, CHANNELS, TICKETS, sentences=3) == (
        "`drop_newest` sheds the record that came last. `drop_oldest` sheds the record that waited longest. [1] "
        "A ticket stands for one accepted record. [2]"
    )


async def test_what_adds_nothing_is_left_out() -> None:
    """One good sentence is better than two."""
    passages = ("Lions eat meat. Zebras eat grass. Rain is wet.",)
    assert await ask("Do zebras eat grass?", *passages) == "Zebras eat grass. [1]"


async def test_a_sentence_is_given_once() -> None:
    """Though several passages have it."""
    assert await ask("What do zebras eat?", "Zebras eat grass.", "Zebras eat grass.") == "Zebras eat grass. [1]"


async def test_a_heading_counts_for_what_stands_under_it() -> None:
    """But less than the words themselves."""
    passages = ("# Retries\n\nThey use full jitter and back off.", "# Other\n\nThey are blue and round.")
    assert await ask("How do retries use jitter?", *passages) == "They use full jitter and back off. [1]"


@pytest.mark.parametrize(
    ("question", "passages"),
    [
        ("What is a quark?", (CHANNELS, TICKETS)),
        ("What is a ticket?", ()),
        ("", (CHANNELS,)),
        ("What is it?", (TICKETS,)),
    ],
)
async def test_without_an_answer_it_says_so(question: str, passages: tuple[str, ...]) -> None:
    """It never makes one up."""
    assert await ask(question, *passages) == NO_ANSWER


async def test_a_context_without_numbers_has_no_citations() -> None:
    """Nor has a prompt without the word `Question`."""
    completion = await infer(Request(prompt="Zebras eat grass. Lions eat meat.\n\nWhat do lions eat?"))
    assert completion.text.startswith("Lions eat meat.")
    assert "[" not in completion.text


async def test_in_a_chat_earlier_messages_are_the_context() -> None:
    """The last user message is the question."""
    messages = [
        {"role": "system", "content": "[1] (a.md)\nZebras eat grass.\n[2] (b.md)\nLions eat meat."},
        {"role": "user", "content": "What do lions eat, meat?"},
    ]
    assert (await infer(Request(messages=messages), sentences=1)).text == "Lions eat meat. [2]"


async def test_usage_and_limits() -> None:
    """A token is a word."""
    request = Request(prompt="Lions eat meat.\n\nWhat do lions eat?", model="m", parameters={"max_tokens": 2})
    completion = await infer(request)
    assert (completion.text, completion.finish_reason) == ("Lions eat", "length")
    assert (completion.model, completion.usage) == ("m", Usage(7, 2))
    assert (await infer(Request(prompt="a"))).model == "extractive"


async def test_the_stream_is_the_same_answer() -> None:
    """One chunk a word, and the last one says how it ended."""
    request = Request(prompt=prompt("What is a ticket?", CHANNELS, TICKETS))
    async with opened(build(Extractive)) as worker:
        chunks = [chunk async for chunk in worker.stream(request)]
        whole = await worker.infer(request)
    assert "".join(chunk.text for chunk in chunks) == whole.text
    assert len(chunks) == len(whole.text.split())
    assert (chunks[-1].finish_reason, chunks[-1].usage) == ("stop", whole.usage)


async def test_it_is_fast_enough_to_run_on_the_event_loop() -> None:
    """Ten long passages take far less than the 50 ms that would disturb others."""
    passages = [CHANNELS + TICKETS] * 10
    await ask("What is the capacity of a channel?", *passages)
    start = time.process_time()
    await ask("What is the capacity of a channel?", *passages)
    assert time.process_time() - start < 0.05


def test_bad_options() -> None:
    """An answer has a sentence at least."""
    assert complaints(Extractive, sentences=0)[0][0] == "sentences"


HOSTILE = {
    "markers": "[1] a b c d.\n" * 20_000,
    "brackets": "[" * 100_000,
    "links": "[a](" * 50_000,
    "images": "![" * 100_000,
    "rules": "|a|\n" + "|-" * 100_000 + "x",
    "heading": "# a" + " " * 100_000 + "b",
    "answer": "answer" + " " * 100_000 + "x",
    "number": f"[{'1' * 10_000}] a",
}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
async def test_no_text_takes_for_ever(text: str) -> None:
    """Users write parts of prompts: the time grows with the length and no faster."""
    assert await ask("What is it?", text) == NO_ANSWER
