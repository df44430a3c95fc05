"""Finding the admin listener of a running pipeline: by its file, or by an address and a token file.

Of a pipeline file only `[admin]` is read, so that it is found without the variables and plugins that the run needs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dagflow.addresses import is_loopback_name
from dagflow.admin.beacon import Beacon, possible_paths, read_beacon
from dagflow.config.document import read_document, read_text
from dagflow.config.refusals import Subject
from dagflow.config.tables import AdminTable
from dagflow.config.validation import validate
from dagflow.errors import AdminError
from dagflow.graph.plan import AdminPlan

if TYPE_CHECKING:
    from collections.abc import Sequence


def find_by_file(path: Path, overrides: Sequence[str] = ()) -> Beacon:
    """Give where the listener of a pipeline file is.

    Raises:
        AdminError: the file has none, or it does not run.
        ConfigError: the file can't be read.
    """
    document = read_document(read_text(path), path, overrides, None)
    if "admin" not in document.tables:
        raise AdminError(f"`{path}` has no `[admin]` table, so nothing listens; add `[admin]`, and start it again")
    table, found = validate(AdminTable, document.table("admin"), Subject(("admin",), "`[admin]`"), document)
    if table is None:
        raise AdminError(f"`[admin]` of `{path}`: {found[0].message}")
    places = possible_paths(AdminPlan(table.listen, table.token_file), path)
    beacon = next(filter(None, map(read_beacon, places)), None)
    if beacon is None:
        where = f": there is no token file `{places[0]}`" if places else ", or another user runs it"
        raise AdminError(f"`{path}` does not run{where}; start it with `dagflow run`")
    return beacon


def find_by_address(address: str, token_file: Path) -> Beacon:
    """Give where a listener is: at an address, such as that of a tunnel, with the token of a file.

    Raises:
        AdminError: the address is none of this machine, or the file is no token file.
    """
    place = address if "://" in address else f"http://{address}"
    scheme, _, rest = place.partition("://")
    host = rest.rstrip("/").rpartition(":")[0].strip("[]")
    if scheme != "http" or not is_loopback_name(host):
        raise AdminError(f"`{address}` is no address of this machine; expected `127.0.0.1:PORT`")
    beacon = read_beacon(token_file)
    if beacon is None:
        raise AdminError(f"`{token_file}` is no token file of a pipeline")
    return beacon._replace(address=place.rstrip("/"))
