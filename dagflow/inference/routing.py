"""Routing: which member of a pool gets a call. A strategy chooses among those that could take it now.

It never waits and never calls. `weighted` keeps shares, `least_busy` and `latency` look at the members, and
`session` and `prefix` keep what belongs together on one member, until its load exceeds the mean by a factor
(consistent hashing with bounded loads: Mirrokni, Thorup and Zadimoghaddam, 2016).
"""

from __future__ import annotations

import random
from collections import OrderedDict
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from dagflow.chat import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dagflow.exchange import Request
    from dagflow.inference.guarded import GuardedWorker

_LOAD_FACTOR: Final = 1.25  # of the mean load: what a member may have before what belongs to it goes elsewhere
_EXPLORED: Final = 0.05  # the share of calls by which `latency` looks whether others have become faster
_NEWEST: Final = 0.3  # weight of the newest latency in its moving average
_UNKNOWN_S: Final = 0.001  # what is expected where none has answered yet
_BLOCK_CHARS: Final = 256  # a prefix is compared block by block, as servers cache it
_MOST_BLOCKS: Final = 32
_MOST_PREFIXES: Final = 65_536


class Strategy:
    """How a pool chooses; this one keeps the shares of `weights` (smooth weighted round robin)."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights = weights
        self._credit = dict.fromkeys(weights, 0.0)

    def pick(self, ready: Sequence[GuardedWorker], request: Request | None) -> GuardedWorker:
        """Choose one of the members that could take the call now; there is at least one."""
        for member in ready:
            self._credit[member.name] += self.weights[member.name]
        chosen = max(ready, key=lambda member: self._credit[member.name])
        self._credit[chosen.name] -= sum(self.weights[member.name] for member in ready)
        return chosen

    def observe(self, member: GuardedWorker, latency_s: float, failed: bool | None) -> None:
        """Learn how long a member took until it answered or `failed`; None: until it was left, before either."""

    def _busyness(self, member: GuardedWorker) -> float:
        return (member.load + 1) / self.weights[member.name]


class LeastBusy(Strategy):
    """The less busy of two that were drawn: nearly as good as the least busy of all, and without a rush to it."""

    def pick(self, ready: Sequence[GuardedWorker], request: Request | None) -> GuardedWorker:
        return min(random.sample(ready, min(2, len(ready))), key=self._busyness)


class Latency(Strategy):
    """The one that answers soonest, by a moving average and by what it has to do; now and then any other."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__(weights)
        self._average_s: dict[str, float] = {}

    def pick(self, ready: Sequence[GuardedWorker], request: Request | None) -> GuardedWorker:
        if random.random() < _EXPLORED:
            return random.choice(ready)
        return min(ready, key=lambda member: (self._expected_s(member) * self._busyness(member), self._knows(member)))

    def observe(self, member: GuardedWorker, latency_s: float, failed: bool | None) -> None:
        known_s = self._average_s.get(member.name)
        if failed is None and latency_s <= self._expected_s(member):
            return  # it was left before it could have answered, and may be slower than this
        if failed:  # a fast failure must not look like a fast answer
            latency_s = max(latency_s, 2 * (known_s or latency_s))
        self._average_s[member.name] = latency_s if known_s is None else known_s + _NEWEST * (latency_s - known_s)

    def _knows(self, member: GuardedWorker) -> bool:
        return member.name in self._average_s

    def _expected_s(self, member: GuardedWorker) -> float:
        """Give its average; that of the best for one that never answered, or it would get all calls until it does."""
        if self._knows(member):
            return self._average_s[member.name]
        return min(self._average_s.values(), default=_UNKNOWN_S)


class Session(Strategy):
    """The same member for the same session; any for a record without one."""

    def pick(self, ready: Sequence[GuardedWorker], request: Request | None) -> GuardedWorker:
        if request is None or request.session is None:
            return min(ready, key=self._busyness)
        return self._bounded(ready, request.session)

    def _bounded(self, ready: Sequence[GuardedWorker], key: str) -> GuardedWorker:
        """Choose the first by the hash of the key that is not too busy; rendezvous hashing needs no table."""
        order = sorted(ready, key=lambda member: _score(key, member.name), reverse=True)
        return next((member for member in order if self._has_room(member, ready)), order[0])

    def _has_room(self, member: GuardedWorker, ready: Sequence[GuardedWorker]) -> bool:
        load, weight = sum(other.load for other in ready) + 1, sum(self.weights[other.name] for other in ready)
        return member.load < _LOAD_FACTOR * load * self.weights[member.name] / weight


class Prefix(Session):
    """The member that had most of the prompt's beginning last, since its server may have it in its cache."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__(weights)
        self._homes: OrderedDict[bytes, str] = OrderedDict()

    def pick(self, ready: Sequence[GuardedWorker], request: Request | None) -> GuardedWorker:
        blocks = _blocks(request)
        by_name = {member.name: member for member in ready}
        for block in reversed(blocks):
            home = by_name.get(self._homes.get(block, ""))
            if home is not None and self._has_room(home, ready):
                break
        else:
            home = self._bounded(ready, blocks[0].hex()) if blocks else min(ready, key=self._busyness)
        for block in blocks:
            self._homes[block] = home.name
            self._homes.move_to_end(block)
        while len(self._homes) > _MOST_PREFIXES:
            self._homes.popitem(last=False)
        return home


STRATEGIES: Final[dict[str, type[Strategy]]] = {
    "weighted": Strategy,
    "least_busy": LeastBusy,
    "latency": Latency,
    "session": Session,
    "prefix": Prefix,
}


def _score(key: str, name: str) -> bytes:
    return blake2b(f"{name}\0{key}".encode(), digest_size=8).digest()


def _blocks(request: Request | None) -> list[bytes]:
    """Give a hash for each beginning of the prompt that ends with a block."""
    if request is None:
        return []
    text = request.prompt
    if text is None:
        text = "\n".join(f"{message.get('role')}: {text_of(message)}" for message in request.messages or ())
    running, blocks = blake2b((request.model or "").encode(), digest_size=16), []
    for start in range(0, min(len(text), _BLOCK_CHARS * _MOST_BLOCKS), _BLOCK_CHARS):
        running.update(text[start : start + _BLOCK_CHARS].encode("utf-8", "surrogatepass"))
        blocks.append(running.copy().digest())
    return blocks
