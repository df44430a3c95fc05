"""Kept: submissions that can be found again: those under way, and for a while those that have settled."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from dagflow.sources.http.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from dagflow.record import Outcome
    from dagflow.sources.http.options import KeptOptions
    from dagflow.sources.http.submission import Submission


class Kept:
    """A bounded table of submissions.

    Args:
        keeps: which of those that have settled are kept, by their outcome; None for all.
    """

    def __init__(
        self, options: KeptOptions, clock: Callable[[], float], keeps: frozenset[Outcome] | None = None
    ) -> None:
        self._options = options
        self._clock = clock
        self._keeps = keeps
        self._under_way: dict[Hashable, Submission] = {}
        self._settled: OrderedDict[Hashable, tuple[float, Submission]] = OrderedDict()

    def follow(self, before: Kept) -> None:
        """Keep what an earlier table keeps, and has still to keep: from now on they are one."""
        before._forget()
        self._under_way, self._settled = before._under_way, before._settled

    def find(self, key: Hashable) -> Submission | None:
        """Give the submission of a key, if it is still known."""
        self._forget()
        found = self._settled.get(key)
        return self._under_way.get(key) if found is None else found[1]

    def check_room(self) -> None:
        """See whether another one may be put.

        Raises:
            Refusal: too many are under way.
        """
        if len(self._under_way) >= self._options.max_entries:
            raise Refusal(429, "overloaded", "too many requests are under way that are to be kept", should_retry=True)

    def put(self, key: Hashable, submission: Submission) -> None:
        """Keep a submission that is under way; there must be room."""
        self._under_way[key] = submission
        submission.on_settled.append(lambda: self._settle(key, submission))

    def drop(self, key: Hashable) -> None:
        """Forget a submission."""
        self._under_way.pop(key, None)
        self._settled.pop(key, None)

    def _settle(self, key: Hashable, submission: Submission) -> None:
        if self._under_way.get(key) is not submission:  # it was dropped
            return
        del self._under_way[key]
        if self._keeps is None or submission.outcome in self._keeps:
            self._settled.pop(key, None)
            self._settled[key] = self._clock() + self._options.ttl, submission
            submission.let_go()
            self._forget()

    def _forget(self) -> None:
        now_s = self._clock()
        while self._settled:
            until_s, _ = next(iter(self._settled.values()))
            if now_s < until_s and len(self._settled) <= self._options.max_entries:
                return
            self._settled.popitem(last=False)
