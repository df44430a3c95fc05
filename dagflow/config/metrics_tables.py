"""`[metrics]`: the labels that all metrics have, and the exporters that send them somewhere."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from dagflow.options import Duration, Options

_LABEL: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_TAKEN: Final = ("edge", "node", "worker", "outcome", "le", "kind", "name")


def _check_label(name: str) -> str:
    if not _LABEL.fullmatch(name) or name.startswith("__") or name in _TAKEN:
        expected = f"letters, digits and `_`, no digit first, and none of {', '.join(f'`{taken}`' for taken in _TAKEN)}"
        raise PydanticCustomError("bad_label", "expected {expected}", {"expected": expected})
    return name


class MetricsTable(Options):
    """`[metrics]`, without the tables of exporters."""

    labels: dict[Annotated[str, AfterValidator(_check_label)], str] = Field(
        {}, description="labels that each metric has beside its own"
    )


class ExporterTable(Options):
    """What the engine knows of `[metrics.TYPE]`."""

    interval: Annotated[Duration, Field(gt=0)] = Field(15.0, description="how often metrics are sent")
    timeout: Annotated[Duration, Field(gt=0)] = Field(10.0, description="how long one sending may take")
