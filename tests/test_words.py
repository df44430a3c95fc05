"""Words: which count, and which are forms of one."""

from __future__ import annotations

import pytest

from dagflow.words import content_words, stem, stems, words


def test_words_are_casefolded_and_keep_underscores() -> None:
    """A name in a file is one word."""
    assert words("Set `when_full`, Größe: 3.5!") == ["set", "when_full", "grösse", "3", "5"]


def test_stop_words_do_not_count() -> None:
    """What is left carries the meaning."""
    assert content_words("What is the capacity of an edge?") == ["capacity", "edge"]


@pytest.mark.parametrize(
    "forms",
    [
        "shed sheds shedding",
        "cache caches cached caching",
        "retry retries retried retrying",
        "process processes processed processing",
        "validate validates validated validation",
        "use uses used using",
        "policy policies",
        "filter filters filtered",
        "need needs needed",
        "thing things",
    ],
)
def test_forms_of_a_word_share_their_stem(forms: str) -> None:
    """A question need not use the very form that the text has."""
    assert len({stem(word) for word in forms.split()}) == 1


@pytest.mark.parametrize("pair", ["string strive", "speed spend", "less let", "when_full when", "größe größen"])
def test_other_words_keep_theirs(pair: str) -> None:
    """A light stemmer errs on the side of leaving words as they are."""
    first, second = pair.split()
    assert stem(first) != stem(second)


def test_stems_are_of_content_words_in_order() -> None:
    """Repetitions stay."""
    assert stems("The edges shed; an edge sheds.") == ["edg", "shed", "edg", "shed"]
