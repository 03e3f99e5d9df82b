"""The free reading beside a closed one: the same steps whenever they are made, and bounded work alongside."""

from __future__ import annotations

from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.engines.vosk_decoder import VoskDecoder
from edge_agent.engines.vosk_second import STEP_BYTES, SecondReading
from edge_agent.errors import RecognitionError
from edge_agent.events import Word

FRAME = bytes(640)
FRAMES_A_STEP = STEP_BYTES // len(FRAME)


class Decoder:
    """Says how much audio it got in each piece, and takes `cost_s` over it."""

    def __init__(self, cost_s: float = 0.0) -> None:
        self.now_s = 0.0
        self.cost_s = cost_s
        self.pieces: list[int] = []
        self.restarts = self.ends = 0

    def restart(self) -> None:
        """Count."""
        self.restarts += 1
        self.pieces = []

    def take(self, pcm: bytes) -> list[Word]:
        """Hear the size as a word."""
        self.now_s += self.cost_s
        self.pieces.append(len(pcm))
        return [Word(str(len(pcm)), 0.0, 0.0, 1.0)]

    def end(self) -> list[Word]:
        """Hear that it ends."""
        self.ends += 1
        return [Word("end", 0.0, 0.0, 1.0)]


def reading(decoder: Decoder) -> SecondReading:
    """Return a reading by a double, on its clock."""
    return SecondReading(cast("VoskDecoder", decoder), lambda: decoder.now_s)


def texts(words: list[Word]) -> list[str]:
    """Return what was heard."""
    return [word.text for word in words]


def nobody_stops() -> None:
    """Nobody does."""


@settings(derandomize=True, deadline=None, max_examples=60)
@given(sizes=st.lists(st.integers(1, 3 * STEP_BYTES), max_size=30), cost_s=st.sampled_from([0.01, 10.0]))
def test_when_it_is_decoded_changes_nothing(sizes: list[int], cost_s: float) -> None:
    """Fast machine or slow one, small chunks or large: what Vosk gets are the same pieces, the last one shorter."""
    decoder = Decoder(cost_s)
    it = reading(decoder)
    it.restart()
    for size in sizes:
        it.add(bytes(size))
        it.keep_up()
    whole, rest = divmod(sum(sizes), STEP_BYTES)
    expected = [str(STEP_BYTES)] * whole + ([str(rest)] if rest else []) + ["end"]
    assert texts(it.end(nobody_stops)) == expected


def test_it_keeps_up_with_somebody_who_speaks() -> None:
    """At the end less than a step is left to decode; asking again costs nothing."""
    decoder = Decoder(cost_s=0.05)
    it = reading(decoder)
    it.restart()
    for _ in range(40 * FRAMES_A_STEP + 3):
        it.add(FRAME)
        it.keep_up()
    assert decoder.pieces == [STEP_BYTES] * 40
    first = list(it.end(nobody_stops))
    assert decoder.pieces[40:] == [3 * len(FRAME)]
    assert it.end(nobody_stops) == first
    assert (decoder.restarts, decoder.ends) == (1, 1)


def test_a_slow_machine_leaves_it_for_later_and_tries_again_with_each_utterance() -> None:
    """Five steps of an utterance show it."""
    decoder = Decoder(cost_s=0.08)
    it = reading(decoder)
    for _ in range(2):
        it.restart()
        for _ in range(20 * FRAMES_A_STEP):
            it.add(FRAME)
            it.keep_up()
        assert decoder.pieces == [STEP_BYTES] * 5


def test_going_on_after_the_end_is_caught_up_with_at_twice_the_speed() -> None:
    """A preview ended it; the next audio begins it anew, no step for less than half a step of audio."""
    decoder = Decoder()
    it = reading(decoder)
    it.restart()
    it.add(bytes(6 * STEP_BYTES))
    it.end(nobody_stops)
    steps = []
    for _ in range(8 * FRAMES_A_STEP):
        it.add(FRAME)
        it.keep_up()
        steps.append(len(decoder.pieces))
    assert decoder.restarts == 2
    assert max(later - earlier for earlier, later in zip(steps, steps[2:], strict=False)) == 1
    assert steps[-1] == 14, "six that were said before, eight since"
    assert texts(it.end(nobody_stops)) == [str(STEP_BYTES)] * 14 + ["end"]


def test_a_stop_ends_it_between_two_steps() -> None:
    """Who asks again gets the rest."""
    decoder = Decoder()
    it = reading(decoder)
    it.restart()
    it.add(bytes(4 * STEP_BYTES))

    def stop() -> None:
        if len(decoder.pieces) == 2:
            raise RecognitionError("vosk", "was stopped")

    with pytest.raises(RecognitionError, match="was stopped"):
        it.end(stop)
    assert len(decoder.pieces) == 2
    assert texts(it.end(nobody_stops)) == [str(STEP_BYTES)] * 4 + ["end"]


def test_an_utterance_that_nobody_asked_about_is_dropped() -> None:
    """The next one has nothing of it; Vosk is told with its first step, not while somebody waits for an answer."""
    decoder = Decoder()
    it = reading(decoder)
    it.restart()
    for _ in range(FRAMES_A_STEP):
        it.add(FRAME)
        it.keep_up()
    it.restart()
    assert decoder.restarts == 1
    it.add(FRAME)
    assert texts(it.end(nobody_stops)) == [str(len(FRAME)), "end"]
    assert decoder.restarts == 2
