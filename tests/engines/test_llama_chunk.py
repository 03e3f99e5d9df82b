"""The size of a step in the prompt: arithmetic on measured times."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.engines.llama_chunk import ChunkSize


def run(chunk: ChunkSize, tokens_per_s: float, threads: int = 1, steps: int = 10) -> list[int]:
    """Evaluate so many steps on a machine of that speed; return their sizes."""
    sizes = []
    for _ in range(steps):
        size = chunk.tokens(threads)
        sizes.append(size)
        chunk.note(size, threads, size / (tokens_per_s * threads))
    return sizes


@pytest.mark.parametrize(("tokens_per_s", "size"), [(10, 8), (150, 8), (250, 16), (500, 40), (5000, 64)])
def test_a_step_takes_as_long_as_wanted(tokens_per_s: float, size: int) -> None:
    """80 ms, or the least or the most that a step may hold."""
    assert run(ChunkSize(), tokens_per_s)[-1] == size


def test_it_begins_small_and_doubles() -> None:
    """Nothing is known at first, and one fast step proves little."""
    assert run(ChunkSize(), 10_000, steps=5) == [8, 16, 32, 64, 64]


def test_more_threads_take_more_at_once() -> None:
    """A new grant counts for the next step, without learning again."""
    chunk = ChunkSize()
    assert run(chunk, 200)[-1] == 16
    assert [chunk.tokens(threads) for threads in (1, 2, 4)] == [16, 32, 32]
    assert run(chunk, 200, threads=4)[-1] == 64
    assert chunk.tokens(1) == 16


def test_a_slow_step_counts_at_once_and_is_recovered_from() -> None:
    """A hot board gets slower between two steps; a moment's load is forgotten soon."""
    chunk = ChunkSize()
    assert run(chunk, 2000)[-1] == 64
    assert run(chunk, 100, steps=2)[-1] == 8
    assert run(chunk, 2000)[-1] == 64


def test_a_remainder_says_nothing() -> None:
    """A last step of three tokens is all overhead."""
    chunk = ChunkSize()
    run(chunk, 2000)
    chunk.note(3, 1, 1.0)
    assert chunk.tokens(1) == 64


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(1, 200), st.integers(1, 16), st.floats(0, 10)), max_size=30))
def test_sizes_stay_in_their_bounds(measured: list[tuple[int, int, float]]) -> None:
    """Whatever is measured; and they are whole tiles."""
    chunk = ChunkSize()
    for tokens, threads, took_s in measured:
        chunk.note(tokens, threads, took_s)
        assert 8 <= chunk.tokens(threads) <= 64
        assert chunk.tokens(threads) % 8 == 0


def test_a_chunk_holds_something() -> None:
    """Bounds that make no sense are refused."""
    for least, most in ((0, 8), (9, 8)):
        with pytest.raises(ValueError, match="at least one token"):
            ChunkSize(least, most)
