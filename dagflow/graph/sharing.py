"""Checks of `[shared]`: that there is something to share, and something to share it by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagflow.config.diagnostics import Diagnostic, diagnose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagflow.graph.draft import Draft


def check_sharing(draft: Draft) -> Iterator[Diagnostic]:
    """Find a transport that is not there, or that keeps nothing for all."""
    table = draft.tables.get(("shared",))
    if table is None:
        return
    key, name = ("shared", "transport"), table.transport
    transport = draft.transports.get(name)
    if transport is None:
        text = f"`[shared]` names the transport `{name}`, but there is no table `[transports.{name}]`"
        hint = f'add `[transports.{name}]` with `type = "nats"`'
        yield diagnose("unknown-transport", text, key, hint=hint)
    elif not transport.cls.shares:
        text = f"transport `{name}` of type `{transport.type}` keeps nothing that programs could share"
        yield diagnose("not-shared", text, key, hint="name one of type `nats`")


def advise_sharing(draft: Draft) -> Iterator[Diagnostic]:
    """Warn of a table without effect."""
    limited = any(worker.guards.limits or worker.guards.budget for worker in draft.workers.values())
    if ("shared",) in draft.tables and not limited:
        text = "`[shared]` has no effect: no worker has `limits` or a `budget`"
        yield diagnose("idle-shared", text, ("shared",), hint="remove the table")
