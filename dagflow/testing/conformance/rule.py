"""Rule: one thing that a plugin must do, and the check that finds out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dagflow.testing.conformance.trial import Trial


class Breach(AssertionError):
    """A plugin does not keep a rule; the text says what was found."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        id: the kind that it is about, and its number, such as `STAGE-3`; it stays the same for ever.
        text: what the plugin must do, in one sentence.
        check: tries it; raises `Breach` where the plugin does otherwise.
    """

    id: str
    text: str
    check: Callable[[Trial], Awaitable[None]]


def rule(id: str) -> Callable[[Callable[[Any], Awaitable[None]]], Rule]:
    """Make a rule of the function that checks it; its docstring is the text."""
    return lambda check: Rule(id, " ".join((check.__doc__ or "").split()), check)


def demand(holds: object, found: str) -> None:
    """Say what was found, unless all is well.

    Raises:
        Breach: `holds` is false.
    """
    if not holds:
        raise Breach(found)
