"""Numbers as people read them."""

import pytest

from dagflow.cli.numbers import show_count, show_counts, show_duration, show_rate, show_share


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0.0, "0us"),
        (0.0000004, "0.4us"),
        (0.00081, "810us"),
        (0.0009999, "1ms"),
        (0.0123, "12.3ms"),
        (0.99949, "999ms"),
        (0.99951, "1s"),
        (1.25, "1.25s"),
        (59.96, "60s"),
        (99.96, "1min 40s"),
        (125.4, "2min 5s"),
        (3599.6, "1h 0min"),
        (90061.0, "25h 1min"),
    ],
)
def test_durations_have_three_digits(seconds, shown):
    """The unit is the largest that leaves a digit before the point."""
    assert show_duration(seconds) == shown


@pytest.mark.parametrize(("rate", "shown"), [(0.0, "0/s"), (0.25, "0.25/s"), (64.04, "64/s"), (12345.6, "12,346/s")])
def test_rates(rate, shown):
    """Rates have three digits, or all that stand before the point."""
    assert show_rate(rate) == shown


@pytest.mark.parametrize(("share", "shown"), [(0.0, "0 %"), (0.29, "29 %"), (0.999, "99 %"), (1.0, "100 %")])
def test_a_share_is_whole_only_at_the_end(share, shown):
    """Nobody reads 100 % while there is work left."""
    assert show_share(share) == shown


def test_counts():
    """Thousands are set apart."""
    assert show_count(1234567) == "1,234,567"
    assert show_counts({"accepted": 12000, "failed": 3}) == "12,000 accepted, 3 failed"
