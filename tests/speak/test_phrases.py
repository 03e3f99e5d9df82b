"""The phrase cache: budgets, order of use, the two tiers, damage."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.audio import AudioChunk
from edge_agent.runtime.pool import Pool
from edge_agent.speak.phrase_files import PhraseFiles
from edge_agent.speak.phrases import PhraseCache, PhraseKey

_ENTRY_BYTES = 400


def _key(text: str) -> PhraseKey:
    return PhraseKey("flite slt, speed 1.0", text)


def _sound(samples: int = 800, tone: int = 1) -> tuple[AudioChunk, ...]:
    return AudioChunk(bytes([tone]) * samples, 16_000), AudioChunk(bytes([tone + 1]) * samples, 22_050)


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    """Two threads for files."""
    pool = Pool("file_io", most_workers=2)
    yield pool
    await pool.close()


async def _saved(cache: PhraseCache) -> None:
    """Run the loop that writes until all that was put is written; the cache writes nothing afterwards."""
    cache.close()
    await cache.save_loop()


def test_a_rendering_comes_back_as_it_was_put() -> None:
    """Voice and text both count; times of capture don't."""
    cache = PhraseCache(1 << 20)
    assert cache.put(_key("on"), [AudioChunk(b"\1\2", 16_000, captured_at=3.0)])
    assert cache.get(_key("on")) == (AudioChunk(b"\1\2", 16_000),)
    assert cache.get(PhraseKey("another voice", "on")) is None
    assert cache.get(_key("off")) is None
    statistics = cache.statistics()
    assert (statistics.hits, statistics.misses, statistics.entries) == (1, 2, 1)


def test_what_is_too_large_is_not_kept_and_puts_nobody_out() -> None:
    """One entry takes an eighth of the budget at most; a budget of 0 keeps nothing."""
    cache = PhraseCache(8 * 10_000)
    assert cache.put(_key("short"), _sound(1000))
    assert not cache.put(_key("a long story"), _sound(10_000))
    assert cache.get(_key("short")) is not None
    assert cache.statistics().too_large == 1
    assert not PhraseCache(0).put(_key(""), [])


def test_replacing_by_something_too_large_leaves_nothing_stale() -> None:
    """The older rendering is gone, not kept in its stead."""
    cache = PhraseCache(8 * 10_000)
    cache.put(_key("on"), _sound(1000))
    assert not cache.put(_key("on"), _sound(10_000))
    assert cache.get(_key("on")) is None
    assert cache.statistics().size_bytes == 0


def test_trimming_gives_back_the_least_lately_used() -> None:
    """At least as much as asked for, or all there is."""
    cache = PhraseCache(1 << 20)
    for text in ("a", "b", "c"):
        cache.put(_key(text), _sound(1000))
    cache.get(_key("a"))
    each = cache.statistics().size_bytes // 3
    assert cache.trim(1) == each
    assert cache.get(_key("b")) is None
    assert cache.get(_key("a")) is not None
    assert cache.trim(1 << 30) == 2 * each
    assert cache.trim(1) == 0
    assert cache.statistics().entries == 0


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.integers(0, 9), st.integers(0, 3000)),
            st.tuples(st.just("get"), st.integers(0, 9), st.just(0)),
            st.tuples(st.just("trim"), st.just(0), st.integers(0, 6000)),
        ),
        max_size=60,
    ),
    st.integers(0, 20_000),
)
def test_memory_is_a_list_by_last_use_within_its_budget(operations: list[tuple[str, int, int]], budget: int) -> None:
    """A plain model says the same, and the bytes are never above the budget."""
    cache = PhraseCache(budget)
    model: OrderedDict[int, int] = OrderedDict()
    for name, number, size in operations:
        key = _key(str(number))
        if name == "put":
            takes = 2 * _ENTRY_BYTES + 1 + size
            model.pop(number, None)
            fits = takes <= budget // 8
            assert cache.put(key, [AudioChunk(bytes(size), 16_000)]) == fits
            if fits:
                while sum(model.values()) + takes > budget:
                    model.popitem(last=False)
                model[number] = takes
        elif name == "get":
            found = cache.get(key)
            assert (found is not None) == (number in model)
            if found is not None:
                model.move_to_end(number)
        else:
            before = sum(model.values())
            while model and before - sum(model.values()) < size:
                model.popitem(last=False)
            cache.trim(size)
        statistics = cache.statistics()
        assert (statistics.entries, statistics.size_bytes) == (len(model), sum(model.values()))
        assert statistics.size_bytes <= budget


async def test_the_disk_remembers_over_a_restart(tmp_path: Path, pool: Pool) -> None:
    """Found on disk once, in memory from then on."""
    before = PhraseCache(1 << 20, directory=tmp_path / "phrases", disk_bytes=1 << 20, pool=pool)
    before.put(_key("the light is on"), _sound())
    await _saved(before)
    after = PhraseCache(1 << 20, directory=tmp_path / "phrases", disk_bytes=1 << 20, pool=pool)
    assert after.get(_key("the light is on")) is None
    for _ in range(2):
        assert await after.fetch(_key("the light is on")) == _sound()
    assert await after.fetch(_key("unknown")) is None
    statistics = after.statistics()
    assert (statistics.hits, statistics.disk_hits, statistics.misses) == (1, 1, 2)
    assert (statistics.disk_entries, statistics.disk_bytes) == (1, 4096)
    [file] = (tmp_path / "phrases").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


async def test_without_a_directory_fetching_is_getting() -> None:
    """Memory alone needs no pool."""
    cache = PhraseCache(1 << 20)
    cache.put(_key("on"), _sound())
    assert await cache.fetch(_key("on")) == _sound()
    assert await cache.fetch(_key("off")) is None
    assert cache.statistics().unsaved == 0
    with pytest.raises(ValueError, match="on a pool"):
        PhraseCache(1, directory=Path("phrases"))


async def test_what_left_memory_before_it_was_written_is_counted(tmp_path: Path, pool: Pool) -> None:
    """Waiting for the card holds no samples: what memory gave back is lost to the disk."""
    cache = PhraseCache(1 << 20, directory=tmp_path, disk_bytes=1 << 20, pool=pool)
    for number in range(70):
        cache.put(_key(str(number)), _sound(10))
    assert cache.trim(1) > 0
    cache.put(_key("0"), _sound(10))
    cache.trim(cache.statistics().size_bytes - 2000)
    await _saved(cache)
    statistics = cache.statistics()
    assert statistics.entries == statistics.disk_entries == 1
    assert statistics.unsaved == 70


def _damage(content: bytes, kind: str) -> bytes:
    flipped = bytearray(content)
    flipped[-1] ^= 1
    return {
        "empty": b"",
        "cut off": content[:-1],
        "zeros": bytes(len(content)),
        "flipped": bytes(flipped),
        "longer": content + b"\0",
        "other length": content[:24] + b"\xff\xff\xff\x7f" + content[28:],
    }[kind]


@pytest.mark.parametrize("kind", ["empty", "cut off", "zeros", "flipped", "longer", "other length"])
def test_a_damaged_file_is_deleted_and_counts_as_absent(tmp_path: Path, kind: str) -> None:
    """What a power cut leaves is never played."""
    files = PhraseFiles(tmp_path, 1 << 20)
    files.save(_key("on"), _sound())
    [path] = tmp_path.iterdir()
    path.write_bytes(_damage(path.read_bytes(), kind))
    assert files.load(_key("on")) is None
    assert list(tmp_path.iterdir()) == []
    assert (files.entries, files.size_bytes, files.damaged) == (0, 0, 1)
    files.save(_key("on"), _sound())
    assert files.load(_key("on")) == _sound()


def test_another_sentence_under_the_name_is_not_played(tmp_path: Path) -> None:
    """Names are hashes; what is inside has the last word."""
    files = PhraseFiles(tmp_path, 1 << 20)
    files.save(_key("on"), _sound())
    [on] = tmp_path.iterdir()
    files.save(_key("off"), _sound(tone=5))
    [off] = (path for path in tmp_path.iterdir() if path != on)
    off.write_bytes(on.read_bytes())
    assert files.load(_key("off")) is None
    assert files.load(_key("on")) == _sound()


def test_a_file_that_vanished_counts_as_absent(tmp_path: Path) -> None:
    """Somebody cleared the cache by hand."""
    files = PhraseFiles(tmp_path, 1 << 20)
    files.save(_key("on"), _sound())
    for path in tmp_path.iterdir():
        path.unlink()
    assert files.load(_key("on")) is None
    assert files.size_bytes == 0


def test_the_disk_keeps_its_budget_and_deletes_by_last_use_over_restarts(tmp_path: Path) -> None:
    """Times of files carry the order; foreign files stay; leftovers of a cut-off write go."""
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / f"{'0' * 32}.phrase.new").write_bytes(b"half")
    files = PhraseFiles(tmp_path, 3 * 4096)
    times: dict[str, Path] = {}
    for second, text in enumerate(("a", "b", "c")):
        known = set(tmp_path.glob("*.phrase"))
        files.save(_key(text), _sound(100))
        [times[text]] = set(tmp_path.glob("*.phrase")) - known
        os.utime(times[text], (second, second))
    assert files.load(_key("a")) is not None
    files.save(_key("d"), _sound(100))
    assert files.load(_key("b")) is None
    assert (files.entries, files.size_bytes, files.evicted) == (3, 3 * 4096, 1)
    after = PhraseFiles(tmp_path, 2 * 4096)
    assert after.load(_key("c")) is None
    assert after.load(_key("a")) is not None
    assert after.load(_key("d")) is not None
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".phrase") == ["notes.txt"]
    after.save(_key("huge"), _sound(9000))
    assert after.entries == 2


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9000)), max_size=20), st.integers(0, 40_000))
def test_the_disk_is_never_above_its_budget(
    tmp_path_factory: pytest.TempPathFactory, saves: list[tuple[int, int]], budget: int
) -> None:
    """What the files take, in whole blocks, is what is counted, and within the budget."""
    directory = tmp_path_factory.mktemp("phrases")
    files = PhraseFiles(directory, budget)
    for number, size in saves:
        files.save(_key(str(number)), [AudioChunk(bytes(size), 16_000)])
        taken = sum(-(-path.stat().st_size // 4096) * 4096 for path in directory.iterdir())
        assert taken == files.size_bytes <= budget


async def test_a_disk_that_fails_costs_time_only_and_is_logged_once(
    tmp_path: Path, pool: Pool, caplog: pytest.LogCaptureFixture
) -> None:
    """The directory can't be made: the sentence is rendered anew, and each failure is counted."""
    (tmp_path / "file").touch()
    cache = PhraseCache(1 << 20, directory=tmp_path / "file", disk_bytes=1 << 20, pool=pool)
    for _ in range(3):
        assert await cache.fetch(_key("on")) is None
    cache.put(_key("on"), _sound())
    await _saved(cache)
    assert cache.get(_key("on")) == _sound()
    assert cache.statistics().disk_failures == 4
    assert len(caplog.records) == 1


async def test_a_full_pool_counts_as_absent(tmp_path: Path) -> None:
    """A turn never fails for want of a cached sentence."""
    pool = Pool("file_io", most_workers=1, depth=1)
    cache = PhraseCache(1 << 20, directory=tmp_path, disk_bytes=1 << 20, pool=pool)
    blocked, release = threading.Event(), threading.Event()

    def block() -> None:
        blocked.set()
        assert release.wait(10)

    blocking = asyncio.create_task(pool.run(block))
    assert await asyncio.to_thread(blocked.wait, 10)
    waiting = asyncio.create_task(pool.run(lambda: None))
    await asyncio.sleep(0)
    assert await cache.fetch(_key("on")) is None
    assert cache.statistics().disk_failures == 1
    release.set()
    await asyncio.gather(blocking, waiting)
    await pool.close()


def test_a_save_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No half file, no wrong count."""
    files = PhraseFiles(tmp_path, 1 << 20)
    files.save(_key("on"), _sound())

    def fail(path: Path, content: bytes) -> None:
        path.write_bytes(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write", fail)
    with pytest.raises(OSError, match="No space"):
        files.save(_key("off"), _sound())
    assert files.load(_key("on")) == _sound()
    assert (files.entries, files.size_bytes, len(list(tmp_path.iterdir()))) == (1, 4096, 1)
