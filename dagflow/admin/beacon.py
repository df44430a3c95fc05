"""Beacon: the file that says where the admin listener of a running pipeline is, and its token.

It is there while the pipeline runs, and its owner alone can read it. It has a name by itself: that of the
pipeline file, and a hash of where this is, so that `dagflow top FILE` finds it.
"""

from __future__ import annotations

import json
import os
import stat
import tempfile
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from dagflow.errors import AdminError

if TYPE_CHECKING:
    from dagflow.graph.plan import AdminPlan

_MOST_BYTES: Final = 4096
_REMEDY: Final = "say `token_file` in `[admin]`"


class Beacon(NamedTuple):
    """Where the listener is (`http://127.0.0.1:9178`), the token that it wants, and its process."""

    address: str
    token: str
    pid: int

    def write(self, path: Path) -> None:
        """Write the file, all at once and readable by its owner only; one of an earlier run is replaced.

        Raises:
            AdminError: it can't be written, or a file of another kind stands there.
        """
        if path.exists() and not path.is_dir() and read_beacon(path) is None:
            raise AdminError(f"`{path}` is there, and is no token file; remove it, or change `token_file` in `[admin]`")
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # of mode 0600
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(json.dumps(self._asdict()) + "\n")
                os.replace(name, path)
            except BaseException:
                os.unlink(name)
                raise
        except OSError as error:
            raise AdminError(f"the token can't be written to `{path}`: {error.strerror}; {_REMEDY}") from error

    def remove(self, path: Path) -> None:
        """Remove the file, if it is still this one's: another run may have written its own."""
        if read_beacon(path) == self:
            with suppress(OSError):
                path.unlink()


def read_beacon(path: Path) -> Beacon | None:
    """Read a token file; None if there is none.

    Raises:
        AdminError: it is there, and can't be read.
    """
    try:
        with path.open("rb") as file:
            values = json.loads(file.read(_MOST_BYTES))
        return Beacon(str(values["address"]), str(values["token"]), int(values["pid"]))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AdminError(f"the token file `{path}` can't be read: {error.strerror}") from error
    except (ValueError, TypeError, KeyError):
        return None


def beacon_path(admin: AdminPlan, pipeline: Path | None) -> Path:
    """Give the place where a pipeline writes its token file; the folder is made if it is nobody's choice.

    Raises:
        AdminError: the folder is not the user's own.
    """
    if admin.token_file is not None:
        return admin.token_file
    folder = _folders()[0]
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        own = _is_own(folder)
    except OSError as error:
        raise AdminError(f"`{folder}` can't be made for the token: {error.strerror}; {_REMEDY}") from error
    if not own:
        raise AdminError(f"`{folder}` is not yours alone, so the token can't be kept there; {_REMEDY}")
    return folder / _name(pipeline)


def possible_paths(admin: AdminPlan, pipeline: Path | None) -> list[Path]:
    """Give the places where the token file of a pipeline may be: a service may lack the runtime folder of its user."""
    if admin.token_file is not None:
        return [admin.token_file]
    return [folder / _name(pipeline) for folder in _folders() if folder.exists() and _is_own(folder)]


def _name(pipeline: Path | None) -> str:
    place = str(pipeline.resolve()) if pipeline is not None else ""
    stem = pipeline.stem if pipeline is not None else "pipeline"
    return f"{stem}-{blake2b(os.fsencode(place), digest_size=6).hexdigest()}.json"


def _folders() -> list[Path]:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    temporary = Path(tempfile.gettempdir(), f"dagflow-{os.getuid()}")
    return [Path(runtime, "dagflow"), temporary] if runtime and Path(runtime).is_dir() else [temporary]


def _is_own(folder: Path) -> bool:
    """Whether nobody else can read or write there: anybody may make a folder of this name among temporary files."""
    found = folder.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
