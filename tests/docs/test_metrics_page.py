"""The table of metrics is that of the code."""

import importlib.util
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_table_is_that_of_the_code():
    """`python docs/build_metrics.py` would write the page as it is."""
    spec = importlib.util.spec_from_file_location("build_metrics", DOCS / "build_metrics.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = module.PAGE.read_text(encoding="utf-8")
    assert module.render(page) == page
    assert page.count("\n| `dagflow_") > 40
