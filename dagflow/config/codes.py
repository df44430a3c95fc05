"""The catalogue of diagnostic codes: how severe each is, and what it means.

A diagnostic can only be made with a code that stands here. Codes are stable: tools filter by
them. The documentation's list is made from this one.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Severity = Literal["error", "warning"]


class Code(NamedTuple):
    """Severity of a code, and its explanation in one sentence."""

    severity: Severity
    meaning: str


def _error(meaning: str) -> Code:
    return Code("error", meaning)


def _warning(meaning: str) -> Code:
    return Code("warning", meaning)


CODES: Final[dict[str, Code]] = {
    # The text
    "unreadable-file": _error("The pipeline file is missing, is no file, or is not UTF-8 text."),
    "toml-syntax": _error("The text is not valid TOML."),
    "bad-override": _error("A `--set` does not have the form KEY=VALUE, or its key leads nowhere."),
    "bad-reference": _error("A `${...}` is neither `${env:NAME}`, `${env:NAME:-default}` nor `${file:PATH}`."),
    "unset-variable": _error("A `${env:NAME}` names an environment variable that is not set and gives no default."),
    "unreadable-reference": _error("The file that a `${file:PATH}` names cannot be read as text."),
    # Tables and values
    "unknown-table": _error("A top-level table is not part of the language."),
    "unknown-key": _error("A key is known neither to the engine nor to the plugin."),
    "missing-option": _error("A key that has no default is not given."),
    "wrong-type": _error("A value has another TOML type than its key wants."),
    "wrong-unit": _error("A duration, size or rate lacks its unit or has an unknown one."),
    "wrong-value": _error("A value is not among those that its key allows."),
    "out-of-range": _error("A number is too small or too large, or a text or array too short or too long."),
    "invalid-option": _error("A plugin refused the value of one of its options."),
    "bad-expression": _error("A condition does not parse."),
    "bad-template": _error("A template does not parse."),
    "bad-name": _error("A node or worker has a name that is not lower-case letters, digits, `-` and `_`."),
    "duplicate-name": _error("Two nodes have one name."),
    "backoff-above-max": _error("The first wait of a retry is longer than the longest allowed."),
    "block-timeout-without-block": _error("An edge that never blocks has a `block_timeout`."),
    "spill-nowhere": _error("An edge spills to disk, but has no `spill` that says where."),
    "spill-without-spilling": _error("An edge that does not spill has a `spill`."),
    "process-conflict": _error("Several processes cannot share what the file asks for."),
    "thin-limit": _error("A limit is smaller than the number of processes that have to share it."),
    "spill-conflict": _error("An edge that spills to disk has a key that such an edge cannot have."),
    "ageing-without-priority": _error("An edge that does not go by priority has an `ageing`."),
    "join-key-without-join": _error("A node that does not join all branches has a key that only such a join has."),
    "dead-letter-without-store": _error("An edge keeps what it sheds, but the file has no `[dead_letters]`."),
    "admin-beyond-machine": _error("The admin listener is to listen at an address that other machines may reach."),
    # Plugins
    "unknown-type": _error("No installed package offers a plugin of this kind and type."),
    "ambiguous-type": _error("Two installed packages offer a plugin of this kind and type."),
    "broken-plugin": _error("A plugin is installed, but does not load or breaks its contract."),
    "worker-does-not-answer": _error("With `--probe`: a worker could not be opened, or did not answer."),
    "worker-cycle": _error("A pool contains itself, or workers ask each other in a circle."),
    "budget-without-prices": _error("A worker has a `budget`, but nothing that it does has a price."),
    "unknown-worker": _error("An option names a worker that has no table."),
    "unknown-transport": _error("An edge goes via a transport that the file does not describe and no package offers."),
    "not-shared": _error("`[shared]` names a transport that keeps nothing which programs could share."),
    # The graph
    "no-sources": _error("The file has no source."),
    "no-sinks": _error("The file has no sink."),
    "no-edges": _error("The file has nodes but no edges."),
    "unknown-node": _error("An edge comes from or goes to a node that does not exist."),
    "unknown-port": _error("An edge leaves a port that its node does not have."),
    "edge-into-port": _error("An edge goes to a port; only the start of an edge may name one."),
    "edge-into-source": _error("An edge goes into a source."),
    "edge-out-of-sink": _error("An edge leaves a sink other than by its error port."),
    "duplicate-edge": _error("Two edges have the same start and end."),
    "cycle": _error("Nodes wait for each other in a circle."),
    "unreachable-node": _error("No source leads to a node."),
    "unanswered": _error("Callers wait for an answer on a way that leads to no sink which gives one."),
    "open-door": _error("A source can be used from other machines by anybody."),
    "not-resumable": _error("The file has a `[checkpoint]`, but a node could not go on where it was."),
    "lost-for-good": _error("A source can't leave a record open, and some that do not come through would not be kept."),
    "dead-end": _error("A node leads to no sink."),
    "all-best-effort": _error("All edges that leave a node are best effort, so that nothing gives records an outcome."),
    "missing-error-edge": _error('A node says `on_error = "port"`, but no edge leaves its error port.'),
    "unexpected-error-edge": _error('An edge leaves an error port whose node does not say `on_error = "port"`.'),
    "join-of-one": _error("A node joins, but fewer than two edges go into it."),
    "join-best-effort": _error("A best-effort edge leads to a join that its records reach otherwise, too."),
    "join-across-transport": _error("An edge between a fork and its join goes via a transport other than `memory`."),
    "not-over-transport": _error("An edge over a broker has a setting that a broker cannot keep."),
    "answer-across-transport": _error("An edge over a broker leads from callers who wait to what answers them."),
    "cut-in-memory": _error("With `--only`: an edge leads out of what is run, or into it, but goes over no broker."),
    "affinity-with-join": _error("A node has both `join` and `affinity`."),
    "order-with-affinity": _error("An edge that is not first in, first out goes into a node with `affinity`."),
    "field-not-written": _error("A node reads a field that is not written on every way to it."),
    # Warnings
    "literal-secret": _warning("A secret is written into the file itself."),
    "unused-worker": _warning("No node uses a worker."),
    "unconnected-port": _warning("A port that a plugin declares has no edge."),
    "idle-transport": _warning("No edge goes via a transport of the file."),
    "idle-when-full": _warning("An edge can never be full, so that what it does when full has no effect."),
    "idle-retry": _warning("A `retry` table without `attempts` makes a single attempt."),
    "idle-unmatched": _warning("A node has an edge that takes every record, so that `unmatched` has no effect."),
    "timeout-exceeds-drain": _warning("One attempt of a node, or a join, may take longer than the whole drain."),
    "join-can-starve": _warning("A join may wait for, or lack, branches that cannot come, are shed or take too long."),
    "joined-twice": _warning("Two branches of a join write one field, so that one of the values is lost."),
    "session-order-lost": _warning("Records of one session may overtake each other before a node with `affinity`."),
    "idle-auth": _warning("No source asks `[auth]` who may use it."),
    "thin-concurrency": _warning("A stage has a smaller `concurrency` than there are processes."),
    "idle-shared": _warning("The file has a table `[shared]`, but no worker with limits or a budget."),
    "idle-checkpoint": _warning("The file has a `[checkpoint]`, but no source that could go on where it was."),
    "idle-on-error": _warning("A node asks for dead letters, but the file has no `[dead_letters]`."),
    "idle-affinity": _warning("A node with a concurrency of 1 keeps the order of sessions anyway."),
    "idle-order": _warning("An edge that holds one record has an `order`."),
    "undefined-in-condition": _warning("A condition uses a field that nothing before it writes."),
    "single-braces": _warning("A template has a field's name in single braces, which stand for themselves."),
    "unreachable-edge": _warning("An edge stands behind one that already takes every record."),
}
