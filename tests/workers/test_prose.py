"""Prose: the sentences of a Markdown text."""

from __future__ import annotations

import pytest

from dagflow.workers.prose import read_sentences, split_sentences


def sentences(text: str) -> list[str]:
    """Give the sentences without their headings."""
    return [sentence for sentence, _ in read_sentences(text)]


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ('He said "no." She left.', ['He said "no."', "She left."]),
        ("Use a tool, e.g. Vector. It works.", ["Use a tool, e.g. Vector.", "It works."]),
        ("See fig. 3. Then Section 2. Then go.", ["See fig. 3. Then Section 2. Then go."]),
        ("It came (cf. Two). E.g. Three. Then four.", ["It came (cf. Two).", "E.g. Three.", "Then four."]),
        ("Version 3.11 is out. `x` is it.", ["Version 3.11 is out.", "`x` is it."]),
        ("It ends. with small letters", ["It ends. with small letters"]),
        ("", []),
    ],
)
def test_where_sentences_end(paragraph: str, expected: list[str]) -> None:
    """Abbreviations and numbers end none."""
    assert split_sentences(paragraph) == expected


def test_each_sentence_knows_its_heading() -> None:
    """Headings with `#` and underlined ones."""
    text = "First one.\n\n# A *big* `part`\nSecond one.\n\nOther\n=====\nThird one."
    assert list(read_sentences(text)) == [
        ("First one.", ""),
        ("Second one.", "A big `part`"),
        ("Third one.", "Other"),
    ]


def test_lines_of_a_paragraph_belong_together() -> None:
    """As do those of a list item."""
    text = "One\ntwo.\n\n- three\n  four\n- [ ] five;\n2. six,\n\n> seven\n> eight."
    assert sentences(text) == ["One two.", "three four.", "five.", "six.", "seven eight."]


def test_markup_goes_and_code_stays() -> None:
    """Names with underscores are not emphasis."""
    text = "**Set** the *key* `when_full` and __init__ of a_b_c in [the guide](guide_(new).md) ![x](y.png)<!-- no -->."
    assert sentences(text) == ["Set the key `when_full` and init of a_b_c in the guide ."]


def test_code_blocks_are_no_prose() -> None:
    """Fenced or indented, closed or not."""
    text = "Before.\n\n```toml\nkey = 1\n```\n\nBetween.\n\n    indented = 2\n\n~~~\nopen = 3\n\nAfter."
    assert sentences(text) == ["Before.", "Between."]


def test_rows_of_a_table_become_sentences() -> None:
    """The header says nothing by itself; a row has its first cell as its subject."""
    text = (
        "| key | meaning | default |\n|---|:-:|---|\n| `a` | The first. | 1 |\n| `b` |  | |\n\nAfter it.\n\n"
        "| x | y |\n|---|---|\n| c | d |"
    )
    assert sentences(text) == ["`a`: The first.; 1.", "`b`.", "After it.", "c: d."]


def test_every_sentence_ends() -> None:
    """What ends with less gets a full stop."""
    assert sentences("- a b\n- c d:\n- e (f)\n- g (h.)\n- i!\n- j;") == ["a b.", "c d:", "e (f).", "g (h.)", "i!", "j."]
