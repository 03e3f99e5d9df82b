"""States on disk: what comes back is what was saved, or nothing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.engines.llama_prefix import PrefixStore, identity

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

T = TypeVar("T")

_TOKENS = [1, 2, 3]
_STATE = bytearray(os.urandom(3_000_000))
_IDENTITY = b"\0" * 32


def ended(job: Generator[None, None, T]) -> tuple[T, int]:
    """Run a job to its end; return its result and its number of steps."""
    steps = 0
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value, steps
        steps += 1


def only_file(directory: Path) -> Path:
    """Return the one file there is."""
    [path] = directory.iterdir()
    return path


def test_a_state_comes_back_in_steps(tmp_path: Path) -> None:
    """Byte for byte; saving and loading can be stopped every mebibyte."""
    store = PrefixStore(tmp_path / "new" / "cache", _IDENTITY)
    assert not store.holds(_TOKENS)
    assert ended(store.save(_TOKENS, _STATE)) == (None, 6)
    assert store.holds(_TOKENS)
    state, steps = ended(store.load(_TOKENS))
    assert state == _STATE
    assert steps == 6
    assert only_file(tmp_path / "new" / "cache").suffix == ".prefix"


def test_other_tokens_and_other_models_find_nothing(tmp_path: Path) -> None:
    """A state fits what it was computed from alone."""
    store = PrefixStore(tmp_path, _IDENTITY)
    ended(store.save(_TOKENS, _STATE))
    assert ended(store.load([1, 2, 4]))[0] is None
    assert ended(store.load([1, 2]))[0] is None
    assert ended(PrefixStore(tmp_path, b"\1" * 32).load(_TOKENS))[0] is None
    assert ended(store.load(_TOKENS))[0] == _STATE


@settings(derandomize=True, deadline=None, max_examples=100)
@given(at=st.floats(0, 0.99999), bit=st.integers(0, 7), cut=st.booleans())
def test_a_damaged_file_is_removed(tmp_path_factory: pytest.TempPathFactory, at: float, bit: int, *, cut: bool) -> None:
    """A flipped bit or a lost end, anywhere: nothing comes back, and the file is gone."""
    directory = tmp_path_factory.mktemp("cache")
    store = PrefixStore(directory, _IDENTITY)
    ended(store.save(_TOKENS, bytearray(b"state" * 50)))
    path = only_file(directory)
    content = bytearray(path.read_bytes())
    place = int(at * len(content))
    if cut:
        del content[place:]
    else:
        content[place] ^= 1 << bit
    path.write_bytes(content)
    assert ended(store.load(_TOKENS))[0] is None
    assert not path.exists()


def test_a_foreign_file_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """One that another model's state was copied over, or that only got longer."""
    store = PrefixStore(tmp_path, _IDENTITY)
    other = PrefixStore(tmp_path / "other", b"\1" * 32)
    ended(other.save(_TOKENS, _STATE))
    ended(store.save(_TOKENS, _STATE))
    path = next(path for path in tmp_path.iterdir() if path.is_file())
    for content in (only_file(tmp_path / "other").read_bytes(), path.read_bytes() + b"\0"):
        path.write_bytes(content)
        assert ended(store.load(_TOKENS))[0] is None
        assert not path.exists()
    assert caplog.text.count("damaged or of another model") == 2


def test_the_least_used_go_first(tmp_path: Path) -> None:
    """Bytes are bounded; loading counts as use; the newest stays."""
    store = PrefixStore(tmp_path, _IDENTITY, most_bytes=3500)
    for number in range(3):
        ended(store.save([number], bytearray(1000)))
        os.utime(max(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns), ns=(0, number))
    ended(store.load([0]))
    ended(store.save([3], bytearray(1000)))
    assert [store.holds([number]) for number in range(4)] == [True, False, True, True]


def test_what_exceeds_the_room_is_not_kept(tmp_path: Path) -> None:
    """Nothing is thrown out for it."""
    store = PrefixStore(tmp_path, _IDENTITY, most_bytes=2000)
    ended(store.save([1], bytearray(1000)))
    ended(store.save([2], bytearray(3000)))
    assert store.holds([1])
    assert not store.holds([2])


def test_an_abandoned_save_leaves_nothing(tmp_path: Path) -> None:
    """Closed at any step; what a process that died left behind goes with the next save."""
    store = PrefixStore(tmp_path, _IDENTITY)
    for steps in range(1, 7):
        job = store.save(_TOKENS, _STATE)
        for _ in range(steps):
            next(job)
        job.close()
        assert list(tmp_path.iterdir()) == []
    dead = tmp_path / "x.prefix.1.part"
    dead.write_bytes(b"half")
    os.utime(dead, (0, 0))
    ended(store.save(_TOKENS, _STATE))
    assert only_file(tmp_path).suffix == ".prefix"


def test_a_disk_that_refuses_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The store is a cache: the work goes on."""
    (tmp_path / "cache").write_text("not a directory")
    store = PrefixStore(tmp_path / "cache", _IDENTITY)
    ended(store.save(_TOKENS, _STATE))
    assert ended(store.load(_TOKENS))[0] is None
    assert "can't be written" in caplog.text


def test_a_models_identity_follows_file_and_parameters(tmp_path: Path) -> None:
    """Another content, another time, another context."""
    model = tmp_path / "model.gguf"
    model.write_bytes(b"one")
    os.utime(model, ns=(1, 1))
    known = {identity(model, 1024), identity(model, 2048)}
    os.utime(model, ns=(2, 2))
    known.add(identity(model, 1024))
    model.write_bytes(b"two")
    os.utime(model, ns=(1, 1))
    known.add(identity(model, 1024))
    assert len(known) == 4
    assert identity(model, 1024) in known
