"""Quota: how many requests and tokens one bearer token may use within a time; beyond that it is refused, at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dagflow.inference.window import Window

if TYPE_CHECKING:
    from dagflow.inference.window import Bin


class Quota:
    """The windows of one token. What a request will take of tokens is known when it is over."""

    def __init__(self, requests: tuple[int, float] | None, tokens: tuple[int, float] | None) -> None:
        self._requests = requests and Window(*requests)
        self._tokens = tokens and Window(*tokens)

    def wait_s(self, tokens: int, now_s: float) -> tuple[float, str]:
        """Say how long a request has to wait that is guessed to take so many tokens, in seconds, and for what."""
        waits = [(0.0, "")]
        if self._requests is not None:
            waits.append((self._requests.wait_s(1, now_s), "requests"))
        if self._tokens is not None:
            waits.append((self._tokens.wait_s(tokens, now_s), "tokens"))
        return max(waits)

    def take(self, tokens: int, now_s: float) -> Bin | None:
        """Note a request; what it gives is for `settle`."""
        if self._requests is not None:
            self._requests.take(1, now_s)
        return None if self._tokens is None else self._tokens.take(tokens, now_s)

    def settle(self, reserved: Bin | None, guessed: int, used: int | None, now_s: float) -> None:
        """Note what a request has taken; what ended without a usage keeps its guess."""
        if reserved is not None and used is not None:
            self._tokens.correct(reserved, used - guessed, now_s)

    def headers(self, now_s: float) -> dict[str, str]:
        """Give the `x-ratelimit-*` headers: limit, what is left, and the seconds until all of it is there again."""
        headers = {}
        for name, window in (("requests", self._requests), ("tokens", self._tokens)):
            if window is not None:
                left = max(window.limit - window.used_at(now_s), 0)
                headers[f"x-ratelimit-limit-{name}"] = str(window.limit)
                headers[f"x-ratelimit-remaining-{name}"] = str(left)
                headers[f"x-ratelimit-reset-{name}"] = f"{math.ceil(window.reset_s(now_s) * 1000)}ms"
        return headers
