"""Documents: which files under a folder are read, and whether they have changed."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dagflow.errors import PluginError
from dagflow.paths import name_of

SUFFIXES: Final = (".md", ".rst", ".txt")


@dataclass(frozen=True, slots=True)
class Document:
    """One file; `name` is its path from the folder, with `/`."""

    path: Path
    name: str
    size: int
    mtime_ns: int


def find_documents(root: Path) -> list[Document]:
    """Find the text and Markdown files under a folder, sorted by name, or take a single file.

    What begins with a dot is left out. Links to folders are not followed, so that none is walked twice.

    Raises:
        PluginError: there is nothing to read, or something that can't be read.
    """
    if not root.exists():
        raise PluginError(f"there is no folder or file `{root}`")
    base = root.parent if root.is_file() else root
    try:
        found = [_document(file, base) for file in ([root] if root.is_file() else sorted(_walk(root)))]
    except OSError as error:
        raise unreadable(error) from error
    documents = [document for document in found if document is not None]
    if not documents:
        raise PluginError(f"there are no documents under `{root}`: no file ends in {', '.join(SUFFIXES)}")
    return documents


def unreadable(error: OSError) -> PluginError:
    """Say which document or folder can't be read, and why."""
    return PluginError(f"`{error.filename}` can't be read: {error.strerror}")


def fingerprint(documents: list[Document], *others: object) -> str:
    """Digest names, sizes and times of documents, and whatever else a result depends on."""
    digest = hashlib.sha256(repr(others).encode())
    for document in documents:
        digest.update(repr((document.name, document.size, document.mtime_ns)).encode())
    return digest.hexdigest()


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and name.lower().endswith(SUFFIXES):
                yield Path(folder, name)


def _raise(error: OSError) -> None:
    raise error


def _document(file: Path, base: Path) -> Document | None:
    """Look at a file; None where it is none: nobody waits for who writes into a pipe."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        return None
    return Document(file, name_of(file.relative_to(base)), status.st_size, status.st_mtime_ns)
