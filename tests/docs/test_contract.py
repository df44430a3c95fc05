"""The contract says what the code checks, and its examples are true."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
from pathlib import Path

from dagflow.plugin import CONTRACTS
from dagflow.testing import RULES, Sample

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "contract.md").read_text(encoding="utf-8")


def test_the_rules_are_those_of_the_code():
    """`python docs/build_contract.py` would write the page as it is, and no rule is left out."""
    spec = importlib.util.spec_from_file_location("build_contract", DOCS / "build_contract.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.render(PAGE) == PAGE
    told = re.findall(r"^- \*\*([A-Z]+-\d+)\*\* \S", PAGE, re.MULTILINE)
    assert sorted(told) == sorted({rule.id for rules in RULES.values() for rule in rules})
    assert len(told) > 60


def test_every_attribute_of_a_sample_is_documented():
    """And none that does not exist."""
    told = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    assert told == [field.name for field in dataclasses.fields(Sample)]


def test_the_version_is_the_one_that_is_kept():
    """The page is about the newest."""
    assert f"This is contract {max(CONTRACTS)}." in PAGE
