"""Child: a server in a process of its own, which a test starts, kills and starts again; and ports for it.

Its output goes to a file in the test's folder. It is ended by its own process id, at the latest when its block ends.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


def free_port() -> int:
    """Give a port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_until(holds: Callable[[], object], within_s: float = 20.0) -> None:
    """Wait in this thread until something holds; raise `TimeoutError` where it does not."""
    end = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("the condition did not come to hold")
        time.sleep(0.005)


def listens(port: int) -> bool:
    """Whether somebody accepts connections at a port of 127.0.0.1."""
    with socket.socket() as sock:
        sock.settimeout(1.0)
        return sock.connect_ex(("127.0.0.1", port)) == 0


class Child:
    """A command that runs from `start` until `kill` or `stop`, as often as a test wants.

    Args:
        command: program and arguments.
        log: the file to which its output is appended.
        ready: whether it can be used now.
        environ: variables besides those of this process.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        ready: Callable[[], object],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._command = [str(part) for part in command]
        self._log = log
        self._ready = ready
        self._environ = {**os.environ, **(environ or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id; none while it does not run."""
        return None if self._process is None or self._process.poll() is not None else self._process.pid

    def start(self) -> None:
        """Start it and wait until it can be used."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it."""
        assert self.pid is None
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environ
            )

    def wait_ready(self) -> None:
        """Wait until it can be used; raise `RuntimeError` with the end of its output where it ends instead."""
        try:
            wait_until(lambda: self.pid is None or self._ready())
        except TimeoutError:
            self.kill()
            raise RuntimeError(f"not ready in time: {self._tail()}") from None
        if self.pid is None:
            raise RuntimeError(f"ended with {self._process.returncode}: {self._tail()}")

    def kill(self) -> None:
        """End it at once, as a machine that loses its power would."""
        self._end(subprocess.Popen.kill)

    def stop(self) -> None:
        """Ask it to end, and wait for that; kill it after ten seconds."""
        self._end(subprocess.Popen.terminate)

    def _end(self, how: Callable[[subprocess.Popen[bytes]], None]) -> None:
        if self._process is None:
            return
        how(self._process)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _tail(self) -> str:
        return self._log.read_bytes()[-2000:].decode(errors="replace")
