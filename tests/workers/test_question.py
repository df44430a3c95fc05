"""Question: prompts taken apart."""

from __future__ import annotations

import pytest

from dagflow.workers.question import Context, Question, read_question


def parts(prompt: str) -> tuple[str, list[tuple[str, str]]]:
    """Give the question, and marker and text of each passage, stripped."""
    question = read_question(prompt)
    return question.text, [(context.marker, context.text.strip()) for context in question.contexts]


def test_numbered_passages_and_a_question() -> None:
    """As the example pipeline's template writes them, with sources and without."""
    context = "[1] (guide.md#Channels) One.\n\nStill one.\n[2]\n(b.md:3)\n[2] two"
    assert parts(f"Answer from the context.\n\n{context}\n\nQuestion: Why?\n") == (
        "Why?",
        [("[1]", "One.\n\nStill one."), ("[2]", "(b.md:3)\n[2] two")],
    )
    assert parts("[1] (a.md)\nOne.\n\n[2] (b.md)\nTwo.\n\nQuestion: Why?") == (
        "Why?",
        [("[1]", "One."), ("[2]", "Two.")],
    )


def test_numbers_that_do_not_count_up_are_text() -> None:
    """Such as references in a passage."""
    assert parts("[1] One.\n[7] Seven.\n[2] Two.\n\nQuestion: Why?")[1] == [
        ("[1]", "One.\n[7] Seven."),
        ("[2]", "Two."),
    ]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Some text.\n\nMore text.\n\nWhat is it?", ("What is it?", [("", "Some text.\n\nMore text.")])),
        ("Some text.\nWhat is it?", ("What is it?", [("", "Some text.")])),
        ("What is it?", ("What is it?", [])),
        ("", ("", [])),
        ("Text.\n\nquestion :  What is it?\n\nAnswer:\n", ("What is it?", [("", "Text.")])),
        ("Question: Old?\n\nText.\n\nQuestion: New?", ("New?", [("", "Question: Old?\n\nText.")])),
        ("Text.\n\nQuestion: What\nis it?\n\nBe brief.", ("What\nis it?", [("", "Text.")])),
        ("\n\nQuestion: What?", ("What?", [])),
    ],
)
def test_other_forms(prompt: str, expected: object) -> None:
    """Without numbers there is one passage; without `Question:` the last paragraph or line asks."""
    assert parts(prompt) == expected


def test_values_are_plain() -> None:
    """They compare by their contents."""
    assert read_question("A.\n\nB?") == Question("B?", (Context("", "A."),))
