"""TransportPlan: what carries edges, as a plan has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel

    from dagflow.transport import Transport


@dataclass(frozen=True, slots=True)
class TransportPlan:
    """What carries edges; `durable` says whether they go from program to program."""

    name: str
    type: str
    cls: type[Transport]
    options: BaseModel

    @property
    def durable(self) -> bool:
        """Whether what it carries outlives the program, so that the ends of an edge may be in different ones."""
        return self.cls.durable

    def build(self) -> Transport:
        """Construct the plugin; does no I/O."""
        return self.cls(self.options)


@dataclass(frozen=True, slots=True)
class SharedPlan:
    """What keeps that of limits and budgets which all programs share, and in which bucket."""

    transport: TransportPlan
    bucket: str
