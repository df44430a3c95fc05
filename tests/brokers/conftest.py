"""What client libraries and peers leave to the garbage collector is collected in the test that left it."""

from __future__ import annotations

import gc

import pytest


@pytest.fixture(autouse=True)
def collected():
    """Collect at the end of each test, whose marks say that sockets may be left open."""
    yield
    gc.collect()
