"""The engine: wires a plan, runs it, drains it, and keeps the books.

It knows no stage, order or count. It reads from top to bottom: `engine` runs what `wiring`
has built; a record is accepted by `source_runner`, travels through `node_runner` and `outlet`,
and its ticket is settled in `book`.
"""
