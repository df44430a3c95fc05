"""Writes the table of metrics into the guide, from the catalogue in the code; run it after that has changed."""

from __future__ import annotations

import re
from pathlib import Path

from dagflow.telemetry.catalog import CATALOG

PAGE = Path(__file__).parent / "guide" / "40-metrics-and-traces.md"
_TABLE = re.compile(r"<!-- metrics -->\n(?:\|.*\n)*")


def render(page: str) -> str:
    """Give the page with the table as the code has it."""
    rows = [f"| `{name}` | {entry.kind} | {entry.unit or '-'} | {entry.help} |\n" for name, entry in CATALOG.items()]
    table = "".join(["| metric | kind | unit | meaning |\n", "|---|---|---|---|\n", *rows])
    return _TABLE.sub(f"<!-- metrics -->\n{table}", page)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
