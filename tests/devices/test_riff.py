"""Headers of WAV files, damaged in every way."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from edge_agent.devices.riff import check_recording
from edge_agent.errors import AudioFileError

HEADER_BYTES = 12 + 8 + 40 + 8 + 4 + 8


def extensible(frames: int = 100) -> bytes:
    """Return a stereo 24-bit WAVE_FORMAT_EXTENSIBLE file with a chunk before its data."""
    guid = struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    form = struct.pack("<HHIIHH", 0xFFFE, 2, 48_000, 288_000, 6, 24) + struct.pack("<HHI", 22, 24, 3) + guid
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form
    body += b"LIST" + struct.pack("<I", 4) + b"INFO"
    body += b"data" + struct.pack("<I", 6 * frames) + bytes(6 * frames)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def refusal_of(path: Path) -> str | None:
    """Return the message with which a file is refused; None where it is not; anything else raised is raised."""
    refusal: AudioFileError | None = None
    try:
        info = check_recording(path)
    except AudioFileError as error:
        refusal = error
    if refusal is not None:
        assert str(refusal).startswith(f"{path}: ")
        assert len(str(refusal).splitlines()) == 1
        assert refusal.exit_status == 2
        return refusal.reason
    size = path.stat().st_size
    assert info.frames > 0
    assert info.duration_s > 0
    assert info.data_offset + info.frames * info.channels * info.kind.size_bytes <= size
    return None


def test_the_whole_file_is_read(tmp_path: Path) -> None:
    """What the other tests damage is right."""
    path = tmp_path / "a.wav"
    path.write_bytes(extensible())
    info = check_recording(path)
    assert (info.rate_hz, info.channels, info.frames, info.data_offset) == (48_000, 2, 100, HEADER_BYTES)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    """At every byte of the header and of the data: empty, or truncated, and nothing but that."""
    path = tmp_path / "a.wav"
    whole = extensible(frames=3)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        reason = refusal_of(path)
        assert reason is not None, length
        assert "truncated" in reason or (length == 0 and "empty" in reason), (length, reason)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(
    changes=st.dictionaries(st.integers(0, HEADER_BYTES - 1), st.integers(0, 255), min_size=1, max_size=8),
    length=st.integers(0, len(extensible())),
)
@example(changes={16: 0xFF, 17: 0xFF, 18: 0xFF, 19: 0xFF}, length=len(extensible()))
@example(changes={60: ord("f"), 61: ord("m"), 62: ord("t"), 63: ord(" ")}, length=len(extensible()))
def test_damage_is_refused_or_harmless(tmp_path: Path, changes: dict[int, int], length: int) -> None:
    """Whatever bytes change: one line, or samples that are really there; no other exception."""
    data = bytearray(extensible())
    for place, value in changes.items():
        data[place] = value
    path = tmp_path / "a.wav"
    path.write_bytes(data[:length])
    refusal_of(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"RIFF\0\0\0\0WAVE", b"RIFF\xff\xff\xff\xffWAVEfmt "]))
def test_any_bytes_are_refused_or_harmless(tmp_path: Path, rest: bytes, start: bytes) -> None:
    """A file of anything."""
    path = tmp_path / "a.wav"
    path.write_bytes(start + rest)
    refusal_of(path)


@pytest.mark.parametrize("chunks", [300, 5000])
def test_endless_chunks_come_to_an_end(tmp_path: Path, chunks: int) -> None:
    """A file of empty chunks does not keep the reader."""
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * chunks)
    assert refusal_of(path) == "has no audio data; it is damaged"
