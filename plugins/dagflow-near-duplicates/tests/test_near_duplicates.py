"""Stage `near-duplicates`: what it finds, what it forgets, and the rules that every stage keeps."""

from pathlib import Path
from random import Random

import pytest
from dagflow.testing import Sample, StageConformance, run_text

from dagflow_near_duplicates.sketch import PIECE, similarity, sketch
from dagflow_near_duplicates.stage import NearDuplicates
from dagflow_near_duplicates.table import Table, band_rows

FOLDER = Path(__file__).parents[1]
PIPELINE = (FOLDER / "pipeline.toml").read_text()
PLUGINS = {"near-duplicates": NearDuplicates}


class TestFiltering(StageConformance):
    """It keeps every rule."""

    @pytest.fixture
    def plugin(self):
        return NearDuplicates


class TestMarking(StageConformance):
    """With other options it writes a field, and keeps every rule, too."""

    @pytest.fixture
    def plugin(self):
        return Sample(NearDuplicates, options={"action": "mark", "field": "text"})


def run(*inputs, **options):
    """Run the pipeline over texts, with these options of the stage."""
    overrides = [f"stages.once.{name}={value}" for name, value in options.items()]
    return run_text(PIPELINE, [{"input": text} for text in inputs], plugins=PLUGINS, overrides=overrides)


def test_the_pipeline_keeps_the_first_of_each_question():
    """Those that differ in a few letters are filtered; those that differ in a word that matters stay."""
    done = run_text(PIPELINE, plugins=PLUGINS, folder=FOLDER, overrides=["sources.questions.path=questions.jsonl"])
    assert sorted(id for id, outcome in done.outcomes.items() if outcome == "filtered") == ["3", "4"]
    assert done.report["nodes"]["once"]["metrics"]["duplicates"] == 2


def test_marks_name_the_first_record():
    """Everything goes on."""
    done = run("one and only text", "another text, no doubt", "One and only text!", action="mark")
    assert [record["duplicate_of"] for record in done.outputs["out"]] == [None, None, "0"]


def test_what_is_no_text_fails():
    """The record's error says what was found."""
    done = run("fine", 7, None)
    assert [error.code for error in done.errors.values()] == ["not-a-text", "not-a-text"]
    assert str(done.errors["1"]) == "field `input` should be a text, but is of type `int`"


def test_one_id_twice_is_no_duplicate():
    """A record that is sent in again has met itself."""
    table = Table(0.85, 10)
    assert [table.meet("a", sketch("the same text")) for _ in range(2)] == [None, None]
    assert table.meet("b", sketch("the same text")).id == "a"


def test_memory_is_bounded_and_forgets_what_was_not_met_for_longest():
    """A text that was met again stays; its bands go with one that is forgotten."""
    table = Table(0.85, 2)
    table.meet("a", sketch("apples and pears"))
    table.meet("b", sketch("ships and shoes"))
    assert table.meet("again", sketch("apples and pears")).id == "a"
    table.meet("c", sketch("cabbages and kings"))
    assert len(table) == 2
    assert table.meet("d", sketch("apples and pears")).id == "a"
    assert table.meet("e", sketch("ships and shoes")) is None
    assert all(table._bands.values())
    assert len(table._bands) <= 2 * 128 // band_rows(0.85)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_the_estimate_is_near_the_truth(share):
    """Over many pairs of texts, it is right on average, and each is off by at most four standard errors."""
    random, errors = Random(0), []
    for _ in range(60):
        common = [random_word(random) for _ in range(int(60 * share))]
        one, other = (" ".join(common + [random_word(random) for _ in range(60 - len(common))]) for _ in range(2))
        errors.append(similarity(sketch(one), sketch(other)) - jaccard(one, other))
    assert abs(sum(errors) / len(errors)) < 0.02
    assert max(map(abs, errors)) < 4 * 0.045


def test_short_and_empty_texts_have_sketches():
    """Equal ones are equal, others are not."""
    texts = ["", "a", "ab", "a b", "hello"]
    assert [[similarity(sketch(one), sketch(other)) for other in texts] for one in texts] == [
        [float(one == other) for other in texts] for one in texts
    ]


def test_bands_are_long_for_a_high_similarity():
    """The less alike texts may be, the more must be compared."""
    assert [band_rows(least) for least in (1.0, 0.95, 0.85, 0.5, 0.01)] == [32, 16, 8, 2, 1]


def test_similar_texts_meet():
    """Nearly all pairs that are above the mark are found, among many others."""
    random, table, found = Random(1), Table(0.7, 1000), 0
    for number in range(200):
        words = [random_word(random) for _ in range(40)]
        table.meet(f"{number}", sketch(" ".join(words)))
        words[random.randrange(40)] = random_word(random)
        match = table.meet(f"{number} again", sketch(" ".join(words)))
        found += match is not None and match.id == f"{number}"
    assert found >= 198


def random_word(random):
    """Make up a word."""
    return "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=random.randint(3, 9)))


def jaccard(one, other):
    """The share of pieces that two texts have in common."""
    first, second = ({text[i : i + PIECE] for i in range(len(text) - PIECE + 1)} for text in (one, other))
    return len(first & second) / len(first | second)
