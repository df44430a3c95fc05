"""Names that are near enough to be meant."""

import pytest

from dagflow.config.suggest import closest, did_you_mean


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("topk", "top_k"), ("asemble", "assemble"), ("drop-newest", "drop_newest"), ("Timeout", "timeout")],
)
def test_a_slip_finds_its_name(typed: str, meant: str) -> None:
    """A letter too few, another separator or another case is still the same name."""
    assert closest(typed, ["capacity", meant, "when"]) == meant


@pytest.mark.parametrize("typed", ["database", "x", "retrieval_augmented"])
def test_another_word_finds_nothing(typed: str) -> None:
    """What is not near is not offered."""
    assert did_you_mean(typed, ["assemble", "inference", "template"]) is None


def test_the_hint_quotes_the_name() -> None:
    """The name stands in backticks."""
    assert did_you_mean("edgs", ["edges"]) == "did you mean `edges`?"
