"""Pause: asks nothing of a server that said how long to wait, until then; its newest word counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dagflow.inference.gate import Guard

if TYPE_CHECKING:
    from dagflow.inference.call import Call


LONGEST_PAUSE_S: Final = 3600.0
"""The longest that anybody waits because a server asked for it, in seconds; then it is tried again."""


class Pause(Guard):
    """Honours `Retry-After` for all calls of one worker, not only for the one that was told."""

    name = "pause"

    def __init__(self) -> None:
        self._until_s = 0.0

    def wait_s(self, call: Call, now_s: float) -> float:
        return max(self._until_s - now_s, 0.0)

    def settle(self, call: Call, now_s: float) -> None:
        if call.error == "overloaded" and call.retry_after is not None:
            self._until_s = now_s + min(call.retry_after, LONGEST_PAUSE_S)

    def state(self, now_s: float) -> dict[str, Any]:
        left_s = self._until_s - now_s
        return {"left_s": left_s} if left_s > 0 else {}
