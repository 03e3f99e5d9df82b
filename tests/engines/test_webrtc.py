"""WebRTC's voice activity detector, on recorded speech and on noise."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from edge_agent.audio import FRAME_BYTES, FRAME_SAMPLES, HEAR_RATE_HZ, AudioChunk
from edge_agent.engines.webrtc import WebRtcVad


def share(vad: WebRtcVad, pcm: bytes) -> float:
    """Return the share of frames that are judged to be speech."""
    frames = [AudioChunk(pcm[at : at + FRAME_BYTES], HEAR_RATE_HZ) for at in range(0, len(pcm), FRAME_BYTES)]
    whole = [frame for frame in frames if frame.samples == FRAME_SAMPLES]
    return sum(vad.is_speech(frame) for frame in whole) / len(whole)


def read_aloud(speech_dir: Path) -> bytes:
    """Return read sentences."""
    recordings = sorted((speech_dir / "read").glob("librivox-*.wav"))[:5]
    parts = []
    for path in recordings:
        with wave.open(str(path)) as file:
            assert file.getframerate() == HEAR_RATE_HZ
            parts.append(file.readframes(file.getnframes()))
    return b"".join(parts)


@pytest.mark.parametrize("aggressiveness", [0, 1, 2, 3])
def test_silence_is_no_speech(aggressiveness: int) -> None:
    """Zeros are never speech."""
    assert share(WebRtcVad(aggressiveness), bytes(HEAR_RATE_HZ * 2 * 5)) == 0.0


def test_speech_is_found(speech_dir: Path) -> None:
    """Most frames of read sentences are speech, the fewer the more aggressive."""
    pcm = read_aloud(speech_dir)
    shares = [share(WebRtcVad(aggressiveness), pcm) for aggressiveness in (0, 1, 2, 3)]
    assert shares == sorted(shares, reverse=True)
    assert 0.5 < shares[3] < shares[0] <= 1.0


def test_steady_noise_is_learned() -> None:
    """Quiet white noise may pass at first and does not after a second."""
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 100, HEAR_RATE_HZ * 6).astype("<i2").tobytes()
    vad = WebRtcVad(2)
    share(vad, noise[: HEAR_RATE_HZ * 2])
    assert share(vad, noise[HEAR_RATE_HZ * 2 :]) < 0.05


def test_reset_forgets(speech_dir: Path) -> None:
    """After a reset the same audio gets the same judgement as the first time."""
    pcm = read_aloud(speech_dir)[: HEAR_RATE_HZ * 2 * 6]
    frames = [AudioChunk(pcm[at : at + FRAME_BYTES], HEAR_RATE_HZ) for at in range(0, len(pcm), FRAME_BYTES)]
    vad = WebRtcVad(2)
    first = [vad.is_speech(frame) for frame in frames]
    vad.reset()
    assert [vad.is_speech(frame) for frame in frames] == first
