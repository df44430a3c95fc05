"""Transport: what a plugin must be that carries edges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from dagflow.plugin import Plugin

if TYPE_CHECKING:
    from dagflow.channel.channel import Channel
    from dagflow.context import ChannelLinks
    from dagflow.graph.plan import EdgePlan
    from dagflow.inference.leasing import Store
    from dagflow.plugin import Sink, Source


class Transport(Plugin):
    """Carries edges whose `via` names it: one inside a program, or, if it is `durable`, from program to program.

    Attributes:
        durable: whether what it carries outlives the program. An edge over it is cut in two: where it starts, a sink
            hands records to it, and where it ends, a source takes them over. Both may be in different programs.
        answers: for a durable one: whether answers and outcomes come back to callers who wait where a record came from.
        shares: whether its brokers also keep what programs share of limits.
    """

    durable: ClassVar[bool] = False
    answers: ClassVar[bool] = False
    shares: ClassVar[bool] = False

    def build_channel(self, edge: EdgePlan, links: ChannelLinks) -> Channel:
        """Build the channel of one edge; only asked of one that is not `durable`."""
        raise NotImplementedError(f"{type(self).__name__} builds no channels")

    def build_outlet(self, edge: EdgePlan) -> Sink:
        """Build what hands records over: a sink that `hands_off`. Only asked of one that is `durable`; does no I/O.

        Its `write` returns when the record cannot be lost any more. It raises `EdgeFull` where the edge says that a
        record is to be shed that finds it full.
        """
        raise NotImplementedError(f"{type(self).__name__} carries nothing from program to program")

    def build_inlet(self, edge: EdgePlan) -> Source:
        """Build what takes records over: a source that `takes_over`. Only asked of one that is `durable`; does no I/O.

        A record is the transport's until it is settled. It comes again, here or elsewhere, if its program dies, or if
        its ticket `is_cut_off`.
        """
        raise NotImplementedError(f"{type(self).__name__} carries nothing from program to program")

    def build_store(self, bucket: str, name: str, log: Any) -> Store:
        """Build what keeps that; only asked of one that `shares`; does no I/O.

        Args:
            bucket: where it is kept; all programs name the same.
            name: what the brokers may call this program.
        """
        raise NotImplementedError(f"{type(self).__name__} keeps nothing that programs share")


def lacking_methods(cls: type[Transport]) -> list[str]:
    """Give what a transport needs, durable or not, and has not."""
    needed = ("build_inlet", "build_outlet") if cls.durable else ("build_channel",)
    return [name for name in needed if getattr(cls, name) is getattr(Transport, name)]
