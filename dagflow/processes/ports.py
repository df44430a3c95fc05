"""Ports: where sources of several processes listen together; the kernel shares out connections among them."""

from __future__ import annotations

import shutil
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from dagflow.errors import OpenFailed
from dagflow.processes.dividing import far_sources

if TYPE_CHECKING:
    from dagflow.addresses import Address
    from dagflow.graph.plan import NodePlan, Plan


class Ports:
    """The ports of sources that all processes have, which are held while the run lasts.

    Attributes:
        numbers: the port of each, by the source's name.
        folder: that of the run, once it is open, where children meet; nobody else can enter it.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._taken: dict[tuple[str, Address], int] = {}
        self._held: list[socket.socket] = []
        self.numbers: dict[str, int] = {}
        self.folder = Path()

    def make_folder(self) -> None:
        """Make the folder; children whose parent was killed remove it."""
        self.folder = Path(tempfile.mkdtemp(prefix="dagflow-"))

    def open(self) -> None:
        """Take them.

        Raises:
            OpenFailed: somebody else has one.
        """
        self.numbers = self.open_for(self._plan)

    def open_for(self, plan: Plan) -> dict[str, int]:
        """Take those that a plan needs beside what is held already; gives the port of each of its sources.

        Raises:
            OpenFailed: somebody else has one.
        """
        far, numbers = far_sources(plan), {}
        for node in plan.of_kind("source"):
            if node.name in far or not hasattr(node.options, "listen"):
                continue
            known = (node.name, node.options.listen)
            try:
                numbers[node.name] = self._taken[known] = self._taken.get(known) or self._take(node)
            except OSError as error:
                raise OpenFailed(node.name, error) from error
        return numbers

    def close(self) -> None:
        """Let go of them; twice is fine."""
        for held in self._held:
            held.close()
        self._held = []
        if self.folder.name:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _take(self, node: NodePlan) -> int:
        address: Address = node.options.listen  # type: ignore[attr-defined]
        family, kind, protocol, _, place = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:  # a port that is to be shared could be taken twice
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            place = probe.getsockname()
        held = socket.socket(family, kind, protocol)
        self._held.append(held)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(place)
        return int(held.getsockname()[1])
