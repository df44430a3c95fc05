"""The engine's keys of `[workers.NAME]`: what bounds, counts and prices the calls of any worker.

They hold for every type, those of other packages and pools included.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from dagflow.expressions import Expression
from dagflow.options import Allowance, Duration, Options, TokenAllowance

_Wait = Annotated[Duration, Field(gt=0)]
_Count = Annotated[int, Field(ge=1)]
_Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]

REMOTE_TOTAL_S: Final = 120.0
"""How long a call of a remote worker may take, where its table does not say, in seconds."""
REMOTE_FIRST_TOKEN_S: Final = 60.0
"""The same of the wait for its first chunk."""


class LimitTable(Options):
    """One element of `limits`."""

    requests: Allowance | None = Field(None, description="how many calls there may be in any such time")
    tokens: TokenAllowance | None = Field(
        None, description="how many tokens, input and output together, in any such time"
    )
    key: Expression | None = Field(
        None,
        description="each value of this expression on the record has its own limit; by default there is one for all",
    )

    @model_validator(mode="after")
    def _limits_something(self) -> LimitTable:
        if self.requests is None and self.tokens is None:
            raise PydanticCustomError("no_limit", "expected `requests`, `tokens` or both")
        return self


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


class BreakerTable(Options):
    """`breaker`: stops asking a worker that fails."""

    failures: _Count = Field(5, description="so many failures among the last `calls` open it")
    calls: _Count = Field(10, description="how many of the last calls are looked at")
    cooldown: _Wait = Field(5.0, description="how long nothing is asked then, before one call tries")
    max_cooldown: _Wait = Field(120.0, description="where that fails, the wait doubles, up to this")

    @model_validator(mode="after")
    def _fits(self) -> BreakerTable:
        if self.failures > self.calls:
            raise PydanticCustomError("bad_breaker", "`failures` is more than `calls`, so that it would never open")
        if self.cooldown > self.max_cooldown:
            raise PydanticCustomError("bad_breaker", "`cooldown` is more than `max_cooldown`")
        return self


class AdaptiveTable(Options):
    """`adaptive`: finds out how many calls a worker can take at a time."""

    min: _Count = Field(1, description="the fewest calls at a time")
    max: _Count = Field(256, description="the most calls at a time; where it starts")
    decrease: float = Field(0.75, gt=0, lt=1, description="what is left after the server says that it is too much")
    latency: float = Field(3.0, gt=1, description="a latency of so many times its long average counts as too much, too")

    @model_validator(mode="after")
    def _fits(self) -> AdaptiveTable:
        if self.min > self.max:
            raise PydanticCustomError("bad_adaptive", "`min` is more than `max`")
        return self


class PricesTable(Options):
    """`prices`, in any currency, for a million tokens."""

    input: _Money = Field(0.0, description="for a million tokens of input")
    output: _Money = Field(0.0, description="for a million tokens of output")
    cached: _Money | None = Field(
        None, description="for a million tokens of input that the server had in a cache; by default that of `input`"
    )


class BudgetTable(Options):
    """`budget`, in the currency of `prices`."""

    warn: _Money | None = Field(None, description="a warning is logged once this much is spent")
    reject: _Money | None = Field(None, description="no call is made any more once this much is spent")
    per: _Wait | None = Field(None, description="the sum begins anew after this time; by default it is that of the run")

    @model_validator(mode="after")
    def _bounds_something(self) -> BudgetTable:
        if self.warn is None and self.reject is None:
            raise PydanticCustomError("no_budget", "expected `warn`, `reject` or both")
        return self


class GuardKeys(Options):
    """What the engine does around the calls of a worker."""

    total_timeout: _Wait | None = Field(
        None, description="how long one call may take; 120s by default for workers behind a network"
    )
    first_token_timeout: _Wait | None = Field(
        None, description="how long a stream may take to its first chunk; 60s by default for workers behind a network"
    )
    idle_timeout: _Wait | None = Field(None, description="how long a stream may pause between two chunks")
    max_in_flight: _Count | None = Field(None, description="how many calls may be made at a time; the others wait")
    adaptive: AdaptiveTable | None = Field(
        None, description="find out how many calls may be made at a time; `adaptive = {}` does it with the defaults"
    )
    limits: Annotated[list[LimitTable], BeforeValidator(_as_list)] = Field(
        [], description="calls and tokens within a time: one table, or several of which each holds"
    )
    breaker: BreakerTable | None = Field(
        None, description="stop asking while it fails; `breaker = {}` does it with the defaults"
    )
    prices: PricesTable | None = Field(None, description="what tokens cost")
    budget: BudgetTable | None = Field(None, description="what may be spent")
