"""Addresses to listen at."""

import pytest

from dagflow.addresses import is_loopback_name, parse_address


@pytest.mark.parametrize("text", ["127.0.0.1:8000", "[::1]:0", "localhost:65535", "0.0.0.0:1", "api.example.com:443"])
def test_what_is_written_is_read_and_shown(text):
    """An address is shown as it was written."""
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "8000", ":8000", "localhost", "localhost:", "a:65536", "a:-1", "::1:80", "[a]:1", "a b:1", "http://a:1"],
)
def test_what_is_no_address_is_told(text):
    """What lacks a host or a port, or has brackets in the wrong place, is refused."""
    with pytest.raises(ValueError, match="expected `HOST:PORT`"):
        parse_address(text)


def test_what_only_this_machine_can_reach():
    """Loopback is a whole network, and has a name."""
    inside = ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST."]
    outside = ["0.0.0.0", "::", "10.0.0.1", "localhost.example.com", "127.0.0.1.example.com"]
    assert [is_loopback_name(name) for name in inside] == [True] * 5
    assert not any(map(is_loopback_name, outside))
