"""Offsets beside a simple model: only what is contiguous may be committed."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dagflow.mesh.kafka.offsets import Offsets


class OffsetsMachine(RuleBasedStateMachine):
    """Opens records, with gaps, finishes any of them, and commits."""

    def __init__(self):
        super().__init__()
        self.offsets = Offsets()
        self.given: list[int] = []
        self.open: list[int] = []
        self.committed = None

    @rule(gap=st.integers(0, 3))
    def hand_in(self, gap):
        """The next record, or one behind a gap that a compacted topic has."""
        offset = (self.given[-1] + 1 if self.given else 7) + gap
        self.offsets.open(offset)
        self.given.append(offset)
        self.open.append(offset)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def finish(self, data):
        """Any of the open ones."""
        offset = data.draw(st.sampled_from(self.open))
        self.open.remove(offset)
        self.offsets.finish(offset)

    @rule()
    def commit(self):
        """What there is to commit; then there is no more."""
        offset = self.offsets.to_commit
        if offset is not None:
            self.offsets.note_committed(offset)
            self.committed = offset
        assert self.offsets.to_commit is None

    @invariant()
    def only_what_is_done_is_passed(self):
        """Everything before the offset is done, and the next one is not."""
        found = self.offsets.to_commit
        upto = self.committed if found is None else found
        if upto is not None:
            assert not [offset for offset in self.open if offset < upto]
        expected = (self.open[0] if self.open else self.given[-1] + 1) if self.given else None
        if expected is not None and expected != self.given[0]:
            assert expected in (found, self.committed)
        first_open = self.given.index(self.open[0]) if self.open else len(self.given)
        assert self.offsets.span == len(self.given) - first_open


TestOffsets = OffsetsMachine.TestCase
