"""Files, and nothing, for a speaker."""

from __future__ import annotations

import asyncio
import math
import threading
import wave
from pathlib import Path

import numpy as np
import pytest
from virtual_time import in_virtual_time

from edge_agent.audio import AudioChunk, silence
from edge_agent.devices.wav_speaker import DiscardingSpeaker, WavSpeaker
from edge_agent.errors import AudioFileError
from edge_agent.runtime.pool import Pool


def tone(rate_hz: int, seconds: float, hz: float = 400.0) -> AudioChunk:
    """Return a sine at half of full scale."""
    samples = 16_384 * np.sin(2 * math.pi * hz * np.arange(round(rate_hz * seconds)) / rate_hz)
    return AudioChunk(samples.astype("<i2").tobytes(), rate_hz)


def read(path: Path) -> tuple[int, bytes]:
    """Return a mono 16-bit file's rate and samples."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return file.getframerate(), file.readframes(file.getnframes())


def files_in(directory: Path) -> list[Path]:
    """Return all files, hidden ones too."""
    return list(directory.iterdir())


async def test_file_holds_what_was_spoken(tmp_path: Path, file_pool: Pool) -> None:
    """Chunk after chunk, at the first one's rate, sample for sample."""
    path = tmp_path / "reply.wav"
    chunks = [tone(22_050, 0.1), tone(22_050, 0.25)]
    async with WavSpeaker(path, file_pool, fast=True) as speaker:
        for chunk in chunks:
            await speaker.write(chunk)
        await speaker.drain()
        assert speaker.played_s == pytest.approx(0.35, abs=1e-4)
        assert speaker.pending_s == 0.0

    assert read(path) == (22_050, chunks[0].pcm + chunks[1].pcm)


async def test_another_rate_is_resampled_to_the_first(tmp_path: Path, file_pool: Pool) -> None:
    """A second voice (22 kHz) after the first (16 kHz) keeps its length and its pitch."""
    path = tmp_path / "reply.wav"
    async with WavSpeaker(path, file_pool, fast=True) as speaker:
        await speaker.write(silence(0.5, 16_000))
        for _ in range(5):
            await speaker.write(tone(22_050, 0.2))  # 80 whole periods: the pieces join

    rate_hz, pcm = read(path)
    samples = np.frombuffer(pcm, "<i2")
    assert rate_hz == 16_000
    assert len(samples) == pytest.approx(1.5 * 16_000, abs=2)
    spectrum = np.abs(np.fft.rfft(samples[8_000:]))
    assert np.argmax(spectrum) * 16_000 / len(samples[8_000:]) == pytest.approx(400, abs=1)


async def test_nothing_spoken_leaves_no_file(tmp_path: Path, file_pool: Pool) -> None:
    """A turn without an answer has no WAV file."""
    async with WavSpeaker(tmp_path / "reply.wav", file_pool, fast=True):
        pass

    assert files_in(tmp_path) == []


async def test_file_appears_when_it_is_whole(tmp_path: Path, file_pool: Pool) -> None:
    """Until the speaker is closed the old file stands; afterwards the new one, and no other."""
    path = tmp_path / "reply.wav"
    path.write_bytes(b"old")
    async with WavSpeaker(path, file_pool, fast=True) as speaker:
        await speaker.write(tone(16_000, 0.1))
        assert path.read_bytes() == b"old"

    assert read(path) == (16_000, tone(16_000, 0.1).pcm)
    assert files_in(tmp_path) == [path]


async def test_file_is_whole_after_an_error(tmp_path: Path, file_pool: Pool) -> None:
    """What was said before something failed is kept, and no thread is."""
    path = tmp_path / "reply.wav"

    async def fail() -> None:
        async with WavSpeaker(path, file_pool, fast=True) as speaker:
            await speaker.write(tone(16_000, 0.1))
            raise LookupError

    with pytest.raises(LookupError):
        await fail()

    assert read(path)[1] == tone(16_000, 0.1).pcm
    assert not [thread.name for thread in threading.enumerate() if "wav" in thread.name]


async def test_place_that_can_not_be_written_is_told(tmp_path: Path, file_pool: Pool) -> None:
    """One line with the file and the reason; nothing is left of the attempt."""
    path = tmp_path / "missing" / "reply.wav"
    async with WavSpeaker(path, file_pool, fast=True) as speaker:
        with pytest.raises(AudioFileError, match=r"reply\.wav: can't be written: No such file or directory"):
            await speaker.write(tone(16_000, 0.1))

    assert files_in(tmp_path) == []


async def test_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file_pool: Pool) -> None:
    """A disk that fills up is an error at the next write."""

    def fill_up(*_: object) -> None:
        raise OSError(28, "No space left on device")

    async with WavSpeaker(tmp_path / "reply.wav", file_pool, fast=True) as speaker:
        await speaker.write(tone(16_000, 0.1))
        monkeypatch.setattr(wave.Wave_write, "writeframes", fill_up)
        with pytest.raises(AudioFileError, match="can't be written: No space left on device"):
            await speaker.write(tone(16_000, 0.1))
        monkeypatch.undo()


def loop_time() -> float:
    """Return the virtual seconds that have passed."""
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_paced_speaker_takes_as_long_as_the_speech() -> None:
    """`write` waits beyond 2 s pending, `drain` to the end, and the position follows."""
    async with DiscardingSpeaker(fast=False) as speaker:
        await speaker.write(silence(3.0, 16_000))
        assert loop_time() == 0.0
        assert (speaker.played_s, speaker.pending_s) == pytest.approx((0.0, 3.0))

        await speaker.write(silence(1.0, 22_050))
        assert loop_time() == pytest.approx(1.0)
        assert (speaker.played_s, speaker.pending_s) == pytest.approx((1.0, 3.0))

        await speaker.drain()
        assert loop_time() == pytest.approx(4.0)
        assert (speaker.played_s, speaker.pending_s) == pytest.approx((4.0, 0.0))

        await asyncio.sleep(10.0)  # a pause between sentences counts for nothing
        await speaker.write(silence(0.5, 16_000))
        assert (speaker.played_s, speaker.pending_s) == pytest.approx((4.0, 0.5))


@in_virtual_time
async def test_flush_ends_the_wait_and_counts_what_was_heard() -> None:
    """What was cut off is neither played nor pending; a waiting `drain` returns."""
    async with DiscardingSpeaker(fast=False) as speaker:
        await speaker.write(silence(2.0, 16_000))
        draining = asyncio.create_task(speaker.drain())
        await asyncio.sleep(0.75)
        assert not draining.done()

        speaker.flush()
        await draining

        assert loop_time() == pytest.approx(0.75)
        assert (speaker.played_s, speaker.pending_s) == pytest.approx((0.75, 0.0))


@in_virtual_time
async def test_a_chunk_that_waits_at_a_flush_is_dropped() -> None:
    """It belongs to what was cut off."""
    async with DiscardingSpeaker(fast=False) as speaker:
        await speaker.write(silence(3.0, 16_000))
        writing = asyncio.create_task(speaker.write(silence(1.0, 16_000)))
        await asyncio.sleep(0.5)
        speaker.flush()
        await writing
        assert (speaker.played_s, speaker.pending_s) == pytest.approx((0.5, 0.0))


@in_virtual_time
async def test_a_hold_stops_the_time_and_loses_nothing() -> None:
    """While held nothing is played and `drain` waits, however long; then the rest takes as long as it is."""
    async with DiscardingSpeaker(fast=False) as speaker:
        await speaker.write(silence(2.0, 16_000))
        draining = asyncio.create_task(speaker.drain())
        await asyncio.sleep(0.5)
        speaker.hold()
        await asyncio.sleep(100.0)
        assert (speaker.played_s, speaker.pending_s) == pytest.approx((0.5, 1.5))
        await speaker.write(silence(0.25, 16_000))
        assert (speaker.played_s, speaker.pending_s) == pytest.approx((0.5, 1.75))
        assert not draining.done()
        speaker.resume()
        await draining
        assert loop_time() == pytest.approx(102.25)
        assert (speaker.played_s, speaker.pending_s) == pytest.approx((2.25, 0.0))
        assert speaker.recent_level(1.0) == 0.0


@pytest.mark.parametrize("fast", [True, False])
def test_write_waits_while_a_held_speaker_is_full(*, fast: bool) -> None:
    """2 s and a chunk are taken; the next chunk is taken when there is room again, in order."""

    @in_virtual_time
    async def check() -> None:
        async with DiscardingSpeaker(fast=fast) as speaker:
            speaker.hold()
            await speaker.write(silence(2.5, 16_000))
            writing = asyncio.create_task(speaker.write(silence(1.0, 16_000)))
            await asyncio.sleep(60.0)
            assert not writing.done()
            assert (speaker.played_s, speaker.pending_s) == pytest.approx((0.0, 2.5))
            speaker.resume()
            await writing
            await speaker.drain()
            assert (speaker.played_s, speaker.pending_s) == pytest.approx((3.5, 0.0))
            assert loop_time() == pytest.approx(60.0 if fast else 63.5)

    check()


def test_the_file_holds_what_was_played_and_nothing_else(tmp_path: Path) -> None:
    """At speaking pace: a hold leaves no gap and loses nothing, a flush drops what is pending, later speech follows."""
    path = tmp_path / "reply.wav"
    old, new = tone(16_000, 3.0, hz=400), tone(16_000, 1.0, hz=1_000)

    @in_virtual_time
    async def speak() -> float:
        pool = Pool("file_io")
        async with WavSpeaker(path, pool, fast=False) as speaker:
            await speaker.write(old)
            await asyncio.sleep(0.5)
            speaker.hold()
            await asyncio.sleep(7.0)
            speaker.resume()
            await asyncio.sleep(0.25)
            speaker.hold()
            speaker.flush()
            heard_s = speaker.played_s
            await speaker.write(new)
            await speaker.drain()
            await speaker.write(old)  # and closed before it sounds
        await pool.close()
        return heard_s

    heard_s = speak()
    assert heard_s == pytest.approx(0.75)
    cut = round(heard_s * 16_000) * 2
    assert read(path) == (16_000, old.pcm[:cut] + new.pcm)


async def test_what_a_fast_file_is_given_while_held_waits_for_the_end_of_the_hold(
    tmp_path: Path, file_pool: Pool
) -> None:
    """Flushed, it is never in the file; resumed, it is, in order."""
    path = tmp_path / "reply.wav"
    first, stale, last = tone(16_000, 0.1), tone(16_000, 0.3, hz=700), tone(16_000, 0.2, hz=1_000)
    async with WavSpeaker(path, file_pool, fast=True) as speaker:
        await speaker.write(first)
        speaker.hold()
        await speaker.write(stale)
        assert (speaker.played_s, speaker.pending_s) == pytest.approx((0.1, 0.3))
        speaker.flush()
        assert (speaker.played_s, speaker.pending_s) == pytest.approx((0.1, 0.0))
        speaker.hold()
        await speaker.write(last)
        draining = asyncio.create_task(speaker.drain())
        await asyncio.sleep(0)
        assert not draining.done()
        speaker.resume()
        await draining
        assert (speaker.played_s, speaker.pending_s) == pytest.approx((0.3, 0.0))
    assert read(path) == (16_000, first.pcm + last.pcm)


async def test_fast_speaker_does_not_wait() -> None:
    """An hour is played at once."""
    async with DiscardingSpeaker(fast=True) as speaker:
        await speaker.write(silence(3600.0, 1_000))
        await speaker.drain()

        assert (speaker.played_s, speaker.pending_s) == (3600.0, 0.0)
