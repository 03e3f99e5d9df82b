"""The benchmark's room: a speaker that knows what has sounded, and a microphone that hears it and people."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import numpy as np
import pytest
from virtual_time import in_virtual_time

from edge_agent.audio import FRAME_S, HEAR_RATE_HZ, AudioChunk
from edge_agent.bench.pause_speech import Clip
from edge_agent.bench.room_source import ECHO_DELAY_S, ECHO_GAIN, ROOM_LEVEL, RoomSource
from edge_agent.bench.room_speaker import RoomSpeaker

_RATE_HZ = 22_050


def tone(seconds: float, level: int = 8000, rate_hz: int = _RATE_HZ) -> AudioChunk:
    """A chunk of one value: its RMS is that value."""
    return AudioChunk(np.full(round(seconds * rate_hz), level, "<i2").tobytes(), rate_hz)


def speaker(**options: float) -> RoomSpeaker:
    """One that goes by the loop's virtual time."""
    return RoomSpeaker(clock=asyncio.get_running_loop().time, **options)


def clip(before_s: float, voice_s: float, after_s: float) -> Clip:
    """A voice of one value between silences."""
    parts = [
        np.full(round(length_s * HEAR_RATE_HZ), level)
        for length_s, level in ((before_s, 0.0), (voice_s, 4000.0), (after_s, 0.0))
    ]
    return Clip("voice", np.concatenate(parts), before_s, before_s + voice_s, np.zeros(161), 4000.0)


@in_virtual_time
async def test_what_is_written_sounds_in_real_time() -> None:
    """The first sample counts from its being handed over, the last one when all of it has sounded."""
    room = speaker()
    await asyncio.sleep(1.0)
    await room.write(tone(0.5), 7)
    await room.write(tone(0.5), 7)
    assert room.of_turn(7).handed_at == pytest.approx(1.0)
    await asyncio.sleep(0.25)
    assert room.played_s == pytest.approx(0.25, abs=1e-3)
    assert room.pending_s == pytest.approx(0.75, abs=1e-3)
    await room.drain()
    assert asyncio.get_running_loop().time() == pytest.approx(2.0, abs=1e-3)
    (run,) = room.of_turn(7).runs
    assert (run.began_at, run.ended_at) == pytest.approx((1.0, 2.0), abs=1e-6)
    assert run.samples == 2 * len(tone(0.5).pcm) // 2


@in_virtual_time
async def test_a_faster_speaker_takes_less_time_for_the_same_samples() -> None:
    """A quarter, at four times the speed."""
    room = speaker(speed=4.0)
    await room.write(tone(1.0), 1)
    await room.drain()
    assert asyncio.get_running_loop().time() == pytest.approx(0.25, abs=1e-3)
    assert room.of_turn(1).runs[0].samples == _RATE_HZ


@in_virtual_time
async def test_writing_waits_while_two_seconds_are_pending() -> None:
    """As long as it takes until there is room again."""
    room = speaker()
    await room.write(tone(3.0), 1)
    await room.write(tone(1.0), 1)
    assert asyncio.get_running_loop().time() == pytest.approx(1.0, abs=1e-3)


@in_virtual_time
async def test_a_hold_is_silence_and_loses_nothing() -> None:
    """What was pending sounds after it, and the gap belongs to nobody."""
    room = speaker()
    await room.write(tone(1.0), 3)
    await asyncio.sleep(0.4)
    room.hold()
    await asyncio.sleep(5.0)
    assert room.recent_level(0.3) == 0.0
    assert room.of_turn(3).silent_at == pytest.approx(0.4, abs=1e-3)
    room.resume()
    await room.drain()
    assert asyncio.get_running_loop().time() == pytest.approx(6.0, abs=1e-3)
    first, second = room.of_turn(3).runs
    assert first.samples + second.samples == _RATE_HZ
    assert second.began_at == pytest.approx(5.4, abs=1e-3)


@in_virtual_time
async def test_a_flush_drops_what_is_pending_and_frees_who_waits() -> None:
    """Nothing of the turn sounds afterwards, and what waited to be written is dropped, too."""
    room = speaker()
    await room.write(tone(3.0), 1)
    late = asyncio.create_task(room.write(tone(1.0), 1))
    await asyncio.sleep(0.5)
    room.hold()
    room.flush()
    await late
    await asyncio.sleep(1.0)
    assert room.pending_s == 0
    assert room.of_turn(1).silent_at == pytest.approx(0.5, abs=1e-3)
    await room.write(tone(0.5), 2)
    await room.drain()
    assert room.of_turn(2).runs[0].samples == round(0.5 * _RATE_HZ)
    assert room.of_turn(1).samples_after(0.5) <= 1


@in_virtual_time
async def test_samples_after_a_moment_are_counted() -> None:
    """Those of the run that goes on at that moment in part, those of later runs whole."""
    room = speaker()
    await room.write(tone(1.0), 1)
    await room.drain()
    await asyncio.sleep(1.0)
    await room.write(tone(0.5), 1)
    await room.drain()
    played = room.of_turn(1)
    assert played.samples_after(0.75) == pytest.approx(0.75 * _RATE_HZ, abs=2)
    assert played.samples_after(1.5) == pytest.approx(0.5 * _RATE_HZ, abs=2)
    assert played.samples_after(9.0) == 0


@in_virtual_time
async def test_every_chunk_is_brought_to_the_level() -> None:
    """Random weights speak at any; the loudest of the window is what is told, and it passes."""
    room = speaker(level=0.1)
    await room.write(tone(0.2, level=20_000), 1)
    await asyncio.sleep(0.1)
    assert room.recent_level(0.3) == pytest.approx(0.1, rel=1e-3)
    await asyncio.sleep(0.5)
    assert room.recent_level(0.3) == 0.0


@in_virtual_time
async def test_frames_come_when_they_are_due_and_people_are_timed_by_their_samples() -> None:
    """Frame after frame; the voice's samples are where its times say, and none is lost."""
    loop = asyncio.get_running_loop()
    source = RoomSource(clock=loop.time)
    said = clip(0.5, 0.3, 0.2)
    speaking = asyncio.create_task(source.say(said))
    await asyncio.sleep(0)
    levels, ends = [], []
    async with aclosing(source.frames()) as frames:
        async for frame in frames:
            levels.append(np.abs(np.frombuffer(frame.pcm, "<i2")).max())
            ends.append(loop.time())
            if len(ends) == 60:
                source.close()
    speech = await speaking
    assert ends == pytest.approx([FRAME_S * number for number in range(1, 61)])
    assert speech.ends_at - speech.begins_at == pytest.approx(0.3)
    loud = [end for end, level in zip(ends, levels, strict=True) if level > 1000]
    assert loud[0] - FRAME_S == pytest.approx(speech.begins_at, abs=FRAME_S / 2)
    assert loud[-1] == pytest.approx(speech.ends_at, abs=FRAME_S / 2)
    assert max(level for level in levels if level < 1000) < 6 * ROOM_LEVEL * 32_768


@in_virtual_time
async def test_a_late_listener_loses_no_frame() -> None:
    """They come at once, with the time at which they were captured."""
    loop = asyncio.get_running_loop()
    source = RoomSource(clock=loop.time)
    captured, taken = [], []
    async with aclosing(source.frames()) as frames:
        async for frame in frames:
            assert frame.captured_at is not None
            captured.append(frame.captured_at)
            taken.append(loop.time())
            if len(taken) == 1:
                await asyncio.sleep(0.2)
            if len(taken) == 12:
                source.close()
    assert np.diff(captured) == pytest.approx(FRAME_S)
    assert taken[1] == taken[10] == pytest.approx(0.22)
    assert taken[11] == pytest.approx(0.24)


@in_virtual_time
async def test_the_speaker_is_heard_in_the_room() -> None:
    """Later and weaker."""
    loop = asyncio.get_running_loop()
    room = speaker()
    source = RoomSource(room, clock=loop.time)
    await room.write(tone(0.2, level=10_000), 1)
    levels = []
    async with aclosing(source.frames()) as frames:
        async for frame in frames:
            levels.append(float(np.median(np.frombuffer(frame.pcm, "<i2"))))
            if len(levels) == 20:
                source.close()
    heard = [number * FRAME_S for number, level in enumerate(levels) if level > 500]
    assert heard[0] == pytest.approx(ECHO_DELAY_S)
    assert heard[-1] + FRAME_S == pytest.approx(0.2 + ECHO_DELAY_S)
    assert levels[5] == pytest.approx(10_000 * ECHO_GAIN, abs=150)
