"""Run a child: `python -m dagflow.processes DESCRIPTOR`, which nobody but a parent does."""

from __future__ import annotations

import sys

from dagflow.processes.child import run_child

run_child(int(sys.argv[1]))
