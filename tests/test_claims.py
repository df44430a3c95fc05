"""Claims on files: one writer, and no reader beside it."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from dagflow.claims import check_unclaimed, claim
from dagflow.errors import PluginError


@pytest.fixture
def opened() -> Iterator[Callable[[Path], int]]:
    """Open files; they are closed with the test."""
    with ExitStack() as stack:

        def open_one(path: Path) -> int:
            fd = os.open(path, os.O_RDWR | os.O_CREAT)
            stack.callback(os.close, fd)
            return fd

        yield open_one


def test_a_file_has_one_writer_by_whatever_name(tmp_path: Path, opened: Callable[[Path], int]) -> None:
    """Another descriptor of it is refused, for writing and for reading."""
    path = tmp_path / "a"
    claim(opened(path), path)
    os.link(path, tmp_path / "b")
    for check in (claim, check_unclaimed):
        with pytest.raises(PluginError, match=r"`.*b` is being written by another node or another run"):
            check(opened(tmp_path / "b"), tmp_path / "b")


def test_a_claim_ends_with_its_descriptor(tmp_path: Path, opened: Callable[[Path], int]) -> None:
    """Nothing is left behind."""
    path = tmp_path / "a"
    first = os.open(path, os.O_WRONLY | os.O_CREAT)
    claim(first, path)
    os.close(first)
    claim(opened(path), path)


def test_many_may_read(tmp_path: Path, opened: Callable[[Path], int]) -> None:
    """Readers do not keep each other out."""
    for _ in range(2):
        check_unclaimed(opened(tmp_path / "a"), tmp_path / "a")


def test_devices_are_shared(opened: Callable[[Path], int]) -> None:
    """Everybody may throw away."""
    for _ in range(2):
        claim(opened(Path(os.devnull)), Path(os.devnull))


def test_a_file_system_without_locks_is_no_obstacle(
    tmp_path: Path, opened: Callable[[Path], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems refuse."""

    def refuse(fd: int, kind: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    claim(opened(tmp_path / "a"), tmp_path / "a")
