"""Brokers for all tests here, each test with topics and a group of its own."""

from __future__ import annotations

import pytest
from peers.kafka_brokers import MockKafka, Tansu
from peers.kafka_client import Desk


@pytest.fixture(scope="session")
def tansu(tmp_path_factory):
    """A broker with groups and admin calls."""
    with Tansu(tmp_path_factory.mktemp("tansu")) as broker:
        yield broker


@pytest.fixture(scope="session")
def mock():
    """A broker with idempotent producers, which can be told to fail."""
    with MockKafka() as broker:
        yield broker


@pytest.fixture(params=["tansu", "mock"])
def desk(request):
    """A topic of four partitions and a group, on each of the brokers."""
    return Desk(request.getfixturevalue(request.param), 4)


@pytest.fixture
def tansu_desk(tansu):
    """The same on the one that knows groups of several."""
    return Desk(tansu, 4)


@pytest.fixture
def mock_desk(mock):
    """The same on the one that can be told to fail."""
    return Desk(mock, 4)
