"""The token file: where it is, who can read it, and when it goes."""

import stat
import tempfile

import pytest

from dagflow.addresses import Address
from dagflow.admin.beacon import Beacon, beacon_path, possible_paths, read_beacon
from dagflow.errors import AdminError
from dagflow.graph.plan import AdminPlan

ADMIN = AdminPlan(Address("127.0.0.1", 0))
BEACON = Beacon("http://127.0.0.1:9", "secret", 17)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A runtime folder of the test's own."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def mode(path):
    """The permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_only_its_owner_can_read_it(tmp_path):
    """File and folder are closed to others; what was written is read."""
    path = beacon_path(ADMIN, tmp_path / "p.toml")
    BEACON.write(path)
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    assert read_beacon(path) == BEACON
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_each_pipeline_file_has_its_own(tmp_path):
    """Files of one name in two folders have two; the way to a file does not matter; the table decides where."""
    (tmp_path / "a").mkdir()
    one, other = beacon_path(ADMIN, tmp_path / "p.toml"), beacon_path(ADMIN, tmp_path / "a" / "p.toml")
    assert one != other
    assert one == beacon_path(ADMIN, tmp_path / "a" / ".." / "p.toml")
    assert one.name.startswith("p-")
    assert beacon_path(AdminPlan(ADMIN.listen, tmp_path / "t"), tmp_path / "p.toml") == tmp_path / "t"


def test_without_a_runtime_folder_it_is_a_temporary_one(tmp_path, monkeypatch):
    """The folder is named after the user; one that others can read is refused."""
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    folder = beacon_path(ADMIN, tmp_path / "p.toml").parent
    assert folder.parent == tmp_path
    assert mode(folder) == 0o700
    folder.chmod(0o750)
    with pytest.raises(AdminError, match="not yours alone"):
        beacon_path(ADMIN, tmp_path / "p.toml")
    folder.rmdir()
    folder.symlink_to(tmp_path)
    with pytest.raises(AdminError, match="not yours alone"):
        beacon_path(ADMIN, tmp_path / "p.toml")


def test_it_is_found_where_a_service_without_a_runtime_folder_wrote_it(tmp_path, monkeypatch):
    """Both folders are looked into, and only those that are the user's own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    pipeline = tmp_path / "p.toml"
    written = beacon_path(ADMIN, pipeline)
    (tmp_path / "run").mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    assert possible_paths(ADMIN, pipeline) == [written]
    beacon_path(ADMIN, pipeline)
    assert [path.parent for path in possible_paths(ADMIN, pipeline)] == [tmp_path / "run" / "dagflow", written.parent]
    written.parent.chmod(0o777)
    assert [path.parent for path in possible_paths(ADMIN, pipeline)] == [tmp_path / "run" / "dagflow"]
    assert possible_paths(AdminPlan(ADMIN.listen, tmp_path / "t"), pipeline) == [tmp_path / "t"]


def test_only_its_own_is_removed(tmp_path):
    """A file that another run has written in the meantime stays."""
    path = tmp_path / "token.json"
    BEACON.write(path)
    other = BEACON._replace(token="another")
    other.write(path)
    BEACON.remove(path)
    assert read_beacon(path) == other
    other.remove(path)
    assert read_beacon(path) is None


def test_no_other_file_is_overwritten(tmp_path):
    """A path that leads to something else is refused, and that stays as it is."""
    path = tmp_path / "thesis.txt"
    path.write_text("years of work")
    with pytest.raises(AdminError, match="no token file"):
        BEACON.write(path)
    assert path.read_text() == "years of work"
    with pytest.raises(AdminError, match="can't be written"):
        BEACON.write(tmp_path / "nowhere" / "token.json")
