"""Peers that are written for Node, from the npm registry: installed once, in the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "node"


@cache
def node_packages() -> Path:
    """Give the folder in which the packages are installed that `package.json` names."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    wanted = (HERE / "package.json").read_bytes()
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dagflow-tests"
    installed = caches / f"node-{hashlib.sha256(wanted).hexdigest()[:12]}"
    if not installed.exists():
        caches.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=caches))
        (folder / "package.json").write_bytes(wanted)
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--omit=optional", "--silent"]
        subprocess.run(command, cwd=folder, check=True, timeout=240, capture_output=True)
        with suppress(OSError):  # somebody else was faster
            folder.rename(installed)
        shutil.rmtree(folder, ignore_errors=True)
    return installed
