"""Limits: so many calls and so many tokens within a time, for all, or for each value of a key.

What a call will take is reserved when it is made, from an estimate, and settled when its usage is known. One that
ends without a usage keeps its reservation: its tokens were most likely used.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from dagflow.inference.gate import Guard
from dagflow.inference.leasing import Windows

if TYPE_CHECKING:
    from collections.abc import Hashable

    from dagflow.config.worker_tables import LimitTable
    from dagflow.inference.call import Call
    from dagflow.inference.window import Bin

_MOST_KEYS: Final = 10_000
_OTHERS: Final = object()  # the key of all for whom there is no room in the table
_OWN: Final = Windows("")
_SMOOTH: Final = 0.05  # weight of the newest answer in the mean length of answers
_FIRST_GUESS: Final = 256  # tokens of an answer of which nothing is known yet


class _Share:
    """The windows of one key."""

    __slots__ = ("requests", "tokens")

    def __init__(self, table: LimitTable, windows: Windows, name: str) -> None:
        self.requests = table.requests and windows.build(f"{name}.requests", *table.requests)
        self.tokens = table.tokens and windows.build(f"{name}.tokens", *table.tokens)

    def is_unused(self, now_s: float) -> bool:
        """Whether it may be forgotten."""
        return all(window.is_unused(now_s) for window in (self.requests, self.tokens) if window is not None)


class Limits(Guard):
    """One element of `limits`."""

    name = "limits"

    def __init__(self, table: LimitTable, windows: Windows = _OWN, index: int = 0) -> None:
        self._table = table
        self._windows = windows
        self._index = index
        self._shares: dict[Hashable, _Share] = {}
        self._reserved: dict[Call, tuple[_Share, int, Bin | None]] = {}
        self._answer_tokens = float(_FIRST_GUESS)

    def key(self, call: Call) -> Hashable:
        if self._table.key is None:
            return None
        if self not in call.keys:
            call.keys[self] = self.key_of(call.request.record if call.request is not None else None)
        return call.keys[self]

    def key_of(self, record: Any) -> Hashable:
        """Give the value of the key on a record, as text where it is no plain value."""
        value = None if record is None or self._table.key is None else self._table.key.evaluate(record)
        # NaN equals nothing, and each would have a limit of its own.
        return value if isinstance(value, str | int | float) and value == value else repr(value)

    def wait_s(self, call: Call, now_s: float) -> float:
        key = self.key(call)
        share = self._shares.get(key) or self._overflow()
        if share is None:
            if not self._windows.are_shared:
                return 0.0
            share = self._share(key, now_s)  # the first call needs a lease, too
        requests_s = share.requests.wait_s(1, now_s) if share.requests is not None else 0.0
        if share.tokens is None:
            return requests_s
        return max(requests_s, share.tokens.wait_s(self._tokens(call), now_s))

    def take(self, call: Call, now_s: float) -> None:
        share = self._share(self.key(call), now_s)
        if share.requests is not None:
            share.requests.take(1, now_s)
        if share.tokens is not None:
            amount = self._tokens(call)
            self._reserved[call] = share, amount, share.tokens.take(amount, now_s)

    def settle(self, call: Call, now_s: float) -> None:
        reserved = self._reserved.pop(call, None)
        if reserved is None or call.usage is None:
            return
        share, amount, bin_ = reserved
        share.tokens.correct(bin_, call.usage.total_tokens - amount, now_s)
        self._answer_tokens += _SMOOTH * (call.usage.output_tokens - self._answer_tokens)

    def state(self, now_s: float) -> dict[str, Any]:
        fullest: dict[str, Any] = {}
        for name in ("requests", "tokens"):
            windows = [window for share in self._shares.values() if (window := getattr(share, name)) is not None]
            if windows:
                for window in windows:
                    window.is_unused(now_s)
                fullest[name] = {"limit": windows[0].limit, "used": max(window.used for window in windows)}
        return {**fullest, "keys": len(self._shares)} if self._table.key is not None else fullest

    def _tokens(self, call: Call) -> int:
        of_input, of_output = call.estimate
        expected = int(self._answer_tokens) if of_output is None else min(of_output, int(self._answer_tokens))
        return of_input + (0 if call.request is None else expected)

    def _share(self, key: Hashable, now_s: float) -> _Share:
        share = self._shares.get(key)
        if share is None:
            if len(self._shares) >= _MOST_KEYS:
                self._shares = {k: s for k, s in self._shares.items() if not s.is_unused(now_s)}
            key = key if len(self._shares) < _MOST_KEYS else _OTHERS
            share = self._shares.setdefault(key, _Share(self._table, self._windows, self._name_of(key)))
        return share

    def _name_of(self, key: Hashable) -> str:
        """Name what stands for a key, the same in all programs; it tells nobody the key."""
        if self._table.key is None:
            return f"{self._index}"
        told = "others" if key is _OTHERS else f"{type(key).__name__} {key}"
        return f"{self._index}.{blake2b(told.encode(), digest_size=12).hexdigest()}"

    def _overflow(self) -> _Share | None:
        return self._shares.get(_OTHERS) if len(self._shares) >= _MOST_KEYS else None
