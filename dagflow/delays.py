"""Delays: how long something takes, as a fixed time or as a distribution.

Written `20ms`, `uniform(5ms, 20ms)` or `lognormal(20ms, 0.5)` (median, then the standard
deviation of the logarithm: latencies of real servers look like this). A delay has no random
state; whoever samples it brings a generator, so that a seed decides everything.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from pydantic_core import PydanticCustomError, core_schema

from dagflow.units import parse_duration

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from pydantic import GetCoreSchemaHandler

_CALL: Final = re.compile(r"(\w+)\(\s*([^,()]+?)\s*,\s*([^,()]+?)\s*\)")
_EXPECTED: Final = 'expected a delay, such as "20ms", "uniform(5ms, 20ms)" or "lognormal(20ms, 0.5)"'


class Delay:
    """A time to wait, in seconds; usable as a pydantic field type."""

    def __init__(self, source: str) -> None:
        """Read the text.

        Raises:
            ValueError: it is no delay; the message says what is expected.
        """
        self.source = source
        self._sample = _read(source.strip())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Delay) and other.source == self.source

    def __hash__(self) -> int:
        return hash(self.source)

    def __bool__(self) -> bool:
        """Whether it may ever be more than 0."""
        return self._sample is not _nothing

    def sample_s(self, random: Random) -> float:
        """Draw one delay."""
        return self._sample(random)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(
            _validated,
            core_schema.str_schema(),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda delay: delay.source),
        )

    def __repr__(self) -> str:
        return f"Delay({self.source!r})"


def _validated(text: str) -> Delay:
    try:
        return Delay(text)
    except ValueError as error:
        raise PydanticCustomError("bad_delay", "{reason}", {"reason": str(error)}) from None


def _read(text: str) -> Callable[[Random], float]:
    call = _CALL.fullmatch(text)
    try:
        if call is None:
            fixed_s = parse_duration(text)
            return (lambda random: fixed_s) if fixed_s else _nothing
        return _DISTRIBUTIONS[call[1]](call[2], call[3])
    except (KeyError, ValueError):
        raise ValueError(_EXPECTED) from None


def _nothing(random: Random) -> float:
    return 0.0


def _uniform(low: str, high: str) -> Callable[[Random], float]:
    low_s, high_s = parse_duration(low), parse_duration(high)
    if low_s > high_s:
        raise ValueError
    return lambda random: random.uniform(low_s, high_s)


def _lognormal(median: str, sigma: str) -> Callable[[Random], float]:
    mu, spread = math.log(parse_duration(median)), float(sigma)  # a median of 0 has no logarithm: ValueError
    if not 0 <= spread < math.inf:
        raise ValueError
    return lambda random: random.lognormvariate(mu, spread)


_DISTRIBUTIONS: Final = {"uniform": _uniform, "lognormal": _lognormal}
