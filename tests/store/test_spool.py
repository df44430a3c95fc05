"""Spools: entries on disk in order; what is torn or broken is told, never given."""

from __future__ import annotations

import os
import random
from contextlib import closing

import pytest
from disks import small_files

from dagflow.errors import PluginError, StoreError
from dagflow.store.segments import MAGIC, Inspection, inspect
from dagflow.store.spool import Spool

ENTRIES = [f"entry {n}".encode() * (n % 7) for n in range(300)]


def spool(folder, max_bytes=1 << 20):
    """An open spool, and the damages that were found."""
    made = Spool(folder / "spool", max_bytes)
    made.damages = made.open()
    return made


def killed(made):
    """What a kill does: its descriptors are closed, and nothing else happens."""
    for fd in {made._cursor, made._writing, made._reading[1]} - {-1}:
        os.close(fd)


def left(made):
    """What has not been taken out."""
    return [entry for _, entry in made.entries()]


def test_first_in_first_out(tmp_path):
    """Whatever is appended is read again, over several segments, which go as they are emptied."""
    with closing(spool(tmp_path, max_bytes=65536)) as made:
        places = [made.append(entry) for entry in ENTRIES]
        assert len(list(made.folder.glob("*.segment"))) > 1
        for number, place in enumerate(places):
            assert made.read(place) == ENTRIES[number]
            made.take_out(place)
            assert left(made) == ENTRIES[number + 1 :]
        assert len(list(made.folder.glob("*.segment"))) == 1
    assert not made.folder.exists()


def test_a_killed_program_leaves_what_was_not_taken_out(tmp_path):
    """The next one finds it, again and again."""
    made, expected, chance = spool(tmp_path), [], random.Random(3)
    for number in range(60):
        for _ in range(chance.randrange(4)):
            expected.append(b"%d" % chance.randrange(10**9) * number)
            made.append(expected[-1])
        for place, entry in list(made.entries())[: chance.randrange(4)]:
            assert made.read(place) == entry == expected.pop(0)
            made.take_out(place)
        if not expected:
            made.clear()
        if chance.random() < 0.3:
            killed(made)
            made = spool(tmp_path)
            assert made.damages == []
        assert left(made) == expected
    made.close()


@pytest.mark.parametrize("cut", [1, 8, 9, 20])
def test_a_torn_tail_is_told_and_not_read(tmp_path, cut):
    """Wherever it is torn; what comes later follows it."""
    made = spool(tmp_path)
    places = [made.append(entry) for entry in (b"first entry", b"second entry", b"third entry, the longest")]
    killed(made)
    [path] = made.folder.glob("*.segment")
    os.truncate(path, path.stat().st_size - cut)
    again = spool(tmp_path)
    assert left(again) == [b"first entry", b"second entry"]
    [damage] = again.damages
    assert (damage.path, damage.offset) == (path, places[2].offset)
    assert damage.size == places[2].size - cut
    again.append(b"fourth")
    assert left(again) == [b"first entry", b"second entry", b"fourth"]
    again.clear()
    assert left(again) == []
    again.close()


@pytest.mark.parametrize("at", [0, 4, 8, 12])
def test_a_flipped_byte_ends_its_segment(tmp_path, at):
    """The entry is never given, also by whom it was written to; other segments are not touched."""
    made = spool(tmp_path, max_bytes=65536)
    places = [made.append(b"x" * 1000) for _ in range(20)]
    spoilt = places[3]
    path = made.folder / f"{spoilt.segment:08d}.segment"
    with path.open("r+b") as file:
        file.seek(spoilt.offset + at)
        byte = file.read(1)[0]
        file.seek(spoilt.offset + at)
        file.write(bytes([byte ^ 0x41]))
    with pytest.raises(StoreError, match="damaged at offset"):
        made.read(spoilt)
    killed(made)
    again = spool(tmp_path)
    assert [damage.offset for damage in again.damages] == [spoilt.offset]
    read = [place for place, _ in again.entries()]
    assert read == [place for place in places if place.segment != spoilt.segment or place < spoilt]
    again.close()


def test_something_else_is_no_segment(tmp_path):
    """It is damaged from its first byte on."""
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool" / "00000001.segment").write_text("a novel")
    made = spool(tmp_path)
    assert [(damage.offset, damage.size) for damage in made.damages] == [(0, 7)]
    made.close()


def test_it_is_bounded(tmp_path):
    """It says when it has no room, and has room again when entries go."""
    with closing(spool(tmp_path, max_bytes=65536)) as made:
        places = []
        while made.has_room:
            places.append(made.append(b"y" * 500))
        assert 65536 <= made.size < 66200
        for place in places[:40]:
            made.take_out(place)
        assert made.has_room
        assert made.size == sum(path.stat().st_size for path in made.folder.glob("*.segment"))


def test_a_full_disk(tmp_path):
    """An entry that does not fit is not there, not even its beginning; a shorter one may follow."""
    with closing(spool(tmp_path)) as made, small_files(len(MAGIC) + 100):
        made.append(b"a" * 50)
        with pytest.raises(OSError, match="File too large"):
            made.append(b"b" * 80)
        made.append(b"c" * 20)
        assert left(made) == [b"a" * 50, b"c" * 20]


def test_one_run_at_a_time(tmp_path):
    """A second one is refused, and takes nothing with it when it goes."""
    with closing(spool(tmp_path)) as first:
        with closing(Spool(first.folder, 1 << 20)) as second, pytest.raises(PluginError, match="another run"):
            second.open()
        assert inspect(first.folder).in_use


def test_inspection(tmp_path):
    """It counts what is there, and says if a run is at it; nothing is changed."""
    assert inspect(tmp_path / "spool") == Inspection()
    made = spool(tmp_path)
    places = [made.append(b"entry") for _ in range(3)]
    made.take_out(places[0])
    assert inspect(made.folder) == Inspection(1, in_use=True)
    killed(made)
    size = made.size
    assert inspect(made.folder) == Inspection(1, size, 2)
    [path] = made.folder.glob("*.segment")
    os.truncate(path, size - 1)
    found = inspect(made.folder)
    assert (found.records, [damage.offset for damage in found.damages]) == (1, [places[2].offset])
    assert path.stat().st_size == size - 1


def test_a_disk_that_is_full_at_the_beginning_of_a_segment(tmp_path):
    """Nothing is there then, so that what comes later is in a segment as any other."""
    made = spool(tmp_path)
    with small_files(len(MAGIC) - 1):
        for _ in range(2):
            with pytest.raises(OSError, match="File too large"):
                made.append(b"a")
        assert list(made.folder.glob("*.segment")) == []
    made.append(b"b")
    killed(made)
    again = spool(tmp_path)
    assert (left(again), again.damages) == ([b"b"], [])
    again.close()


def test_a_torn_beginning_is_gone_once_it_was_told(tmp_path):
    """A segment that was torn in its mark is not mended into one that is damaged."""
    made = spool(tmp_path)
    made.append(b"a")
    killed(made)
    os.truncate(next(made.folder.glob("*.segment")), 5)
    again = spool(tmp_path)
    assert len(again.damages) == 1
    again.clear()
    again.append(b"b")
    killed(again)
    third = spool(tmp_path)
    assert (left(third), third.damages) == ([b"b"], [])
    third.close()


def test_a_cursor_of_segments_that_are_gone(tmp_path):
    """It says nothing of those that come later."""
    made = spool(tmp_path)
    for place in [made.append(b"entry") for _ in range(9)]:
        made.take_out(place)
    killed(made)
    for path in made.folder.glob("*.segment"):
        path.unlink()
    again = spool(tmp_path)
    again.append(b"new")
    killed(again)
    third = spool(tmp_path)
    assert left(third) == [b"new"]
    third.close()


def test_a_segment_that_cannot_be_read(tmp_path):
    """The folder is not opened, and let go of as it is."""
    made = spool(tmp_path)
    made.append(b"a")
    killed(made)
    (made.folder / "00000002.segment").mkdir()
    with closing(Spool(made.folder, 1 << 20)) as again, pytest.raises(IsADirectoryError):
        again.open()
    (made.folder / "00000002.segment").rmdir()
    assert inspect(made.folder).records == 1


def test_inspection_without_a_cursor(tmp_path):
    """Nothing was taken out then, as a run would see it."""
    made = spool(tmp_path)
    made.append(b"a")
    killed(made)
    (made.folder / "cursor").unlink()
    assert inspect(made.folder) == Inspection(1, made.size, 1)
    again = spool(tmp_path)
    assert left(again) == [b"a"]
    again.close()
