"""Gets a file whole and as it should be, from the first source that has it: resumed, retried, never trusted.

source ─▶ part of it here? ─▶ ask (from there on) ─▶ blocks ─▶ all? ─▶ checksum ─▶ there
   ▲           └ of another version, or can't be: anew     └ broke off: pause, again     │
   └────────────────────── refused, gone, wrong bytes: the next source ◀─────────────────┘
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from edge_agent.errors import NetworkError
from edge_agent.models.digest import Digests, digest_steps
from edge_agent.models.errors import DownloadError
from edge_agent.models.layout import place_errors
from edge_agent.models.part import Origin, Part
from edge_agent.models.sources import FileSource, SourceError, WebSource
from edge_agent.runtime.pool import Priority
from edge_agent.runtime.tasks import surely

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from edge_agent.models.catalog import CatalogFile
    from edge_agent.net.http import HttpAnswer, HttpPool
    from edge_agent.runtime.pool import Pool

    Source = FileSource | WebSource

T = TypeVar("T")

_log = logging.getLogger(__name__)

_OK, _PARTIAL, _NOT_SATISFIABLE = 200, 206, 416
_PASSING = frozenset({None, 408, 425, 429, 500, 502, 503, 504, 509, 520, 521, 522, 523, 524})
"""Statuses after which the same request may well succeed; None: the connection failed."""
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_GAIN_BYTES = 1 << 18
"""A source that gave so much since it last failed is worth as many tries as at first."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How patient and how careful a download is.

    Attributes:
        tries: Of one source in a row, without getting anywhere.
        first_pause_s: After the first failure; each pause is twice the one before.
        block_bytes: Are written at once.
        reserve_bytes: Are left free on the disk.
        pace: Is awaited before each block; may wait, or raise.
    """

    tries: int = 4
    first_pause_s: float = 1.0
    longest_pause_s: float = 30.0
    block_bytes: int = 1 << 20
    reserve_bytes: int = 64 << 20
    free_bytes: Callable[[Path], int] = field(default=lambda path: shutil.disk_usage(path).free)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    pace: Callable[[], Awaitable[None]] = field(default=lambda: asyncio.sleep(0))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a file has to be.

    Attributes:
        sha256: Known beforehand, from the catalogue or a pin; None where it is not.
        remedy: What is told where it is another one.
    """

    file: CatalogFile
    sha256: str | None
    remedy: str = ""

    def differs(self, found: Digests) -> str:
        """Say how a whole file is not the one; empty where it is."""
        if not self.file.size_is_approximate and found.size_bytes != self.file.size_bytes:
            return f"is {found.size_bytes} bytes long, {self.file.size_bytes} are expected"
        if self.sha256 is not None and found.sha256 != self.sha256:
            return f"is another file: its SHA-256 is {found.sha256}, {self.sha256} is expected{self.remedy}"
        if self.file.md5 is not None and found.md5 != self.file.md5:
            return f"is another file: its MD5 is {found.md5}, {self.file.md5} is expected"
        return ""


class Fetcher:
    """Gets files. Belongs to the loop; files are written and read on `pool`, at low priority.

    Args:
        on_progress: Is told what is done ("download", "check"), and how many bytes of how many.
    """

    def __init__(
        self, http: HttpPool, pool: Pool, terms: Terms, on_progress: Callable[[str, str, int, int], None]
    ) -> None:
        self._http = http
        self._pool = pool
        self._terms = terms
        self._on_progress = on_progress

    def part(self, path: Path) -> Part:
        """Return the part at a path."""
        return Part(path, self._terms.reserve_bytes, self._terms.free_bytes)

    async def fetch(self, wanted: Wanted, path: Path, sources: Sequence[Source]) -> tuple[Digests, str]:
        """Return checksums and source of a file that is whole at `path` now, and is the one wanted.

        Cancelled, it keeps what came so far.

        Raises:
            DownloadError: No source gave it.
            RoomError: The disk is full.
            PlaceError: The directory can't be written.
        """
        part, reasons = self.part(path), []
        for source in sources:
            try:
                return await self._from_source(wanted, part, source), str(source)
            except (NetworkError, SourceError) as error:
                _log.info("%s", error)
                reasons.append(str(error))
        raise DownloadError(wanted.file.name, reasons, await self._run(lambda: part.size_bytes))

    async def digest(self, path: Path, name: str) -> Digests:
        """Return a file's checksums.

        Raises:
            PlaceError: It can't be read.
        """
        found = Digests()
        with place_errors(path):
            total = await self._run(lambda: path.stat().st_size)
            steps = self._pool.steps(digest_steps(path, found), kind="models.check", priority=Priority.LOW)
            async with aclosing(steps) as running:
                async for done in running:
                    await self._terms.pace()
                    self._on_progress("check", name, done, total)
        return found

    async def _from_source(self, wanted: Wanted, part: Part, source: Source) -> Digests:
        for is_last in (False, True):
            is_resumed = await (
                self._copy(wanted, part, source) if isinstance(source, FileSource) else self._load(wanted, part, source)
            )
            found = await self.digest(part.path, wanted.file.name)
            reason = wanted.differs(found)
            if not reason:
                return found
            await self._change(part.drop)
            if is_last or not is_resumed:
                break
            # The two halves need not be of one file, and a card may have lost what was written before a power cut.
            _log.warning("%s: what was kept of it does not fit: it is fetched anew", wanted.file.name)
        raise SourceError(source, reason)

    async def _copy(self, wanted: Wanted, part: Part, source: FileSource) -> bool:
        """Copy from a disk."""
        size_bytes = await self._run(source.size)
        _check_length(source, wanted, size_bytes)
        await self._change(lambda: part.begin(Origin(str(source), "")))
        offset = 0
        while block := await self._run(partial(source.read, offset, self._terms.block_bytes)):
            await self._terms.pace()
            await self._put(part, offset, block)
            offset += len(block)
            if offset > wanted.file.most_bytes:
                raise SourceError(source, "grows while it is read")
            self._on_progress("download", wanted.file.name, offset, max(size_bytes, offset))
        return False

    async def _load(self, wanted: Wanted, part: Part, source: WebSource) -> bool:
        """Load from a server; return whether it came in more than one piece."""
        if wanted.sha256 is None and not source.is_trustworthy:
            raise SourceError(source, "has no known SHA-256, and plain http would let anybody put in another file")
        failures, best, resumes = 0, 0, True
        while True:
            start = await self._run(partial(_kept, wanted, part, source.url)) if resumes else 0
            if start == wanted.file.size_bytes and not wanted.file.size_is_approximate:
                return True
            try:
                await self._ask(wanted, part, source, start)
            except NetworkError as error:
                reached = await self._run(lambda: part.size_bytes)
                failures = 0 if reached >= best + _GAIN_BYTES else failures + 1
                best = max(best, reached)
                if error.status == _NOT_SATISFIABLE and resumes:
                    resumes = False
                elif error.status not in _PASSING or failures >= self._terms.tries:
                    raise
                pause_s = min(self._terms.longest_pause_s, self._terms.first_pause_s * 2 ** max(0, failures - 1))
                _log.info("%s; again in %g s", error, pause_s)
                await self._terms.sleep(pause_s)
            else:
                return start > 0

    async def _ask(self, wanted: Wanted, part: Part, source: WebSource, start: int) -> None:
        """Ask once, from `start` on; what comes is written, whole or not."""
        validator = await self._run(partial(_known_validator, part, source.url)) if start else ""
        headers = {"Range": f"bytes={start}-"} if start else {}
        if validator:
            headers["If-Range"] = validator
        async with self._http.stream(source.url, headers=headers) as answer:
            offset = _start_of(answer, source, wanted, start)
            now = _validator(answer.headers)
            if offset and validator and now and now != validator:
                await self._change(part.drop)  # a server that does not know If-Range
                raise NetworkError(source.url, "the file there has changed meanwhile")
            if not offset:
                await self._change(partial(part.begin, Origin(source.url, now)))
            offset = await self._receive(wanted, part, answer, source, offset)
        if offset < wanted.file.size_bytes and not wanted.file.size_is_approximate:
            raise NetworkError(source.url, f"ended after {offset} of {wanted.file.size_bytes} bytes")

    async def _receive(self, wanted: Wanted, part: Part, answer: HttpAnswer, source: WebSource, offset: int) -> int:
        """Write the body; return where it ended. What has come is kept however this is left."""
        name, most, buffer = wanted.file.name, wanted.file.most_bytes, bytearray()
        total = wanted.file.size_bytes
        try:
            async for chunk in answer:
                if offset + len(buffer) + len(chunk) > most:
                    buffer.clear()
                    await self._change(part.drop)
                    raise SourceError(source, f"sends more than the {most} bytes that the file has")
                buffer += chunk
                if len(buffer) >= self._terms.block_bytes:
                    await self._terms.pace()
                    block, buffer = bytes(buffer), bytearray()
                    await self._put(part, offset, block)
                    offset += len(block)
                    self._on_progress("download", name, offset, max(total, offset))
        finally:
            if buffer:
                await self._put(part, offset, bytes(buffer))
                offset += len(buffer)
                self._on_progress("download", name, offset, max(total, offset))
        return offset

    async def _put(self, part: Part, offset: int, block: bytes) -> None:
        await self._change(lambda: part.write(offset, block))

    async def _change(self, change: Callable[[], None]) -> None:
        """Change a part, and wait for it even if cancelled: its thread would go on, and change what is resumed."""
        await surely(self._run(change, kind="models.write"), "models.write")

    async def _run(self, call: Callable[[], T], kind: str = "models.file") -> T:
        return await self._pool.run(call, kind=kind, priority=Priority.LOW)


def _kept(wanted: Wanted, part: Part, url: str) -> int:
    """Return how much of what is here may be gone on with: where a checksum will tell, or the server can."""
    size_bytes = part.size_bytes
    is_usable = wanted.sha256 is not None or bool(_known_validator(part, url))
    return size_bytes if is_usable and size_bytes <= wanted.file.most_bytes else 0


def _known_validator(part: Part, url: str) -> str:
    origin = part.origin()
    return origin.validator if origin is not None and origin.url == url else ""


def _validator(headers: Mapping[str, str]) -> str:
    """Return what If-Range (RFC 9110, 13.1.5) may be asked with: a strong ETag, or a date."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _start_of(answer: HttpAnswer, source: WebSource, wanted: Wanted, start: int) -> int:
    """Return where in the file the body begins.

    Raises:
        SourceError: The answer does not fit the question, or the file is of another length.
    """
    if answer.status == _PARTIAL and start:
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != start:
            raise SourceError(source, "answers with another part of the file than it was asked for")
        if found[3] != "*":
            _check_length(source, wanted, int(found[3]))
        return start
    if answer.status != _OK:
        raise SourceError(source, f"answers {answer.status} to a request for a file")
    if answer.length_bytes is not None:
        _check_length(source, wanted, answer.length_bytes)
    return 0


def _check_length(source: Source, wanted: Wanted, size_bytes: int) -> None:
    file = wanted.file
    if size_bytes > file.most_bytes or (size_bytes != file.size_bytes and not file.size_is_approximate):
        raise SourceError(source, f"says that it is {size_bytes} bytes long, {file.size_bytes} are expected")
