"""Files are fetched whole from a server that does whatever it can to prevent that, or not at all."""

from __future__ import annotations

import asyncio
import hashlib
import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from doubles import until
from hostile_server import (
    Answer,
    Asked,
    HostileServer,
    endless,
    hang_up,
    hostile_server,
    redirect,
    silence,
    status,
    whole,
)

from edge_agent.models.catalog import CatalogFile
from edge_agent.models.errors import DownloadError, RoomError
from edge_agent.models.fetching import Fetcher, Terms, Wanted
from edge_agent.models.sources import FileSource, WebSource
from edge_agent.net.http import HttpLimits, open_http
from edge_agent.runtime.pool import Pool

MIB = 1 << 20
LOST = 1 << 19
"""Of what has come when a connection breaks aiohttp gives up what it still buffers: twice 64 KiB and a read of 256."""
BODY = random.Random(1).randbytes(3 * MIB + 12_345)
OTHER = random.Random(2).randbytes(len(BODY))
SHA = hashlib.sha256(BODY).hexdigest()


@dataclass
class Rig:
    """A server, and what fetches from it."""

    server: HostileServer
    fetcher: Fetcher
    path: Path
    pauses: list[float] = field(default_factory=list)
    steps: list[tuple[str, int]] = field(default_factory=list)

    def wanted(self, **changes: object) -> Wanted:
        """The body, by its checksum."""
        file = CatalogFile(urls=(self.server.url("/m.bin"),), size_bytes=len(BODY), sha256=SHA)
        file = file.model_copy(update=changes)
        return Wanted(file, file.sha256)

    async def fetch(self, *answers: Answer, **changes: object) -> str:
        """Fetch it from a server that answers so; return where it came from."""
        url = self.server.serve("/m.bin", *answers)
        found, source = await self.fetcher.fetch(self.wanted(**changes), self.path, [WebSource(url)])
        assert self.path.read_bytes() == BODY
        assert found.sha256 == SHA
        return source

    async def refused(self, *answers: Answer, **changes: object) -> str:
        """The one line that a fetch ends with."""
        url = self.server.serve("/m.bin", *answers)
        with pytest.raises(DownloadError) as caught:
            await self.fetcher.fetch(self.wanted(**changes), self.path, [WebSource(url)])
        assert "\n" not in str(caught.value)
        assert not self.path.exists() or self.path.read_bytes() != BODY
        return str(caught.value)

    def resumed_at(self, *ends: int) -> bool:
        """Tell whether the requests began at 0, and then about where the one before ended."""
        starts = self.starts
        near = [end - LOST <= start <= end for start, end in zip(starts[1:], ends, strict=True)]
        return starts[0] == 0 and all(near)

    @property
    def starts(self) -> list[int]:
        """Where each request began."""
        return self.server.starts("/m.bin")


@asynccontextmanager
async def a_rig(tmp_path: Path, **terms: object) -> AsyncIterator[Rig]:
    """Pauses take no time."""
    pool = Pool("models")
    pauses: list[float] = []
    steps: list[tuple[str, int]] = []

    async def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        await asyncio.sleep(0)

    how = replace(Terms(sleep=sleep, block_bytes=1 << 18), **terms)  # type: ignore[arg-type]
    try:
        async with hostile_server() as server, open_http(HttpLimits(read_s=0.2)) as http:
            fetcher = Fetcher(http, pool, how, lambda step, _name, done, _total: steps.append((step, done)))
            yield Rig(server, fetcher, tmp_path / "m.bin", pauses, steps)
    finally:
        await pool.close()


async def test_a_file_comes_whole(tmp_path: Path) -> None:
    """In one request; progress only grows, and the file is read again to be checked."""
    async with a_rig(tmp_path) as rig:
        assert await rig.fetch(whole(BODY)) == rig.server.url("/m.bin")
        assert rig.starts == [0]
        downloaded = [done for step, done in rig.steps if step == "download"]
        assert downloaded == sorted(downloaded)
        assert downloaded[-1] == len(BODY)
        assert rig.steps[-1] == ("check", len(BODY))


@pytest.mark.parametrize("seed", range(6))
async def test_a_connection_that_breaks_anywhere_is_resumed(tmp_path: Path, seed: int) -> None:
    """At three random bytes; what had come is not asked for again, and the version is named."""
    async with a_rig(tmp_path) as rig:
        breaks = sorted(random.Random(seed).sample(range(1, len(BODY)), 3))
        await rig.fetch(*(whole(BODY, breaks_at=at) for at in breaks), whole(BODY))
        assert rig.resumed_at(*breaks)
        assert all(asked.headers.get("if-range") == ('"1"' if asked.start else None) for asked in rig.server.asked)


async def test_a_later_pull_goes_on(tmp_path: Path) -> None:
    """A source that fails too often is given up; what came is kept, and said to be."""
    async with a_rig(tmp_path) as rig:
        line = await rig.refused(whole(BODY, breaks_at=2 * MIB), hang_up)
        assert "the server closed the connection" in line
        kept = rig.path.stat().st_size
        assert f"({kept / MIB:.1f} MiB are kept: pull again to go on from there)" in line
        assert rig.pauses == [1.0, 1.0, 2.0, 4.0]
        await rig.fetch(whole(BODY))
        assert set(rig.starts) == {0, kept}
        assert 2 * MIB - LOST <= kept <= 2 * MIB


async def test_a_cancelled_pull_keeps_what_came(tmp_path: Path) -> None:
    """Ctrl-C in the middle: the next one begins there."""
    async with a_rig(tmp_path) as rig:
        url = rig.server.serve("/m.bin", whole(BODY, stalls_at=MIB))
        fetching = asyncio.create_task(rig.fetcher.fetch(rig.wanted(), rig.path, [WebSource(url)]))
        await until(lambda: rig.steps)
        fetching.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        kept = rig.path.stat().st_size
        assert 0 < kept <= MIB
        await rig.fetch(whole(BODY))
        assert rig.starts == [0, kept]


async def test_a_cancelled_pull_ends_after_the_write_it_has_begun(tmp_path: Path) -> None:
    """Else its thread would change the part while the next pull goes on with it."""
    has_begun, may_end = threading.Event(), threading.Event()

    def free_bytes(_path: Path) -> int:
        has_begun.set()
        may_end.wait(10)
        return 1 << 40

    async with a_rig(tmp_path, free_bytes=free_bytes) as rig:
        url = rig.server.serve("/m.bin", whole(BODY))
        fetching = asyncio.create_task(rig.fetcher.fetch(rig.wanted(), rig.path, [WebSource(url)]))
        try:
            await until(has_begun.is_set)
            fetching.cancel()
            for _ in range(100):
                await asyncio.sleep(0)
            assert not fetching.done()
        finally:
            may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await fetching
        assert rig.path.stat().st_size >= 1 << 18


async def test_what_came_before_the_pace_is_lost_is_kept(tmp_path: Path) -> None:
    """A device that stays too hot for the next block gives up, and has the block that had come."""

    async def pace() -> None:
        raise RoomError(tmp_path, 1, 0)  # whatever is raised

    async with a_rig(tmp_path, pace=pace) as rig:
        url = rig.server.serve("/m.bin", whole(BODY))
        with pytest.raises(RoomError):
            await rig.fetcher.fetch(rig.wanted(), rig.path, [WebSource(url)])
        assert rig.path.read_bytes() == BODY[: rig.path.stat().st_size]
        assert rig.path.stat().st_size >= 1 << 18


@pytest.mark.parametrize("heeds_if_range", [True, False])
@pytest.mark.parametrize("etag", ['"2"', None, 'W/"2"'])
async def test_a_file_that_changes_between_two_parts_is_fetched_anew(
    tmp_path: Path, etag: str | None, *, heeds_if_range: bool
) -> None:
    """Whether the server tells (If-Range), lets it be seen (ETag), or neither: the checksum does."""
    async with a_rig(tmp_path) as rig:
        await rig.fetch(whole(OTHER, breaks_at=2 * MIB), whole(BODY, etag=etag, heeds_if_range=heeds_if_range))
        assert rig.starts[1] > 0


async def test_a_server_that_ignores_ranges_starts_again(tmp_path: Path) -> None:
    """With 200 instead of 206, from the first byte."""
    async with a_rig(tmp_path) as rig:
        await rig.fetch(whole(BODY, breaks_at=MIB), whole(BODY, ranges=False))
        assert rig.resumed_at(MIB)


async def test_without_a_version_or_a_checksum_nothing_is_resumed(tmp_path: Path) -> None:
    """The two halves might be of two files, and nobody would notice."""
    async with a_rig(tmp_path) as rig:
        await rig.fetch(whole(BODY, breaks_at=MIB, etag=None), whole(BODY, etag=None), sha256=None)
        assert rig.starts == [0, 0]


async def test_a_refused_range_is_asked_for_whole(tmp_path: Path) -> None:
    """416, once; what was kept did not fit."""
    async with a_rig(tmp_path) as rig:
        await rig.fetch(whole(BODY, breaks_at=MIB), status(416), whole(BODY))
        assert rig.starts[1] > 0
        assert rig.starts[2:] == [0]
        assert "answered 416" in await rig.refused(status(416), sha256="0" * 64)


async def test_a_part_that_is_longer_than_the_file_is_thrown_away(tmp_path: Path) -> None:
    """Of whatever it was."""
    async with a_rig(tmp_path) as rig:
        rig.path.write_bytes(BODY + b"x")
        await rig.fetch(whole(BODY))
        assert rig.starts == [0]


async def test_a_damaged_part_is_fetched_anew(tmp_path: Path) -> None:
    """A card that loses what was written before a power cut: zeros where the first bytes should be."""
    async with a_rig(tmp_path) as rig:
        rig.path.write_bytes(bytes(MIB))
        await rig.fetch(whole(BODY))
        assert rig.starts == [MIB, 0]
        rig.path.write_bytes(bytes(len(BODY)))
        await rig.fetch(whole(BODY))
        assert rig.starts == [MIB, 0, 0]


def range_of_another_place(asked: Asked, writer: asyncio.StreamWriter) -> object:
    """Say 206, and send the first bytes."""
    head = f"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-{len(BODY) - 1}/{len(BODY)}\r\n"
    writer.write(f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY)
    return writer.drain()


LIES: dict[str, tuple[Answer, str]] = {
    "too short a length": (whole(BODY, length=100, breaks_at=100), "says that it is 100 bytes long"),
    "too short a length, and more": (whole(BODY, length=100), "the connection failed"),
    "too long a length": (whole(BODY, length=len(BODY) + 5), f"says that it is {len(BODY) + 5} bytes long"),
    "another file": (whole(OTHER), "is another file: its SHA-256 is"),
    "a longer file, unsaid": (whole(BODY + b"x", chunked=True), f"sends more than the {len(BODY)} bytes"),
    "no end": (endless, f"sends more than the {len(BODY)} bytes"),
    "a shorter file, unsaid": (whole(BODY[:-1], chunked=True), f"is {len(BODY) - 1} bytes long"),
    "nothing": (whole(b""), "says that it is 0 bytes long"),
    "404": (status(404), "answered 404"),
    "403": (status(403), "answered 403"),
    "500": (status(500), "answered 500"),
    "204": (status(204), "answers 204 to a request for a file"),
    "206 unasked": (status(206), "answers 206 to a request for a file"),
    "a page of text": (whole(b"<html>Log in to this network</html>"), "says that it is 35 bytes long"),
    "file:": (redirect("file:///etc/passwd"), "leads to an address of scheme 'file'; only http and https are asked"),
    "ftp:": (redirect("ftp://127.0.0.1/m.bin"), "scheme 'ftp'"),
    "in circles": (redirect("m.bin"), "is redirected more than 5 times"),
    "no word": (hang_up, "the server closed the connection"),
    "silence": (silence, "nothing came for 0.2 s"),
    "a stall": (whole(BODY, stalls_at=1000), "nothing came for 0.2 s"),
    "compressed": (status(200, "Content-Encoding: gzip"), "encoding 'gzip', which was not asked for"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_lies_are_told_in_one_line(tmp_path: Path, lie: str) -> None:
    """Nothing is ever taken for the file, and the line says who did what."""
    answer, message = LIES[lie]
    async with a_rig(tmp_path, tries=2) as rig:
        line = await rig.refused(answer)
        assert message in line
        assert line.startswith(f"m.bin can't be had: {rig.server.url('/m.bin')}: ")


@pytest.mark.parametrize("lie", LIES)
async def test_after_a_lie_the_next_source_is_asked(tmp_path: Path, lie: str) -> None:
    """Mirrors in order; what a liar has left here does no harm."""
    async with a_rig(tmp_path, tries=2) as rig:
        bad, good = rig.server.serve("/bad/m.bin", LIES[lie][0]), rig.server.serve("/m.bin", whole(BODY))
        _, source = await rig.fetcher.fetch(rig.wanted(), rig.path, [WebSource(bad), WebSource(good)])
        assert source == good
        assert rig.path.read_bytes() == BODY


async def test_a_part_of_another_place_is_refused(tmp_path: Path) -> None:
    """206 from the wrong byte on."""
    async with a_rig(tmp_path) as rig:
        answer: Callable[..., object] = range_of_another_place
        line = await rig.refused(whole(BODY, breaks_at=MIB), answer)  # type: ignore[arg-type]
        assert "answers with another part of the file" in line


async def test_what_fails_in_passing_is_tried_again(tmp_path: Path) -> None:
    """503, 429, then the file."""
    async with a_rig(tmp_path) as rig:
        await rig.fetch(status(503), status(429), whole(BODY))
        assert rig.pauses == [1.0, 2.0]


async def test_progress_makes_patience(tmp_path: Path) -> None:
    """A line that breaks every megabyte gets there all the same; one that gives nothing is given up."""
    async with a_rig(tmp_path, tries=2) as rig:
        ends = range(MIB, 3 * MIB + 1, MIB)
        await rig.fetch(*(whole(BODY, breaks_at=at) for at in ends), whole(BODY))
        assert max(rig.pauses) == 1.0


async def test_a_published_md5_is_checked_too(tmp_path: Path) -> None:
    """Where there is no SHA-256, it is what there is."""
    async with a_rig(tmp_path) as rig:
        md5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
        await rig.fetch(whole(BODY), sha256=None, md5=md5)
        rig.path.unlink()
        assert "its MD5 is" in await rig.refused(whole(OTHER), sha256=None, md5=md5)


async def test_a_full_disk_is_told_beforehand(tmp_path: Path) -> None:
    """What is left free stays free; what came is kept."""
    free = [10 * MIB]
    async with a_rig(tmp_path, reserve_bytes=8 * MIB, free_bytes=lambda _: free[0]) as rig:
        url = rig.server.serve("/m.bin", whole(BODY))
        rig.fetcher._on_progress = lambda *_: free.__setitem__(0, 8 * MIB + 100)
        with pytest.raises(RoomError, match="8 MiB are needed and 8 MiB are free; remove something"):
            await rig.fetcher.fetch(rig.wanted(), rig.path, [WebSource(url)])
        assert rig.path.stat().st_size == 1 << 18
        free[0] = 100 * MIB
        rig.fetcher._on_progress = lambda *_: None
        await rig.fetch(whole(BODY))


async def test_plain_http_to_elsewhere_needs_a_checksum(tmp_path: Path) -> None:
    """Otherwise whoever sits in between could put in another file, and it would be pinned."""
    async with a_rig(tmp_path) as rig:
        wanted = rig.wanted(sha256=None)
        with pytest.raises(DownloadError, match="has no known SHA-256, and plain http would let anybody"):
            await rig.fetcher.fetch(wanted, rig.path, [WebSource("http://mirror.example/m.bin")])


async def test_a_directory_does_as_well(tmp_path: Path) -> None:
    """Looked for in each of its places; a wrong file there is refused like any other."""
    async with a_rig(tmp_path) as rig:
        stick = tmp_path / "stick"
        (stick / "llm").mkdir(parents=True)
        source = FileSource((stick / "m.bin", stick / "llm" / "m.bin"))
        with pytest.raises(DownloadError, match="no such file"):
            await rig.fetcher.fetch(rig.wanted(), rig.path, [source])
        (stick / "m.bin").mkdir()
        with pytest.raises(DownloadError, match="is not a file"):
            await rig.fetcher.fetch(rig.wanted(), rig.path, [source])
        (stick / "m.bin").rmdir()
        (stick / "llm" / "m.bin").write_bytes(OTHER)
        with pytest.raises(DownloadError, match="is another file"):
            await rig.fetcher.fetch(rig.wanted(), rig.path, [source])
        (stick / "llm" / "m.bin").write_bytes(BODY)
        await rig.fetcher.fetch(rig.wanted(), rig.path, [source])
        assert rig.path.read_bytes() == BODY


async def test_it_waits_where_it_is_told_to(tmp_path: Path) -> None:
    """Before each block: a hot device gets a pause."""
    waits: list[int] = []

    async def pace() -> None:
        waits.append(1)

    async with a_rig(tmp_path, pace=pace) as rig:
        await rig.fetch(whole(BODY))
        assert len(waits) >= len(BODY) // MIB
