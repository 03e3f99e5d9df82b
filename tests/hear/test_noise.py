"""Steady noise that the detector calls speech."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edge_agent.audio import FRAME_SAMPLES, HEAR_RATE_HZ, AudioChunk
from edge_agent.hear.noise import NoiseAwareVad

if TYPE_CHECKING:
    from collections.abc import Sequence


class Eager:
    """Calls everything speech."""

    def __init__(self) -> None:
        self.resets = 0

    def is_speech(self, frame: AudioChunk) -> bool:
        """Judge one frame."""
        return bool(frame.pcm)

    def reset(self) -> None:
        """Count."""
        self.resets += 1


class Deaf(Eager):
    """Calls nothing speech."""

    def is_speech(self, frame: AudioChunk) -> bool:
        """Judge one frame."""
        return not frame.pcm


def frames(*parts: tuple[float, float]) -> list[AudioChunk]:
    """Return white noise: each part of so many seconds at such a level in decibels."""
    rng = np.random.default_rng(3)
    samples = np.concatenate([rng.normal(0, 10 ** (db / 20), round(s * HEAR_RATE_HZ)) for s, db in parts])
    pcm = samples.astype("<i2").tobytes()
    size = FRAME_SAMPLES * 2
    return [AudioChunk(pcm[at : at + size], HEAR_RATE_HZ) for at in range(0, len(pcm), size)]


def judged(vad: NoiseAwareVad, heard: Sequence[AudioChunk]) -> str:
    """Return a diagram, # for speech."""
    return "".join("#" if vad.is_speech(frame) else "." for frame in heard)


def test_noise_after_a_voice_becomes_silence_after_a_fifth_of_a_second() -> None:
    """A voice of 1 s above a room: within 0.3 s of its end the room is silence, and stays it."""
    diagram = judged(NoiseAwareVad(Eager()), frames((1.0, 40), (1.0, 65), (2.0, 40)))
    assert diagram[50:100] == "#" * 50
    after = diagram[100:]
    assert "#" not in after[15:]
    assert after.startswith("#" * 9)


def test_a_soft_syllable_is_left_alone() -> None:
    """Quiet of 0.16 s between two loud parts is what the detector says."""
    diagram = judged(NoiseAwareVad(Eager()), frames((1.0, 40), (0.5, 65), (0.16, 40), (0.5, 65)))
    assert "." not in diagram[50:]


def test_without_a_voice_nothing_is_known_of_the_room() -> None:
    """Someone speaks from the first frame on, evenly: nothing is taken back."""
    assert "." not in judged(NoiseAwareVad(Eager()), frames((3.0, 60)))


def test_a_voice_that_stays_soft_is_heard() -> None:
    """6 dB above the room, after a loud word."""
    diagram = judged(NoiseAwareVad(Eager()), frames((1.0, 40), (0.5, 65), (1.0, 46)))
    assert "." not in diagram[80:]


def test_it_adds_no_speech() -> None:
    """What the detector calls silence stays silence, however loud."""
    assert "#" not in judged(NoiseAwareVad(Deaf()), frames((1.0, 40), (1.0, 65)))


def test_a_new_room_is_learned_after_a_reset() -> None:
    """The detector is reset too, and what was the room of another time is forgotten."""
    eager = Eager()
    vad = NoiseAwareVad(eager)
    judged(vad, frames((1.0, 40), (0.5, 65), (0.5, 40)))
    vad.reset()
    assert eager.resets == 1
    assert judged(vad, frames((2.0, 40))) == "#" * 100


def test_a_room_that_became_louder_is_learned_within_seconds() -> None:
    """A fan starts: 7 s later its noise is the room, since nothing quieter was heard for six."""
    diagram = judged(NoiseAwareVad(Eager()), frames((1.0, 40), (7.0, 55), (0.5, 75), (1.0, 55)))
    assert "#" not in diagram[-30:]
