"""Stage `shout`: what it does, and the rules that every stage keeps."""

from pathlib import Path

import pytest
from dagflow.testing import Sample, StageConformance, run_text

from dagflow_shout import Shout

PIPELINE = (Path(__file__).parents[1] / "pipeline.toml").read_text()


class TestContract(StageConformance):
    """It keeps every rule."""

    @pytest.fixture
    def plugin(self):
        return Sample(Shout, records=[{"input": "hello"}])


def test_it_writes_upper_case():
    """The field is changed; a record without a text in it fails."""
    run = run_text(PIPELINE, [{"input": "hello"}, {"input": 7}], plugins={"shout": Shout})
    assert run.outputs["out"][0]["input"] == "HELLO"
    assert run.outcomes == {"0": "delivered", "1": "failed"}
