"""Delays: their text and their draws."""

from __future__ import annotations

from random import Random
from statistics import median

import pytest

from dagflow.delays import Delay


def test_a_fixed_delay_is_always_the_same() -> None:
    """It needs no randomness."""
    assert {Delay(" 20ms ").sample_s(Random(seed)) for seed in range(5)} == {0.02}


def test_uniform_stays_between_its_bounds() -> None:
    """Both bounds are durations."""
    delay, random = Delay("uniform(5ms, 20ms)"), Random(1)
    drawn = [delay.sample_s(random) for _ in range(1000)]
    assert 0.005 <= min(drawn) < 0.006
    assert 0.019 < max(drawn) <= 0.02


def test_lognormal_has_its_median() -> None:
    """The first number is the median, and the tail is long."""
    delay, random = Delay("lognormal(20ms,0.5)"), Random(1)
    drawn = [delay.sample_s(random) for _ in range(5000)]
    assert median(drawn) == pytest.approx(0.02, rel=0.05)
    assert max(drawn) > 0.06


def test_one_seed_gives_one_series() -> None:
    """A delay has no state of its own."""
    delay = Delay("lognormal(1s, 1)")
    assert delay.sample_s(Random("a")) == delay.sample_s(Random("a"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20",
        "20 minutes",
        "normal(1s, 2s)",
        "uniform(1s)",
        "uniform(2s, 1s)",
        "uniform(1, 2)",
        "lognormal(0s, 1)",
        "lognormal(1s, x)",
        "lognormal(1s, -1)",
        "lognormal(1s, inf)",
        "lognormal(1s, nan)",
        "uniform(1s, 2s) or so",
    ],
)
def test_what_is_no_delay_is_refused(text: str) -> None:
    """The message shows every form."""
    with pytest.raises(ValueError, match=r'expected a delay, such as "20ms", "uniform.*lognormal'):
        Delay(text)
