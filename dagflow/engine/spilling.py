"""Spilling: opens the spools of the edges that have one, and takes over what an earlier run has left there.

A record goes on if nobody else brings it again: one that the checkpoint knows and that stood nowhere else, or one of a
live source that answers nobody. All else is let go of: its source reads it again, or its callers have gone.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any, Final

from anyio import to_thread

from dagflow.engine.heir import Heir
from dagflow.engine.shadow import ShadowBook
from dagflow.errors import OpenFailed, PluginError, StoreError
from dagflow.record import GOOD
from dagflow.store.frozen import VERSION, fields_of, husk_of, known_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from dagflow.channel.overflow import SpillChannel
    from dagflow.engine.checkpointing import Checkpointing
    from dagflow.engine.wiring import Wiring
    from dagflow.record import Record, Ticket
    from dagflow.store.spool import Location

_HARMLESS: Final = GOOD | {None}


class Spilling:
    """What an engine does for the edges that spill."""

    def __init__(
        self,
        wiring: Wiring,
        checkpoint: Checkpointing | None,
        on_cancel: Callable[[Ticket], None],
        clock: Callable[[], float],
        log: Any,
        aside: bool,
    ) -> None:
        """Take what a run has; `aside` if its records are not those of the sources: it has folders of its own then."""
        self._channels: list[SpillChannel] = [c for c in wiring.channels.values() if c.edge.spill is not None]
        self._wiring = wiring
        self._checkpoint = checkpoint
        self._cancel = on_cancel
        self._clock = clock
        self._log = log
        self._aside = aside
        self._told: set[str] = set()

    async def open(self) -> None:
        """Open the spools.

        Raises:
            OpenFailed: a folder can't be used, or another run has it.
        """
        for channel in self._channels:
            overflow = channel.overflow
            overflow.know, overflow.on_trouble = know, self._tell
            try:
                if self._aside:
                    overflow.spool.folder = await to_thread.run_sync(folder_aside, overflow.spool.folder)
                damages = await to_thread.run_sync(overflow.spool.open)
                for damage in damages:
                    self._log.error("spill is damaged", edge=channel.edge.name, damage=str(damage))
                self._take_over(channel)
            except OSError as error:
                raise OpenFailed(channel.edge.name, StoreError(overflow.spool.folder, error.strerror)) from error
            except (PluginError, StoreError) as error:
                raise OpenFailed(channel.edge.name, error) from error

    async def close(self) -> None:
        """Let go of the spools; twice is fine."""
        for channel in self._channels:
            spool = channel.overflow.spool
            try:
                await to_thread.run_sync(spool.close)
            except OSError as error:
                self._tell(f"`{spool.folder}` cannot be used: {error.strerror}")

    def _take_over(self, channel: SpillChannel) -> None:
        spool, taken, left = channel.overflow.spool, 0, 0
        for location, entry in spool.entries():
            known = known_of(entry)
            if known.get("version") != VERSION:
                reason = f"it has records of version {known.get('version')}, and this dagflow knows version {VERSION}"
                raise StoreError(spool.folder, reason, "use the dagflow that wrote it, or remove the folder")
            if self._revive(channel, location, entry, known):
                taken += 1
            else:
                left += 1
        if taken or left:
            self._log.info("spill of an earlier run", edge=channel.edge.name, taken_over=taken, let_go=left)
        if not taken:
            spool.clear()

    def _revive(self, channel: SpillChannel, location: Location, entry: bytes, known: dict[str, Any]) -> bool:
        source = self._wiring.sources.get(known["source"])
        if source is None:
            return False
        mark = None
        if known["key"] is not None:
            if self._checkpoint is None or not known["alone"]:
                return False
            key, id, written = bytes.fromhex(known["key"]), known["id"], known["written"]
            mark = self._checkpoint.take_over(source.plan.name, key, id, written)
            if mark is None:
                return False
        elif source.plugin.finite or source.plugin.serves or source.plugin.gives_back:
            return False
        record = husk_of(entry, self._clock)
        record.update(fields_of(entry))
        keeps = self._wiring.letters is not None
        Heir(source.plan, self._wiring.book, self._checkpoint, self._cancel, keeps).take_over(record, mark)
        record.clear()
        channel.restore(record, location)
        return True

    def _tell(self, reason: str) -> None:
        if reason not in self._told:
            self._told.add(reason)
            self._log.error("spill", error=reason)


def folder_aside(folder: Path) -> Path:
    """Make a new folder beside another one."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Path(mkdtemp(prefix=f"{folder.name}.", dir=folder.parent))


def know(record: Record) -> dict[str, Any]:
    """Give what a later run has to know of a record: whose it was, and whether there is more of it elsewhere."""
    ticket = record.ticket
    if isinstance(ticket.owner, ShadowBook):
        return {"source": None, "key": None}
    mark = ticket.mark
    return {
        "source": ticket.owner.plan.name,
        "key": None if mark is None else mark.key.hex(),
        "id": None if mark is None else mark.id,
        "alone": is_alone(ticket),
        "written": [] if mark is None else mark.all_written,
    }


def is_alone(ticket: Ticket) -> bool:
    """Whether one branch is all that there is of a record: others have left nothing, at a join on its way neither."""
    joins = (ticket.gatherings or {}).values()
    return ticket.branches == 1 and ticket.outcome in _HARMLESS and all(gathering.done for gathering in joins)
