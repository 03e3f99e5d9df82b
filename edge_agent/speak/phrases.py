"""The phrase cache: sentences that were rendered before are spoken at once."""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from edge_agent.audio import AudioChunk
from edge_agent.errors import JobTimeoutError, PoolBusyError
from edge_agent.runtime.channel import Channel
from edge_agent.runtime.pool import Priority
from edge_agent.speak.phrase_files import PhraseFiles, PhraseKey

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from edge_agent.runtime.channel import ChannelStatistics
    from edge_agent.runtime.pool import Pool

__all__ = ["PhraseCache", "PhraseKey", "PhraseStatistics"]

_log = logging.getLogger(__name__)

_ENTRY_BYTES = 400
"""What an entry takes beside its samples and its text: objects and references."""
_LARGEST_SHARE = 8
"""One entry takes at most this part of the memory, so that a long story does not put out all short answers."""
_UNSAVED = 64
"""Sentences that may wait for the card; their samples stay in memory, so this holds keys only."""
_LOAD_S = 1.0
"""A voice renders a sentence in about that time; a slower card is of no use."""
_SAVE_S = 30.0


class _Entry(NamedTuple):
    chunks: tuple[AudioChunk, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class PhraseStatistics:
    """The cache as it stands.

    Attributes:
        hits: Sentences found in memory.
        disk_hits: Sentences found on disk only.
        misses: Sentences found nowhere.
        entries: Sentences in memory.
        size_bytes: What they take.
        evicted: Sentences that left memory to make room, or to give it back.
        too_large: Sentences that were not kept for their size.
        disk_entries: Sentences on disk, known once it was first looked at.
        disk_bytes: What they take.
        disk_evicted: Sentences deleted on disk to make room.
        disk_damaged: Files that could not be read as what they should be, and were deleted.
        unsaved: Sentences that did not get to disk: too many at once, or evicted before.
        disk_failures: Times that the disk failed or was too slow.
    """

    hits: int
    disk_hits: int
    misses: int
    entries: int
    size_bytes: int
    evicted: int
    too_large: int
    disk_entries: int
    disk_bytes: int
    disk_evicted: int
    disk_damaged: int
    unsaved: int
    disk_failures: int


class PhraseCache:
    """Keeps renderings in memory and, where there is a directory, on disk; in both the least lately used go first.

    Belongs to the loop; disk is touched on the pool only. `save_loop` has to run for anything to get to disk.

    Args:
        memory_bytes: Budget in memory, overhead included; 0 keeps nothing.
        directory: Where the files are; None for memory alone.
        disk_bytes: Budget on disk.
        pool: `file_io`; needed with a directory.
    """

    def __init__(
        self, memory_bytes: int, *, directory: Path | None = None, disk_bytes: int = 0, pool: Pool | None = None
    ) -> None:
        if directory is not None and pool is None:
            raise ValueError("files are written on a pool")
        self._most_bytes = memory_bytes
        self._entries: OrderedDict[PhraseKey, _Entry] = OrderedDict()
        self._size_bytes = 0
        self._files = PhraseFiles(directory, disk_bytes) if directory is not None else None
        self._pool = pool
        self._to_save: Channel[PhraseKey] = Channel(_UNSAVED, on_full="drop_oldest", name="phrases")
        self._hits = self._disk_hits = self._misses = 0
        self._evicted = self._too_large = self._unsaved = self._disk_failures = 0
        self._last_failure = ""

    def get(self, key: PhraseKey) -> tuple[AudioChunk, ...] | None:
        """Return a rendering from memory, at once; None where it is not there."""
        entry = self._entries.get(key)
        if entry is None:
            self._misses += 1
            return None
        self._entries.move_to_end(key)
        self._hits += 1
        return entry.chunks

    async def fetch(self, key: PhraseKey) -> tuple[AudioChunk, ...] | None:
        """Return a rendering from memory or disk; None where it is in neither, or the disk fails or is slow."""
        if key in self._entries or self._files is None:
            return self.get(key)
        chunks = await self._load(key, self._files)
        if chunks is None:
            self._misses += 1
            return None
        self._disk_hits += 1
        self._keep(key, chunks)
        return chunks

    def put(self, key: PhraseKey, chunks: Iterable[AudioChunk]) -> bool:
        """Keep a whole rendering; False where it is too large. Replaces an older one."""
        # Without times of capture: a rendering that is played again was not made then.
        kept = self._keep(key, tuple(AudioChunk(chunk.pcm, chunk.rate_hz) for chunk in chunks))
        if not kept:
            self._too_large += 1
        elif self._files is not None:
            self._to_save.offer(key)
        return kept

    def trim(self, size_bytes: int) -> int:
        """Give back at least `size_bytes` of memory, or all there is, and return how many bytes that were."""
        before = self._size_bytes
        while self._entries and before - self._size_bytes < size_bytes:
            self._evict()
        return before - self._size_bytes

    async def save_loop(self) -> None:
        """Write to disk what was put, until `close` was called and all is written, or this is cancelled."""
        async for key in self._to_save:
            await self._save(key)

    def close(self) -> None:
        """Write nothing that is put from now on."""
        self._to_save.close()

    @property
    def channel(self) -> ChannelStatistics:
        """Sentences that wait for the disk."""
        return self._to_save.statistics()

    def statistics(self) -> PhraseStatistics:
        """Return the cache's figures."""
        files = self._files
        return PhraseStatistics(
            hits=self._hits,
            disk_hits=self._disk_hits,
            misses=self._misses,
            entries=len(self._entries),
            size_bytes=self._size_bytes,
            evicted=self._evicted,
            too_large=self._too_large,
            disk_entries=files.entries if files else 0,
            disk_bytes=files.size_bytes if files else 0,
            disk_evicted=files.evicted if files else 0,
            disk_damaged=files.damaged if files else 0,
            unsaved=self._unsaved + self._to_save.dropped,
            disk_failures=self._disk_failures,
        )

    def _keep(self, key: PhraseKey, chunks: tuple[AudioChunk, ...]) -> bool:
        self._drop(key)
        size_bytes = _ENTRY_BYTES * (1 + len(chunks)) + len(key.text.encode()) + sum(len(chunk.pcm) for chunk in chunks)
        if size_bytes > self._most_bytes // _LARGEST_SHARE:
            return False
        while self._size_bytes + size_bytes > self._most_bytes:
            self._evict()
        self._entries[key] = _Entry(chunks, size_bytes)
        self._size_bytes += size_bytes
        return True

    def _evict(self) -> None:
        self._drop(next(iter(self._entries)))
        self._evicted += 1

    def _drop(self, key: PhraseKey) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            self._size_bytes -= entry.size_bytes

    async def _load(self, key: PhraseKey, files: PhraseFiles) -> tuple[AudioChunk, ...] | None:
        assert self._pool is not None  # noqa: S101 - said by __init__
        try:
            return await self._pool.run(
                lambda: files.load(key), kind="phrases.load", priority=Priority.HIGH, timeout_s=_LOAD_S
            )
        except (OSError, JobTimeoutError, PoolBusyError) as error:
            self._failed("read", error)
            return None

    async def _save(self, key: PhraseKey) -> None:
        assert self._pool is not None  # noqa: S101 - said by __init__
        files, entry = self._files, self._entries.get(key)
        if files is None or entry is None:
            self._unsaved += 1
            return
        try:
            await self._pool.run(
                lambda: files.save(key, entry.chunks), kind="phrases.save", priority=Priority.LOW, timeout_s=_SAVE_S
            )
        except (OSError, JobTimeoutError, PoolBusyError) as error:
            self._failed("written", error)

    def _failed(self, done: str, error: Exception) -> None:
        """Count and log: the cache's loss costs time, so the voice renders, and nobody is told in between."""
        self._disk_failures += 1
        failure = f"{type(error).__name__}: {error}"
        if failure != self._last_failure:
            _log.warning("a rendered sentence could not be %s: %s", done, failure)
            self._last_failure = failure
