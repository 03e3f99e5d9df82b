"""Recordings as a microphone: every format in, 16 kHz mono frames out; what can't be read says so in one line."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import struct
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from edge_agent.audio import FRAME_BYTES, FRAME_S, HEAR_RATE_HZ, AudioChunk
from edge_agent.devices.recording import RecordingSource, check_recording
from edge_agent.devices.riff import SampleKind
from edge_agent.errors import AudioFileError
from edge_agent.runtime.pool import Pool

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
BITS = {SampleKind.U8: 8, SampleKind.S16: 16, SampleKind.S24: 24, SampleKind.S32: 32, SampleKind.F32: 32}
BITS[SampleKind.F64] = 64


def chunk(name: bytes, body: bytes) -> bytes:
    """Return a RIFF chunk, padded to an even length."""
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)


def layout(code: int, bits: int, *, rate_hz: int = 16_000, channels: int = 1, block_bytes: int | None = None) -> bytes:
    """Return the body of a format chunk."""
    block = channels * bits // 8 if block_bytes is None else block_bytes
    return struct.pack("<HHIIHH", code, channels, rate_hz, rate_hz * block, block, bits)


def extensible(code: int, bits: int, *, rate_hz: int, channels: int) -> bytes:
    """Return the body of a WAVE_FORMAT_EXTENSIBLE format chunk."""
    guid = struct.pack("<H", code) + bytes.fromhex("000000001000800000aa00389b71")
    return layout(EXTENSIBLE, bits, rate_hz=rate_hz, channels=channels) + struct.pack("<HHI", 22, bits, 0) + guid


def wav(form: bytes, data: bytes, *, before: bytes = b"", riff_bytes: int | None = None) -> bytes:
    """Return a WAV file; `before` stands between format and data."""
    body = b"WAVE" + chunk(b"fmt ", form) + before + chunk(b"data", data)
    return b"RIFF" + struct.pack("<I", len(body) if riff_bytes is None else riff_bytes) + body


def tone(rate_hz: int, seconds: float = 0.5, *, hz: float = 400.0, level: float = 0.5) -> NDArray[np.float64]:
    """Return a sine."""
    return level * np.sin(2 * math.pi * hz * np.arange(round(rate_hz * seconds)) / rate_hz)


def written(kind: SampleKind, samples: NDArray[np.float64]) -> bytes:
    """Return samples of -1 to 1 as a WAV file holds them."""
    match kind:
        case SampleKind.U8:
            return bytes((np.round(samples * 127) + 128).astype("u1").tobytes())
        case SampleKind.S24:
            wide = np.round(samples * (2**23 - 1)).astype("<i4")
            return bytes(wide.view("u1").reshape(-1, 4)[:, :3].tobytes())
        case SampleKind.S16 | SampleKind.S32:
            return bytes(np.round(samples * (2 ** (BITS[kind] - 1) - 1)).astype(kind.value).tobytes())
        case _:
            return bytes(samples.astype(kind.value).tobytes())


async def frames_of(path: Path) -> list[AudioChunk]:
    """Return all frames of a recording."""
    pool = Pool("file_io")
    try:
        async with RecordingSource(path, pool, fast=True) as source:
            return [frame async for frame in source.frames()]
    finally:
        await pool.close()


def samples_of(frames: list[AudioChunk]) -> NDArray[np.float64]:
    """Return the frames' samples, -1 to 1."""
    return np.frombuffer(b"".join(frame.pcm for frame in frames), "<i2") / 32768


def level_and_error(samples: NDArray[np.float64], hz: float = 400.0) -> tuple[float, float]:
    """Return a sine's fitted level, and the root mean square of what is not that sine."""
    phase = 2 * math.pi * hz * np.arange(len(samples)) / HEAR_RATE_HZ
    basis = np.stack([np.sin(phase), np.cos(phase)], axis=1)
    fit, *_ = np.linalg.lstsq(basis, samples, rcond=None)
    return float(np.hypot(*fit)), float(np.sqrt(np.mean((samples - basis @ fit) ** 2)))


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("rate_hz", [1_000, 8_000, 16_000, 22_050, 44_100, 192_000])
@pytest.mark.parametrize("kind", list(SampleKind))
async def test_any_format_comes_out_as_the_same_tone(
    tmp_path: Path, kind: SampleKind, rate_hz: int, channels: int
) -> None:
    """A tone keeps its pitch, level and length, whatever the file's format."""
    interleaved = np.repeat(tone(rate_hz), channels)
    code = FLOAT if kind in {SampleKind.F32, SampleKind.F64} else PCM
    form = layout(code, BITS[kind], rate_hz=rate_hz, channels=channels)
    path = tmp_path / "tone.wav"
    path.write_bytes(wav(form, written(kind, interleaved)))

    frames = await frames_of(path)

    assert {len(frame.pcm) for frame in frames} == {FRAME_BYTES}
    assert {frame.rate_hz for frame in frames} == {HEAR_RATE_HZ}
    assert len(frames) == 25
    middle = samples_of(frames)[2_000:-2_000]  # a resampler's ends ring
    level, error = level_and_error(middle)
    assert level == pytest.approx(0.5, abs=0.01)
    assert error < (0.01 if kind is SampleKind.U8 else 0.002)


@pytest.mark.parametrize(("code", "bits"), [(PCM, 16), (PCM, 24), (FLOAT, 32)])
async def test_extensible_format_is_read_by_its_sub_format(tmp_path: Path, code: int, bits: int) -> None:
    """WAVE_FORMAT_EXTENSIBLE is what recorders write for more than two channels or 16 bits."""
    kind = {(PCM, 16): SampleKind.S16, (PCM, 24): SampleKind.S24, (FLOAT, 32): SampleKind.F32}[code, bits]
    path = tmp_path / "tone.wav"
    form = extensible(code, bits, rate_hz=48_000, channels=2)
    path.write_bytes(wav(form, written(kind, np.repeat(tone(48_000), 2))))

    assert (await asyncio.to_thread(check_recording, path)).kind is kind
    level, _ = level_and_error(samples_of(await frames_of(path))[2_000:-2_000])
    assert level == pytest.approx(0.5, abs=0.01)


async def test_channels_are_averaged(tmp_path: Path) -> None:
    """What is in one of two channels alone is heard at half its level, and opposites cancel."""
    left = tone(16_000)
    path = tmp_path / "stereo.wav"
    form = layout(PCM, 16, channels=2)
    path.write_bytes(wav(form, written(SampleKind.S16, np.stack([left, 0 * left], axis=1).ravel())))
    assert level_and_error(samples_of(await frames_of(path)))[0] == pytest.approx(0.25, abs=0.001)

    path.write_bytes(wav(form, written(SampleKind.S16, np.stack([left, -left], axis=1).ravel())))
    assert np.abs(samples_of(await frames_of(path))).max() < 0.001


async def test_floats_beyond_full_scale_are_clipped(tmp_path: Path) -> None:
    """Loud floats saturate instead of wrapping round, and not-a-number is silence."""
    path = tmp_path / "loud.wav"
    data = np.array([2.0, -2.0, np.inf, -np.inf, np.nan, 0.0], "<f4").tobytes()
    path.write_bytes(wav(layout(FLOAT, 32), data))

    samples = np.frombuffer((await frames_of(path))[0].pcm, "<i2")

    assert samples[:6].tolist() == [32767, -32767, 32767, -32767, 0, 0]


async def test_last_frame_is_filled_up_with_silence(tmp_path: Path) -> None:
    """A recording of one sample is one frame."""
    path = tmp_path / "short.wav"
    path.write_bytes(wav(layout(PCM, 16), b"\x10\x27"))

    frames = await frames_of(path)

    assert [frame.pcm for frame in frames] == [b"\x10\x27".ljust(FRAME_BYTES, b"\0")]
    assert frames[0].captured_at is None


async def test_other_chunks_are_skipped(tmp_path: Path) -> None:
    """Tags before the audio, of odd length too, don't disturb."""
    path = tmp_path / "tagged.wav"
    tags = chunk(b"LIST", b"INFOINAM\x03\0\0\0abc") + chunk(b"junk", b"odd") + chunk(b"fact", b"\0\0\0\0")
    path.write_bytes(wav(layout(PCM, 16), b"\x01\0" * 320, before=tags) + chunk(b"LIST", b"after"))

    assert [frame.pcm for frame in await frames_of(path)] == [b"\x01\0" * 320]


@pytest.mark.parametrize("unknown", [0xFFFFFFFF, 0x80000000, 0x7FFFF000, 0])
async def test_file_written_into_a_pipe_is_read_to_its_end(tmp_path: Path, unknown: int) -> None:
    """FFmpeg, arecord and SoX can't know the size in advance and put 2³²-1, 2³¹, 2³¹-4096 or 0 into the header."""
    path = tmp_path / "piped.wav"
    whole = wav(layout(PCM, 16), b"\x01\0" * 320, riff_bytes=unknown)
    path.write_bytes(whole.replace(b"data" + struct.pack("<I", 640), b"data" + struct.pack("<I", unknown)))

    assert (await asyncio.to_thread(check_recording, path)).frames == 320
    assert len(await frames_of(path)) == 1


def bad_files() -> dict[str, tuple[bytes, str]]:
    """Return files that can't be read, and what is said of each."""
    good = wav(layout(PCM, 16), b"\x01\0" * 320)
    data = b"\x01\0" * 320
    return {
        "empty": (b"", "is empty"),
        "three bytes": (b"RIF", "is truncated in its header"),
        "header alone": (good[:12], "is truncated: it has no audio data; copy"),
        "half a format": (good[:24], "is truncated in its format"),
        "no data chunk": (good[:36], "is truncated: it has no audio data; copy"),
        "half the samples": (good[:-320], "is truncated: 320 of 640 bytes of audio are there"),
        "no samples": (wav(layout(PCM, 16), b""), "holds no samples"),
        "less than one frame": (wav(layout(PCM, 16, channels=2), b"\0\0"), "holds no samples"),
        "data before format": (b"RIFF\x0c\0\0\0WAVE" + chunk(b"data", data), "has audio data before its format"),
        "0 Hz": (wav(layout(PCM, 16, rate_hz=0), data), "has an impossible sample rate of 0 Hz"),
        "4 GHz": (wav(layout(PCM, 16, rate_hz=4_000_000_000 // 2), data), "has an impossible sample rate"),
        "no channels": (wav(layout(PCM, 16, channels=0), data), "has an impossible number of channels (0)"),
        "too many channels": (wav(layout(PCM, 16, channels=1000), data), "has an impossible number of channels (1000)"),
        "odd block": (wav(layout(PCM, 16, block_bytes=3), data), "says a frame has 3 bytes instead of 2"),
        "A-law": (wav(layout(6, 8), data), "holds A-law, which can't be read; convert it"),
        "IMA ADPCM": (wav(layout(0x11, 4, block_bytes=512), data), "holds IMA ADPCM, which can't be read; convert it"),
        "unheard of": (wav(layout(0x1234, 12), data), "holds 12-bit samples of WAV format 0x1234"),
        "text": (b"what time is it", "is not a WAV file; convert it"),
        "MP3 with tags": (b"ID3\x04" + bytes(60), "is an MP3 file; convert it"),
        "MP3": (b"\xff\xf3\x40\xc0" + bytes(60), "is an MP3 file; convert it"),
        "Ogg": (b"OggS" + bytes(60), "is an Ogg file; convert it"),
        "FLAC": (b"fLaC" + bytes(60), "is a FLAC file; convert it"),
        "RIFX": (good.replace(b"RIFF", b"RIFX", 1), "is a big-endian RIFX file; convert it"),
        "AVI": (good.replace(b"WAVE", b"AVI ", 1), "is not a WAV file; convert it"),
    }


@pytest.mark.parametrize("name", bad_files())
async def test_bad_file_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    """The line names the file, says what is wrong and what to do; opening says the same as checking."""
    path = tmp_path / f"{name}.wav"
    content, said = bad_files()[name]
    path.write_bytes(content)

    with pytest.raises(AudioFileError) as checked:
        await asyncio.to_thread(check_recording, path)
    with pytest.raises(AudioFileError) as opened:
        await frames_of(path)

    assert str(checked.value).startswith(f"{path}: {said}")
    assert "\n" not in str(checked.value)
    assert str(opened.value) == str(checked.value)
    assert checked.value.exit_status == 2


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A missing file, a directory and a pipe: the last is not even opened, which would wait for a writer."""
    with pytest.raises(AudioFileError, match="can't be read: No such file"):
        check_recording(tmp_path / "missing.wav")
    with pytest.raises(AudioFileError, match="is a directory"):
        check_recording(tmp_path)
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioFileError, match="is not a regular file"):
        check_recording(tmp_path / "pipe.wav")


def test_forbidden_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without permission the line says so; simulated, because root may read everything."""
    path = tmp_path / "secret.wav"
    path.write_bytes(wav(layout(PCM, 16), b"\0\0"))

    def forbid(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", forbid)
    with pytest.raises(AudioFileError, match=r"secret\.wav: can't be read: Permission denied"):
        check_recording(path)


async def test_file_that_shrinks_is_noticed(tmp_path: Path, file_pool: Pool) -> None:
    """A recording that loses its end while it is read is an error, not a short recording."""
    path = tmp_path / "shrinking.wav"
    path.write_bytes(wav(layout(PCM, 16), bytes(16_000 * 2 * 4)))
    async with RecordingSource(path, file_pool, fast=True) as source:
        frames = source.frames()
        await anext(frames)
        os.truncate(path, 16_000 * 2 * 2)
        with pytest.raises(AudioFileError, match="became shorter"):
            async for _ in frames:
                pass


async def test_leaving_early_leaves_nothing_behind(tmp_path: Path, file_pool: Pool) -> None:
    """A reader that goes away after one frame, or is cancelled, leaves no thread and no open file."""
    path = tmp_path / "long.wav"
    path.write_bytes(wav(layout(PCM, 16), bytes(16_000 * 2 * 4)))
    async with RecordingSource(path, file_pool, fast=True) as source:
        async for _ in source.frames():
            break

    async def read_in_real_time() -> None:
        async with RecordingSource(path, file_pool, fast=False) as source:
            async for _ in source.frames():
                started.set()

    started = asyncio.Event()
    reading = asyncio.create_task(read_in_real_time())
    await started.wait()
    reading.cancel()
    await asyncio.wait([reading])

    assert reading.cancelled()
    await file_pool.close()
    assert not [entry for entry in psutil.Process().open_files() if entry.path == str(path)]


class VirtualTime:
    """A clock that only `sleep` moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now_s = 1_000.0
        self._sleep = asyncio.sleep
        module = "edge_agent.devices.recording"
        monkeypatch.setattr(f"{module}.time", SimpleNamespace(monotonic=lambda: self.now_s))
        monkeypatch.setattr(f"{module}.asyncio", SimpleNamespace(sleep=self.sleep))

    async def sleep(self, seconds: float) -> None:
        """Let time pass at once."""
        self.now_s += seconds
        await self._sleep(0)


async def test_paced_frames_come_in_real_time(tmp_path: Path, file_pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that takes its time between frames does not slow the recording down: no drift."""
    path = tmp_path / "paced.wav"
    path.write_bytes(wav(layout(PCM, 16), bytes(FRAME_BYTES * 100)))
    clock = VirtualTime(monkeypatch)
    start_s = clock.now_s
    times = []
    async with RecordingSource(path, file_pool, fast=False) as source:
        async for frame in source.frames():
            assert frame.captured_at == clock.now_s
            times.append(clock.now_s - start_s)
            clock.now_s += 0.013

    assert times == pytest.approx([FRAME_S * number for number in range(1, 101)])


async def test_recording_waits_for_a_reader_who_was_away(
    tmp_path: Path, file_pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a long pause (the agent answered) the frames come in real time again: one follows at once, not a burst."""
    path = tmp_path / "paced.wav"
    path.write_bytes(wav(layout(PCM, 16), bytes(FRAME_BYTES * 20)))
    clock = VirtualTime(monkeypatch)
    times = []
    async with RecordingSource(path, file_pool, fast=False) as source:
        async for _ in source.frames():
            times.append(clock.now_s)
            clock.now_s += 60.0 if len(times) == 10 else 0.0

    gaps = np.diff(times)
    assert gaps.tolist() == pytest.approx([FRAME_S] * 9 + [60.0, 0.0] + [FRAME_S] * 8)


@pytest.mark.slow
async def test_two_hours_need_no_memory(tmp_path: Path, file_pool: Pool) -> None:
    """Of a two-hour recording (1.3 GB, sparse on disk) 20 minutes (212 MB) are read in less than 20 MB."""
    path = tmp_path / "hours.wav"
    frames = 2 * 3600 * 44_100
    head = wav(layout(PCM, 16, rate_hz=44_100, channels=2), b"")
    with path.open("wb") as file:
        file.write(head[:-4] + struct.pack("<I", 4 * frames))
        file.truncate(len(head) + 4 * frames)
    assert (await asyncio.to_thread(check_recording, path)).duration_s == 7200
    process = psutil.Process()
    heard_s, most_bytes, at_first = 0.0, 0, 0
    async with RecordingSource(path, file_pool, fast=True) as source:
        async for frame in source.frames():
            heard_s += frame.duration_s
            if round(heard_s / FRAME_S) % 3_000 == 0:  # a minute
                used = process.memory_info().rss
                at_first = at_first or used
                most_bytes = max(most_bytes, used - at_first)
            if heard_s >= 1200:
                break

    assert at_first
    assert most_bytes < 20_000_000


def test_pipe_from_sox_is_read(tmp_path: Path) -> None:
    """What SoX writes into a pipe, header and all, is read."""
    if shutil.which("sox") is None:
        pytest.skip("sox is not installed")
    path = tmp_path / "sox.wav"
    made = subprocess.run(
        "sox -n -r 22050 -b 16 -c 1 -t wav - synth 1 sine 400 2>/dev/null | cat",  # the pipe is the point
        shell=True,
        capture_output=True,
        check=True,
        timeout=30,
    )
    path.write_bytes(made.stdout)

    assert check_recording(path).duration_s == pytest.approx(1.0)
    assert len(asyncio.run(frames_of(path))) == 50
