"""Passages: where documents are split, and what each passage is called."""

from __future__ import annotations

import pytest

from dagflow.stages.passages import Passage, split_passages


def split(text: str, size: int = 800, name: str = "a.md") -> list[Passage]:
    """Split a text."""
    return list(split_passages(text, name, size))


def test_a_heading_begins_a_passage_and_names_it() -> None:
    """The titles of outer headings go along."""
    text = "Intro.\n\n# Guide\n\nOne.\n\n## Edges & `when`\nTwo.\n\nThree.\n\n# End #\nFour."
    assert split(text) == [
        Passage("Intro.", "", "a.md:1"),
        Passage("# Guide\n\nOne.", "Guide", "a.md#Guide"),
        Passage("## Edges & `when`\n\nTwo.\n\nThree.", "Guide > Edges & when", "a.md#Edges & when"),
        Passage("# End #\n\nFour.", "End", "a.md#End"),
    ]


def test_a_heading_alone_makes_no_passage() -> None:
    """It would be found and say nothing."""
    assert [passage.source for passage in split("# A\n\n## B\n\nText.\n\n## C\n")] == ["a.md#B"]
    assert split("") == split("\n \n") == []


def test_a_closing_sequence_is_no_part_of_a_heading() -> None:
    """A `#` that belongs to a word is."""
    assert [passage.title for passage in split_passages("## In C# ##\n\nText.", "a.md", 100)] == ["In C#"]


@pytest.mark.timeout(10)
def test_a_heading_with_many_blanks_takes_no_time() -> None:
    """They are looked at once."""
    (passage,) = split_passages("# a" + " " * 100_000 + "b\n\nText.", "a.md", 100)
    assert passage.title.endswith("b")


def test_underlined_headings_are_headings() -> None:
    """In Markdown and in reStructuredText, with a line above or without."""
    text = "=====\nTitle\n=====\n\nOne.\n\nPart\n----\nTwo.\n\n---\n\nStill two."
    assert [(passage.title, passage.source) for passage in split(text)] == [
        ("Title", "a.md#Title"),
        ("Title > Part", "a.md#Part"),
    ]
    assert "Still two." in split(text)[1].text


def test_links_in_headings_show_their_text_only() -> None:
    """A source is for reading."""
    assert split("# See [the *guide*](guide.md)\nText.")[0].source == "a.md#See the guide"


def test_paragraphs_fill_a_passage_up_to_its_size() -> None:
    """And no further; before the first heading a passage is known by its line."""
    paragraphs = [f"{number} {'x' * 38}" for number in range(5)]
    passages = split("\n\n".join(paragraphs), size=100, name="a.txt")
    assert [passage.text for passage in passages] == [
        "\n\n".join(paragraphs[0:2]),
        "\n\n".join(paragraphs[2:4]),
        paragraphs[4],
    ]
    assert [passage.source for passage in passages] == ["a.txt:1", "a.txt:5", "a.txt:9"]


def test_long_paragraphs_are_split_between_sentences() -> None:
    """Nothing is lost."""
    sentences = [f"Sentence number {number} is here." for number in range(10)]
    passages = split("1. " + "\n".join(sentences), size=70)
    assert len(passages) > 3
    assert all(passage.text.endswith(".") and len(passage.text) <= 70 for passage in passages)
    assert passages[0].text.startswith("1. Sentence")
    assert " ".join(passage.text for passage in passages).split() == ["1.", *" ".join(sentences).split()]


def test_words_without_end_are_cut() -> None:
    """No passage grows beyond all bounds."""
    assert [len(passage.text) for passage in split("x" * 250, size=100)] == [100, 100, 50]


def test_code_stays_whole_up_to_twice_the_size() -> None:
    """Headings and blank lines in it are code."""
    code = "```toml\n# no heading\n\nkey = 1\n```"
    assert [passage.text for passage in split(f"Before.\n\n{code}\n\nAfter.")] == [f"Before.\n\n{code}\n\nAfter."]
    (only,) = split(f"~~~\n{'x' * 150}\n~~~", size=100)
    assert only.text.count("~~~") == 2


def test_longer_code_is_split_between_lines_and_stays_code() -> None:
    """Each piece has its fences."""
    passages = split("```py\n" + "\n".join(f"line_{number} = {number}" for number in range(30)) + "\n```", size=100)
    assert len(passages) > 3
    assert all(passage.text.startswith("```py\n") and passage.text.endswith("\n```") for passage in passages)


def test_code_that_is_never_closed_ends_with_the_document() -> None:
    """As in Markdown."""
    (only,) = split("```\n# a\n# b")
    assert only.text == "```\n# a\n# b\n```"


def test_long_tables_are_split_between_rows() -> None:
    """A row stays whole."""
    rows = [f"| name {number} | meaning {number}. And more. |" for number in range(10)]
    lines = [line for passage in split("\n".join(rows), size=100) for line in passage.text.split("\n")]
    assert lines == rows


@pytest.mark.parametrize("size", [50, 200, 1000])
def test_all_words_of_a_document_are_in_its_passages(size: int) -> None:
    """Whatever the size."""
    text = "# T\n\nA b c. D e f! G?\n\n- one\n- two\n\n```\nx = 1\n```\n\n| a | b |\n|---|---|\n| c | d |\n" * 3
    words = [word for passage in split(text, size) for word in passage.text.split()]
    assert words == text.split()
