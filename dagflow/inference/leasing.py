"""Leasing: gets what windows want from ledgers in a store that several programs see.

A ledger is read, changed, and written where nobody has changed it meanwhile; else all is done once more. Where the
store cannot be reached, what is in hand may be taken until its lease ends; then calls wait.
"""

from __future__ import annotations

import asyncio
from random import random
from typing import TYPE_CHECKING, Any, Final, Protocol

from dagflow.errors import StoreUnreachable, describe
from dagflow.inference.ledger import Moment
from dagflow.inference.shared_sum import SharedSum
from dagflow.inference.shared_window import SharedWindow
from dagflow.inference.spending import Sum
from dagflow.inference.window import Window
from dagflow.tasks import end

if TYPE_CHECKING:
    from collections.abc import Callable

_ATTEMPTS: Final = 20  # at one ledger, before somebody else has a turn
_TEND_EVERY_S: Final = 1.0
_CLOCK_EVERY_S: Final = 30.0
_DRIFT: Final = 1e-3  # of two clocks: far more than they may have
_PAUSE_S: Final = 0.05
_MOST_PAUSE_S: Final = 2.0
_CLOSE_S: Final = 2.0


class Conflict(Exception):
    """Somebody else has changed the entry."""


class Store(Protocol):
    """Where ledgers stand. What cannot be reached raises `StoreUnreachable`."""

    async def open(self) -> None:
        """Connect."""

    async def close(self) -> None:
        """Let go; twice is fine."""

    async def read(self, name: str) -> tuple[bytes | None, int]:
        """Give an entry and its revision; None and 0 where there is none."""

    async def write(self, name: str, data: bytes, revision: int) -> None:
        """Write an entry whose revision is still this one.

        Raises:
            Conflict: it is not.
        """

    async def time(self) -> float:
        """Give what its clock showed between the call and the answer, in seconds."""


class Account(Protocol):
    """What this program has of something that several share."""

    name: str
    on_room: Callable[[], None]

    def change(self, data: bytes | None, now: Moment) -> bytes | None:
        """Give what is to stand in the store; None if that is as it was.

        Raises:
            ValueError: what stands there is of something else.
        """

    def changed(self) -> float | None:
        """Take it that this stands there now; gives when to look again if more is wanted, in seconds."""

    def unknown(self) -> None:
        """Take it that nobody knows whether this stands there."""

    def tends(self, now_s: float) -> bool:
        """Let go of what is over, and say whether the store is to be told of something."""

    def is_unused(self, now_s: float) -> bool:
        """Whether it need not be tended."""

    def give_up(self) -> None:
        """Let go of all that is in hand."""


class Windows:
    """The windows of one worker's limits: its own, or parts of what several programs share.

    Attributes:
        on_room: called when what somebody waits for is in hand.
    """

    def __init__(self, worker: str, leasing: Leasing | None = None) -> None:
        self.on_room: Callable[[], None] = lambda: None
        self._worker = worker
        self._leasing = leasing

    @property
    def are_shared(self) -> bool:
        """Whether several programs share them."""
        return self._leasing is not None

    def build(self, name: str, limit: int, length_s: float) -> Any:
        """Build one; `name` is the same in all programs, and no other's of this worker."""
        if self._leasing is None:
            return Window(limit, length_s)
        return self._leasing.build_window(f"limits.{self._worker}.{name}", limit, length_s, self)

    def build_sum(self, most: float | None, per_s: float | None) -> Any:
        """Build the sum of the worker's budget."""
        if self._leasing is None:
            return Sum(most, per_s)
        return self._leasing.build_sum(f"budgets.{self._worker}", most, per_s, self)


class Leasing:
    """Leases for all windows of one program.

    Args:
        clock: the program's, in seconds.

    Attributes:
        trouble: why the store cannot be reached; None if it can.
    """

    def __init__(self, store: Store, clock: Callable[[], float], log: Any) -> None:
        self.trouble: str | None = None
        self._store = store
        self._clock = clock
        self._log = log
        self._tended: set[Account] = set()
        self._wanting: dict[Account, float] = {}  # and when it is worth to look
        self._bell = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._offset = Moment(0.0, 0.0)
        self._synced_s = 0.0

    def build_window(self, name: str, limit: int, length_s: float, owner: Windows) -> SharedWindow:
        """Build a window."""
        return SharedWindow(name, limit, length_s, self.moment, self._want, lambda: owner.on_room())

    def build_sum(self, name: str, most: float | None, per_s: float | None, owner: Windows) -> SharedSum:
        """Build a sum."""
        total = SharedSum(name, most, per_s, self._want, lambda: owner.on_room())
        self._want(total)
        return total

    def moment(self, now_s: float) -> Moment:
        """Tell what the store's clock shows at a time of the program's."""
        drift_s = (now_s - self._synced_s) * _DRIFT
        return Moment(now_s + self._offset.earliest_s - drift_s, now_s + self._offset.latest_s + drift_s)

    async def open(self) -> None:
        """Connect, and begin to lease.

        Raises:
            PluginError: the store is not there.
            StoreUnreachable: it does not answer.
        """
        await self._store.open()
        await self._sync()
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Give back what is in hand, and let go of the store; twice is fine."""
        try:
            if self._task is not None:
                await end(self._task)
                self._task = None
                await self._give_back()
        finally:
            await self._store.close()

    async def _give_back(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_S):
                for account in self._tended:
                    account.give_up()
                    if account.tends(self._clock()):
                        await self._lease(account)
        except (TimeoutError, StoreUnreachable):
            pass  # it counts until it is too old to matter

    def _want(self, account: Account) -> None:
        if account not in self._wanting:
            self._wanting[account] = 0.0
            self._tended.add(account)
            self._bell.set()

    async def _run(self) -> None:
        pause_s = _PAUSE_S
        while True:
            try:
                await self._wait()
                await self._tend()
                pause_s = _PAUSE_S
            except Exception as error:
                if self.trouble is None:
                    self._log.warning("limits cannot be leased: calls wait once none is left", error=describe(error))
                self.trouble = describe(error)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _MOST_PAUSE_S)
            else:
                if self.trouble is not None:
                    self._log.info("limits can be leased again")
                    self.trouble = None

    async def _wait(self) -> None:
        """Wait until a ledger is worth a look."""
        now_s = self._clock()
        due_s = min(self._wanting.values(), default=now_s + _TEND_EVERY_S)
        self._bell.clear()
        try:
            async with asyncio.timeout(min(max(due_s - now_s, 0.0), _TEND_EVERY_S)):
                await self._bell.wait()
        except TimeoutError:
            pass

    async def _tend(self) -> None:
        now_s = self._clock()
        if now_s - self._synced_s > _CLOCK_EVERY_S:
            await self._sync()
        for account, due_s in list(self._wanting.items()):
            if due_s <= now_s:
                await self._lease(account)
        for account in list(self._tended):
            if account.tends(now_s):
                await self._lease(account)
            elif account.is_unused(now_s) and account not in self._wanting:
                self._tended.discard(account)

    async def _lease(self, account: Account) -> None:
        """Change what stands for an account, until nobody is in between."""
        for _ in range(_ATTEMPTS):
            data, revision = await self._store.read(account.name)
            try:
                changed = account.change(data, self.moment(self._clock()))
            except ValueError as error:  # the others need not wait for somebody to remove it
                self._log.error("what stands there is of something else", entry=account.name, error=describe(error))
                self._wanting[account] = self._clock() + _MOST_PAUSE_S
                return
            try:
                if changed is not None:
                    await self._store.write(account.name, changed, revision)
            except Conflict:
                await asyncio.sleep(random() * _PAUSE_S / 10)
                continue
            except BaseException:
                account.unknown()
                raise
            again_s = account.changed()
            if again_s is None:
                self._wanting.pop(account, None)
            else:
                self._wanting[account] = self._clock() + max(again_s, _PAUSE_S / 10) * (1 + random() / 10)
            account.on_room()
            return

    async def _sync(self) -> None:
        """Compare the clocks."""
        before_s = self._clock()
        shown_s = await self._store.time()
        after_s = self._clock()
        self._offset, self._synced_s = Moment(shown_s - after_s, shown_s - before_s), before_s
