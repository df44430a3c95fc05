"""Writes the rules into `docs/contract.md`: below each heading, the list of those that stand under its prefix.

The text between the lists is written by hand; run this after a rule has changed.
"""

from __future__ import annotations

import re
from pathlib import Path

from dagflow.testing import RULES

PAGE = Path(__file__).with_name("contract.md")
_LIST = re.compile(r"<!-- rules: ([A-Z]+) -->\n(?:(?:- .*|  .*)\n)*")


def render(page: str) -> str:
    """Give the page with every list of rules as the code has it."""
    rules = {rule.id: rule for each in RULES.values() for rule in each}

    def listed(match: re.Match[str]) -> str:
        mine = [rule for rule in rules.values() if rule.id.startswith(f"{match[1]}-")]
        return match[0].partition("\n")[0] + "\n" + "".join(f"- **{rule.id}** {rule.text}\n" for rule in mine)

    return _LIST.sub(listed, page)


if __name__ == "__main__":
    PAGE.write_text(render(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
