"""The lane of real models: `scripts/test-real-models` installs what it needs and sets `DAGFLOW_REAL_MODELS`."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("DAGFLOW_REAL_MODELS") else ["*"]
