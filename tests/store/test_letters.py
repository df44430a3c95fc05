"""The store of letters against a simple model of it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dagflow.store.database import open_database
from dagflow.store.letter import Letter, Selection
from dagflow.store.letters import LETTERS, add_letter, count_letters, find_letters, purge_letters, remove_letters
from dagflow.store.writer import commit_alone

LETTER = Letter(
    acceptance="k",
    record="r",
    node="n",
    place="a -> n",
    source="in",
    outcome="failed",
    code="c",
    message="m",
    chain=[{"type": "T", "message": "m"}],
    attempts=2,
    replays=1,
    time=1.5,
    about="{}",
    fields='{"x": 1}',
    accepted_about="{}",
    accepted="{}",
    as_text={"fields": ["x"], "accepted": []},
    readable=True,
)
NAMES = st.sampled_from(["a", "b", "c"])
TIMES = st.integers(0, 5).map(float)
SELECTIONS = st.builds(
    Selection,
    node=st.none() | NAMES,
    code=st.none() | NAMES,
    since=st.none() | TIMES,
    before=st.none() | TIMES,
    ids=st.just(()) | st.lists(st.integers(1, 20), max_size=3).map(tuple),
    records=st.just(()) | st.lists(NAMES, max_size=2).map(tuple),
    limit=st.none() | st.integers(1, 5),
)


def fits(letter, selection):
    """Whether a letter is selected, but for the limit."""
    return (
        selection.node in (None, letter.node)
        and selection.code in (None, letter.code)
        and (selection.since is None or letter.time >= selection.since)
        and (selection.before is None or letter.time < selection.before)
        and (not selection.ids or letter.id in selection.ids)
        and (not selection.records or letter.record in selection.records)
    )


class Store(RuleBasedStateMachine):
    """A list of letters, and the store."""

    def __init__(self):
        super().__init__()
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "letters.db"
        self.connection = open_database(self.path, LETTERS, create=True)
        self.model: list[Letter] = []
        self.added = 0

    @rule(node=NAMES, code=NAMES, record=NAMES, time=TIMES)
    def add(self, node, code, record, time):
        """It gets the next number, never one that was there."""
        letter = replace(LETTER, node=node, code=code, record=record, time=time)
        commit_alone(self.connection, lambda store: add_letter(store, letter))
        self.added += 1
        self.model.append(replace(letter, id=self.added))

    @rule(ids=st.lists(st.integers(1, 20), max_size=4))
    def remove(self, ids):
        """Those that are there go."""
        removed = commit_alone(self.connection, lambda store: remove_letters(store, ids))
        left = [letter for letter in self.model if letter.id not in ids]
        assert removed == len(self.model) - len(left)
        self.model = left

    @rule(selection=SELECTIONS)
    def purge(self, selection):
        """The selected ones go, the oldest first."""
        chosen = self.select(selection)
        assert commit_alone(self.connection, lambda store: purge_letters(store, selection)) == len(chosen)
        self.model = [letter for letter in self.model if letter not in chosen]

    @rule(selection=SELECTIONS)
    def find(self, selection):
        """The selected ones are found; without their payloads if these are not asked for."""
        chosen = self.select(selection)
        assert list(find_letters(self.connection, selection, payloads=True)) == chosen
        bare = {"about": "{}", "fields": "{}", "accepted": "{}", "accepted_about": "{}"}
        found = list(find_letters(self.connection, selection, payloads=False))
        assert found == [replace(letter, **bare) for letter in chosen]

    @rule()
    def open_again(self):
        """What is committed stays."""
        self.connection.close()
        self.connection = open_database(self.path, LETTERS, create=False)

    @invariant()
    def is_counted(self):
        """Also for another process."""
        with closing(open_database(self.path, LETTERS, create=False)) as other:
            assert count_letters(other) == len(self.model)

    def select(self, selection):
        """What the model says is selected."""
        chosen = [letter for letter in self.model if fits(letter, selection)]
        return chosen if selection.limit is None else chosen[: selection.limit]

    def teardown(self):
        """Let go of the file."""
        self.connection.close()
        self.folder.cleanup()


TestStore = Store.TestCase
TestStore.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)


def test_text_that_is_no_unicode_can_be_kept_and_looked_for(tmp_path):
    """Names of files may be such, and so may what a shell hands on."""
    with closing(open_database(tmp_path / "letters.db", LETTERS, create=True)) as store:
        add_letter(store, replace(LETTER, record="\udc80", message="\ud800"))
        [found] = find_letters(store, Selection(), payloads=True)
        assert not list(find_letters(store, Selection(node="\udc80", code="\ud800"), payloads=False))
        assert list(find_letters(store, Selection(records=("\udc80",)), payloads=True)) == [found]
    assert (found.record, found.message) == ("\\udc80", "\\ud800")


def test_a_selection_of_everything_says_so():
    """A limit alone asks nothing of a letter."""
    assert Selection(limit=3).is_everything
    assert not Selection(node="a").is_everything
    assert not Selection(ids=(1,)).is_everything
