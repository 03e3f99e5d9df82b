"""Archives come from strangers: what no model needs is refused before a byte is written."""

from __future__ import annotations

import random
import stat
import struct
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest

from edge_agent.models.errors import ArchiveError, RoomError
from edge_agent.models.unpacking import Bounds, unpack_steps

TOP = "vosk-model-small-xx-0.1"
GOOD = {f"{TOP}/am/final.mdl": b"m" * 3000, f"{TOP}/conf/mfcc.conf": b"--x=1\n", f"{TOP}/README": b"hello"}


def written(path: Path, *entries: tuple[zipfile.ZipInfo | str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Write an archive, with whatever entries."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for entry, content in entries:
            if isinstance(entry, zipfile.ZipInfo):
                entry.compress_type = compression
            archive.writestr(entry, content)
    return path


def of_kind(name: str, kind: int) -> zipfile.ZipInfo:
    """An entry that is a link, a device or the like."""
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (kind | 0o777) << 16
    return entry


def unpack(archive: Path, target: Path, *, free_bytes: int = 1 << 40, bounds: Bounds | None = None) -> None:
    """Unpack to the end."""
    for _ in unpack_steps(archive, target, free_bytes=lambda _: free_bytes, bounds=bounds):
        pass


def refused(archive: Path, tmp_path: Path, bounds: Bounds | None = None) -> str:
    """The reason; nothing of it was written."""
    target = tmp_path / "target"
    with pytest.raises(ArchiveError) as caught:
        unpack(archive, target, bounds=bounds)
    assert "\n" not in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path != archive]
    return caught.value.reason


def test_what_is_below_the_top_directory_is_unpacked(tmp_path: Path) -> None:
    """Whatever that is called, and in place of what was there; the bits of the archive's maker don't matter."""
    entries: list[tuple[zipfile.ZipInfo | str, bytes]] = [(of_kind(f"{TOP}/", stat.S_IFDIR), b"")]
    entries += [(of_kind(name, stat.S_IFREG), content) for name, content in GOOD.items()]
    archive = written(tmp_path / "a.zip", *entries)
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").write_text("old")
    steps = list(unpack_steps(archive, target, free_bytes=lambda _: 1 << 40))
    assert steps[-1] == (3011, 3011)
    assert {str(path.relative_to(target)): path.read_bytes() for path in target.rglob("*") if path.is_file()} == {
        name.removeprefix(f"{TOP}/"): content for name, content in GOOD.items()
    }
    assert all(stat.S_IMODE(path.stat().st_mode) == (0o755 if path.is_dir() else 0o644) for path in target.rglob("*"))


OUTSIDE = {
    "up": "../evil",
    "up inside": f"{TOP}/../../evil",
    "up at the end": f"{TOP}/am/..",
    "absolute": "/etc/cron.d/evil",
    "absolute, twice": "//etc/evil",
    "another system's": "C:/evil",
    "backslashes": f"{TOP}\\..\\..\\evil",
    "here": f"{TOP}/./evil",
    "nothing between": f"{TOP}//evil",
    "a zero byte": f"{TOP}/final\0.mdl",
    "a line break": f"{TOP}/a\nb",
    "too long": f"{TOP}/{'n' * 256}",
    "too deep": f"{TOP}/{'d/' * 10}f",
}


@pytest.mark.parametrize("how", OUTSIDE)
def test_no_name_leads_elsewhere(tmp_path: Path, how: str) -> None:
    """Not by dots, not by a root, not by another system's ways."""
    entry = zipfile.ZipInfo("x")
    entry.filename = OUTSIDE[how]  # past its own clean-up
    archive = written(tmp_path / "a.zip", *GOOD.items(), (entry, b"evil"))
    assert refused(archive, tmp_path).split(" ", 1)[1]
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("kind", ["S_IFLNK", "S_IFCHR", "S_IFBLK", "S_IFIFO", "S_IFSOCK"])
def test_links_and_devices_are_refused(tmp_path: Path, kind: str) -> None:
    """A link that was written first would lead the next file anywhere."""
    archive = written(
        tmp_path / "a.zip", (of_kind(f"{TOP}/am", getattr(stat, kind)), b"/etc"), (f"{TOP}/am/passwd", b"root::0:0")
    )
    assert "is a link, a device or the like" in refused(archive, tmp_path)


def test_bombs_are_refused(tmp_path: Path) -> None:
    """By what they would grow to, in all and each, before anything grows."""
    zeros = bytes(8 << 20)
    one = written(tmp_path / "a.zip", *GOOD.items(), (f"{TOP}/zeros", zeros))
    assert "'vosk-model-small-xx-0.1/zeros' grows out of all proportion" in refused(one, tmp_path)
    noise = random.Random(1).randbytes(1000)
    many = written(tmp_path / "a.zip", *((f"{TOP}/{at}", noise * 60) for at in range(20)))
    assert "it would grow to 1200000 bytes" in refused(many, tmp_path)
    plain = written(tmp_path / "a.zip", (f"{TOP}/a", bytes(3000)), compression=zipfile.ZIP_STORED)
    assert "it would grow to 3000 bytes" in refused(plain, tmp_path, Bounds(total_bytes=2999))


def test_what_grows_beyond_what_it_says_is_broken(tmp_path: Path) -> None:
    """The table of contents lies about a file's size."""
    noise = random.Random(1).randbytes(5000)
    archive = written(tmp_path / "a.zip", (f"{TOP}/a", noise), compression=zipfile.ZIP_STORED)
    raw = archive.read_bytes()
    archive.write_bytes(raw.replace(struct.pack("<LL", 5000, 5000), struct.pack("<LL", 5000, 50)))
    target = tmp_path / "target"
    with pytest.raises(ArchiveError, match="it is broken"):
        unpack(archive, target)
    assert sum(path.stat().st_size for path in target.rglob("*") if path.is_file()) <= 50


def test_counts_are_bounded(tmp_path: Path) -> None:
    """Of files, and of the table of contents that is read into memory."""
    archive = written(tmp_path / "a.zip", *((f"{TOP}/{at}", b"x") for at in range(20)))
    assert "it holds more than 19 files" in refused(archive, tmp_path, Bounds(files=19))
    assert "its table of contents is longer than 100 bytes" in refused(archive, tmp_path, Bounds(listing_bytes=100))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_are_given_once(tmp_path: Path) -> None:
    """The second of two would take the first one's place, after that was looked at."""
    twice = written(tmp_path / "a.zip", *GOOD.items(), (f"{TOP}/README", b"other"))
    assert f"it holds '{TOP}/README' twice" in refused(twice, tmp_path)
    file_first = written(tmp_path / "a.zip", (f"{TOP}/am", b"x"), *GOOD.items())
    assert f"'{TOP}/am' is a file and a directory in it" in refused(file_first, tmp_path)
    directory_first = written(tmp_path / "a.zip", *GOOD.items(), (f"{TOP}/am", b"x"))
    assert "twice" in refused(directory_first, tmp_path)


def test_a_second_length_of_the_listing_is_refused(tmp_path: Path) -> None:
    """That of a zip64 archive counts for `zipfile`, whatever the first one says."""
    archive = written(tmp_path / "a.zip", *GOOD.items())
    raw = archive.read_bytes()
    at = raw.rfind(b"PK\x05\x06")
    files, listing_bytes, offset = struct.unpack_from("<10xH2L", raw, at)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, files, files, listing_bytes, offset)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, files, files, 1, offset, 0)
    archive.write_bytes(raw[:at] + end64 + locator + end)
    with zipfile.ZipFile(archive) as opened:
        assert set(opened.namelist()) == set(GOOD)
    assert "zip64" in refused(archive, tmp_path, Bounds(listing_bytes=10))
    archive.write_bytes(raw)
    assert "its table of contents is longer" in refused(archive, tmp_path, Bounds(listing_bytes=10))


def test_one_directory_is_expected(tmp_path: Path) -> None:
    """Two, or files beside it, are no model's archive; nor is an empty one."""
    for entries in ([*GOOD.items(), ("other/file", b"x")], [("README", b"x"), *GOOD.items()], [(f"{TOP}/", b"")]):
        assert "one directory with its files" in refused(written(tmp_path / "a.zip", *entries), tmp_path)


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    """A page, half an archive, an encrypted one, one compressed otherwise."""
    archive = tmp_path / "a.zip"
    for content in (b"", b"<html>Not found</html>"):
        archive.write_bytes(content)
        assert "it is no zip archive, or its end is missing" in refused(archive, tmp_path)
    whole = written(archive, *GOOD.items()).read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    assert "its end is missing" in refused(archive, tmp_path)
    archive.write_bytes(whole[100:])
    assert "it is broken" in refused(archive, tmp_path)
    assert "compressed in a way" in refused(written(archive, *GOOD.items(), compression=zipfile.ZIP_BZIP2), tmp_path)
    entry = zipfile.ZipInfo(f"{TOP}/a")
    raw = bytearray(written(archive, (entry, b"x" * 100)).read_bytes())
    raw[raw.rfind(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(raw)
    assert "is encrypted" in refused(archive, tmp_path)


@pytest.mark.parametrize("seed", range(40))
def test_no_damage_gets_out_of_the_directory(tmp_path: Path, seed: int) -> None:
    """Random bytes of an archive are others: it is refused, or what it holds is unpacked in its place."""
    archive = written(tmp_path / "a.zip", *GOOD.items())
    chance, raw = random.Random(seed), bytearray(archive.read_bytes())
    for _ in range(chance.randint(1, 6)):
        raw[chance.randrange(len(raw))] = chance.randrange(256)
    archive.write_bytes(raw)
    target = tmp_path / "inner" / "target"
    with suppress(ArchiveError):
        unpack(archive, target)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != archive]
    assert all(target in path.parents for path in files)
    assert not [path for path in tmp_path.rglob("*") if path.is_symlink()]


def test_room_is_looked_for_first(tmp_path: Path) -> None:
    """By what the archive says it grows to."""
    archive = written(tmp_path / "a.zip", *GOOD.items())
    with pytest.raises(RoomError):
        unpack(archive, tmp_path / "target", free_bytes=3010)
    unpack(archive, tmp_path / "target", free_bytes=3011)
    assert any((tmp_path / "target").iterdir())
