"""The speaker on a real PortAudio, with a null sink for hardware: what it plays is recorded and measured."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pulse_rig import PulseRig, SpeakerRecording
from sounds import loud_parts, pitch_hz, tone

from edge_agent.audio import AudioChunk
from edge_agent.devices import output
from edge_agent.devices import speaker as module
from edge_agent.devices.playback import PlaybackBuffer
from edge_agent.devices.portaudio import AudioDevice, Kind, StreamFormat, refresh_devices
from edge_agent.devices.speaker import Speaker
from edge_agent.errors import DeviceError, StalledDeviceError, UnknownDeviceError

pytestmark = pytest.mark.live

RATE_HZ = 48_000
GAP = RATE_HZ // 20


def so_far(recording: SpeakerRecording) -> NDArray[np.int16]:
    """Return what was recorded until now."""
    return np.frombuffer(recording.pcm(), "<i2")


async def recorded(recording: SpeakerRecording, seconds: float) -> NDArray[np.int16]:
    """Return the recording when it is `seconds` longer than now: the recorder is late."""
    enough = recording.frames() + round(seconds * RATE_HZ)
    async with asyncio.timeout(60):
        while recording.frames() < enough:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.02)
    return so_far(recording)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 48_000])
async def test_a_tone_is_heard_whole_and_drain_returns_behind_it(
    sound_system: PulseRig, tmp_path: Path, rate_hz: int
) -> None:
    """Pitch and length are right, the account agrees, and nothing sounds after `drain`."""
    with sound_system.record(tmp_path / "out.wav") as recording:
        async with Speaker(sound_system.speaker) as speaker:
            assert speaker.name == sound_system.speaker
            await speaker.write(tone(0.7, rate_hz, 440))
            await speaker.write(tone(0.7, rate_hz, 440))
            await speaker.drain()
            drained_at = recording.frames()
            assert speaker.pending_s == 0
            assert speaker.played_s == pytest.approx(1.4, rel=0.01)
            samples = await recorded(recording, 0.5)
    [(first, last)] = loud_parts(samples, GAP)
    assert (last - first) / RATE_HZ == pytest.approx(1.4, rel=0.05)
    assert pitch_hz(samples[first:last], RATE_HZ) == pytest.approx(440, rel=0.01)
    # The recorder is behind by its own latency, so that this is stricter than it looks.
    assert last <= drained_at + 0.02 * RATE_HZ


async def test_stereo_devices_get_both_channels(
    sound_system: PulseRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device without mono plays the same tone at the same length."""

    def choose(kind: Kind, device: AudioDevice, rates_hz: tuple[int, ...]) -> StreamFormat:
        return StreamFormat(44_100, 2)

    monkeypatch.setattr(output, "choose_format", choose)
    with sound_system.record(tmp_path / "out.wav") as recording:
        async with Speaker(sound_system.speaker) as speaker:
            await speaker.write(tone(1, 16_000, 440))
            await speaker.drain()
            samples = await recorded(recording, 0.3)
    [(first, last)] = loud_parts(samples, GAP)
    assert (last - first) / RATE_HZ == pytest.approx(1, rel=0.05)
    assert pitch_hz(samples[first:last], RATE_HZ) == pytest.approx(440, rel=0.01)
    assert np.abs(samples.astype(int)).max() == pytest.approx(20_000, rel=0.03)


async def test_flush_silences_and_wakes(sound_system: PulseRig, tmp_path: Path) -> None:
    """What was written and not yet played is never heard; a waiting `write` returns; later writes are heard whole."""
    with sound_system.record(tmp_path / "out.wav") as recording:
        async with Speaker(sound_system.speaker) as speaker:
            writing = asyncio.create_task(speaker.write(tone(20, 16_000, 440)))
            async with asyncio.timeout(60):
                while speaker.played_s < 0.5:  # noqa: ASYNC110 - nothing else tells
                    await asyncio.sleep(0.01)
                assert not writing.done()
                assert speaker.pending_s <= 2.2
                speaker.flush()
                flushed_at = recording.frames()
                await writing
                await speaker.drain()
            assert speaker.pending_s == 0
            played_s = speaker.played_s
            samples = await recorded(recording, 1)
            [(first, last)] = loud_parts(samples, GAP)
            assert last <= flushed_at + 0.3 * RATE_HZ
            assert (last - first) / RATE_HZ == pytest.approx(played_s, abs=0.05)

            await speaker.write(tone(0.5, 16_000, 880))
            await speaker.drain()
            samples = await recorded(recording, 0.3)
    _, (first, last) = loud_parts(samples, GAP)
    assert (last - first) / RATE_HZ == pytest.approx(0.5, rel=0.05)
    assert pitch_hz(samples[first:last], RATE_HZ) == pytest.approx(880, rel=0.01)


async def test_a_hold_is_silent_loses_nothing_and_tells_no_stall(
    sound_system: PulseRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held longer than a device may stall, `write` and `drain` wait; then the rest is heard, whole."""
    monkeypatch.setattr(module, "_STALLED_S", 0.2)
    with sound_system.record(tmp_path / "out.wav") as recording:
        async with Speaker(sound_system.speaker) as speaker:
            speaking = asyncio.create_task(speaker.write(tone(3, 16_000, 440)))
            async with asyncio.timeout(60):
                while speaker.played_s < 0.5:  # noqa: ASYNC110 - nothing else tells
                    await asyncio.sleep(0.01)
            assert speaker.recent_level(0.2) == pytest.approx(20_000 / 2**15 / 2**0.5, rel=0.05)
            speaker.hold()
            held_at = recording.frames()
            await recorded(recording, 0.4)
            played_s, pending_s = speaker.played_s, speaker.pending_s
            await recorded(recording, 0.6)
            assert (speaker.played_s, speaker.pending_s) == (played_s, pending_s)
            assert speaker.recent_level(0.2) == 0.0
            assert not speaking.done()
            speaker.resume()
            await speaking
            await speaker.drain()
            assert speaker.played_s == pytest.approx(3, rel=0.01)
            samples = await recorded(recording, 0.3)
    (first, held), (resumed, last) = loud_parts(samples, GAP)
    assert held <= held_at + 0.3 * RATE_HZ
    assert (held - first) / RATE_HZ == pytest.approx(played_s, abs=0.05)
    assert (held - first + last - resumed) / RATE_HZ == pytest.approx(3, abs=0.05)
    assert pitch_hz(samples[resumed:last], RATE_HZ) == pytest.approx(440, rel=0.01)


async def test_a_hold_before_the_device_is_open_holds(
    sound_system: PulseRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed in a pause, and held while it opens again: what is written is heard after the hold, not during it."""
    monkeypatch.setattr(module, "_IDLE_S", 0.05)
    with sound_system.record(tmp_path / "out.wav") as recording:
        async with Speaker(sound_system.speaker) as speaker:
            async with asyncio.timeout(30):
                while not await asyncio.to_thread(refresh_devices):  # noqa: ASYNC110 - nothing else tells
                    await asyncio.sleep(0.02)
            writing = asyncio.create_task(speaker.write(tone(0.3, 16_000, 440)))
            await asyncio.sleep(0)
            speaker.hold()
            await writing
            samples = await recorded(recording, 0.4)
            assert not loud_parts(samples, GAP)
            assert 0.2 < speaker.pending_s <= 0.3  # the resampler holds a little back
            speaker.flush()
            await speaker.write(tone(0.5, 16_000, 880))
            await speaker.drain()
            samples = await recorded(recording, 0.3)
    [(first, last)] = loud_parts(samples, GAP)
    assert (last - first) / RATE_HZ == pytest.approx(0.5, rel=0.05)
    assert pitch_hz(samples[first:last], RATE_HZ) == pytest.approx(880, rel=0.01)


async def test_a_device_lost_while_held_is_an_error(sound_system: PulseRig) -> None:
    """Whoever waits for the end of the hold is told."""

    async def speak() -> None:
        async with asyncio.timeout(60), Speaker(sound_system.speaker) as speaker:
            await speaker.write(tone(1, 16_000, 440))
            speaker.hold()
            draining = asyncio.create_task(speaker.drain())
            await asyncio.to_thread(sound_system.unload_speaker)
            try:
                await draining
            finally:
                draining.cancel()

    with pytest.raises(DeviceError, match="agent_speaker: was lost"):
        await speak()


async def test_drain_returns_when_flushed(sound_system: PulseRig) -> None:
    """A waiting `drain` ends with a flush."""
    async with Speaker(sound_system.speaker) as speaker:
        await speaker.write(tone(1.5, 16_000, 440))
        draining = asyncio.create_task(speaker.drain())
        await asyncio.sleep(0)
        speaker.flush()
        async with asyncio.timeout(10):
            await draining
        assert speaker.played_s < 1.5


async def test_volume_and_mute(sound_system: PulseRig, tmp_path: Path) -> None:
    """Volume acts on what is played next; muted, it plays silence and the time goes on."""
    with sound_system.record(tmp_path / "out.wav") as recording:
        async with Speaker(sound_system.speaker, volume=50) as speaker:
            await speaker.write(tone(0.4, RATE_HZ, 1000))
            await speaker.drain()
            quiet = await recorded(recording, 0.2)
            speaker.set_volume(100, muted=True)
            await speaker.write(tone(0.4, RATE_HZ, 1000))
            await speaker.drain()
            assert speaker.played_s == pytest.approx(0.8)
            muted = (await recorded(recording, 0.2))[len(quiet) + GAP :]
            speaker.set_volume(100, muted=False)
            await speaker.write(tone(0.4, RATE_HZ, 1000))
            await speaker.drain()
            loud = await recorded(recording, 0.2)
    assert np.abs(quiet.astype(int)).max() == pytest.approx(5_000, rel=0.03)
    assert not muted.any()
    assert np.abs(loud.astype(int)).max() == pytest.approx(20_000, rel=0.03)


async def test_the_device_is_free_while_there_is_nothing_to_say(
    sound_system: PulseRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a pause the stream is closed, so that devices can be refreshed; the next write opens it again."""
    monkeypatch.setattr(module, "_IDLE_S", 0.05)
    with sound_system.record(tmp_path / "out.wav") as recording:
        async with Speaker(sound_system.speaker) as speaker:
            for turn in range(1, 4):
                await speaker.write(tone(0.3, 16_000, 440))
                await speaker.drain()
                async with asyncio.timeout(30):
                    while not await asyncio.to_thread(refresh_devices):  # noqa: ASYNC110 - nothing else tells
                        await asyncio.sleep(0.02)
                assert speaker.pending_s == 0
                assert speaker.played_s == pytest.approx(0.3 * turn, rel=0.01)
            samples = await recorded(recording, 0.3)
    parts = loud_parts(samples, GAP)
    assert [(last - first) / RATE_HZ for first, last in parts] == pytest.approx([0.3] * 3, rel=0.05)


@pytest.mark.parametrize("how", ["unplugged", "no sound system"])
async def test_a_lost_speaker_is_an_error(sound_system: PulseRig, how: str) -> None:
    """Writing ends with the device's name, and does not wait for ever."""
    lose = sound_system.unload_speaker if how == "unplugged" else sound_system.stop

    async def speak() -> None:
        async with asyncio.timeout(30), Speaker(sound_system.speaker) as speaker:
            await speaker.write(tone(0.5, 16_000, 440))
            await asyncio.to_thread(lose)
            while True:
                await speaker.write(tone(0.5, 16_000, 440))

    with pytest.raises(DeviceError, match=r"agent_speaker: (was lost|takes no sound)"):
        await speak()


async def test_a_speaker_lost_in_a_pause_is_opened_again(sound_system: PulseRig) -> None:
    """What happened while there was nothing to play does not matter once the device is back."""
    async with Speaker(sound_system.speaker) as speaker:
        await speaker.write(tone(0.2, 16_000, 440))
        await speaker.drain()
        await asyncio.to_thread(sound_system.unload_speaker)
        await asyncio.to_thread(sound_system.load_speaker)
        async with asyncio.timeout(30):
            await speaker.write(tone(0.2, 16_000, 440))
            await speaker.drain()
        assert speaker.played_s == pytest.approx(0.4, rel=0.02)


async def test_a_sound_system_that_hangs_is_left(sound_system: PulseRig) -> None:
    """Neither draining nor closing waits for it; once it goes on, the stream is closed after all."""
    before = set(threading.enumerate())

    async def speak() -> None:
        async with asyncio.timeout(60), Speaker(sound_system.speaker) as speaker:
            await speaker.write(tone(1.5, 16_000, 440))
            sound_system.freeze_speaker()
            await speaker.drain()

    with pytest.raises(DeviceError, match="agent_speaker: takes no sound"):
        await speak()
    sound_system.thaw_speaker()
    for thread in set(threading.enumerate()) - before:
        await asyncio.to_thread(thread.join, 30)
    assert await asyncio.to_thread(refresh_devices)


@pytest.mark.parametrize("how", ["lost", "stalled"])
async def test_a_device_lost_behind_a_tone_is_told_without_a_write(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody drains a tone: the speaker itself drops what is pending, closes the device, and refuses from then on."""
    opened: list[tuple[output.Output, Callable[[], None]]] = []
    closed: list[object] = []

    def open_output(
        _wanted: str, gain: float, _loop: object, *, on_taken: object, on_end: Callable[[], None]
    ) -> object:
        stream = output.Output("USB out", PlaybackBuffer(RATE_HZ, 1, gain, time.monotonic()))
        opened.append((stream, on_end))
        return stream

    monkeypatch.setattr(module, "open_output", open_output)
    monkeypatch.setattr(module, "close_stream", closed.append)
    monkeypatch.setattr(module, "_STALLED_S", 0.1)
    told: asyncio.Queue[DeviceError] = asyncio.Queue()
    async with asyncio.timeout(30), Speaker("usb", on_lost=told.put_nowait) as speaker:
        await speaker.write(tone(0.2, 16_000, 440))
        ((stream, on_end),) = opened
        if how == "lost":
            stream.is_lost = True
            on_end()
        error = await told.get()
        assert isinstance(error, StalledDeviceError) is (how == "stalled")
        assert (speaker.pending_s, speaker.is_open) == (0, False)
        with pytest.raises(DeviceError, match="USB out"):
            await speaker.write(tone(0.2, 16_000, 440))
        with pytest.raises(DeviceError, match="USB out"):
            await speaker.drain()
    assert (len(opened), len(closed), told.qsize()) == (1, 1, 0)


async def test_a_speaker_that_was_closed_is_a_lost_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A turn shares it with tones: where one of these finds it lost and closes it, the turn fails as by any loss."""

    def open_output(_wanted: str, gain: float, _loop: object, **_: object) -> object:
        return output.Output("USB out", PlaybackBuffer(RATE_HZ, 1, gain, time.monotonic()))

    monkeypatch.setattr(module, "open_output", open_output)
    monkeypatch.setattr(module, "close_stream", lambda _: None)
    async with Speaker("usb") as speaker:
        pass
    with pytest.raises(DeviceError, match="USB out: was closed"):
        await speaker.write(tone(0.2, 16_000, 440))


async def test_a_held_tone_is_no_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits on purpose may wait; resumed, the device has its whole time again."""

    def open_output(_wanted: str, gain: float, _loop: object, **_: object) -> object:
        return output.Output("USB out", PlaybackBuffer(RATE_HZ, 1, gain, time.monotonic()))

    monkeypatch.setattr(module, "open_output", open_output)
    monkeypatch.setattr(module, "close_stream", lambda _: None)
    monkeypatch.setattr(module, "_STALLED_S", 0.05)
    monkeypatch.setattr(module, "_LOOK_S", 0.01)
    told: asyncio.Queue[DeviceError] = asyncio.Queue()
    async with asyncio.timeout(30), Speaker("usb", on_lost=told.put_nowait) as speaker:
        speaker.hold()
        await speaker.write(tone(0.2, 16_000, 440))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await told.get()
        assert speaker.pending_s > 0.1
        speaker.resume()
        await told.get()


async def test_nothing_is_left_after_closing(sound_system: PulseRig) -> None:
    """No thread, no open stream, no task, whatever was pending."""
    before = set(threading.enumerate())
    async with Speaker("") as speaker:
        await speaker.write(tone(1.5, 16_000, 440))
    assert set(threading.enumerate()) == before
    assert await asyncio.to_thread(refresh_devices)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_an_empty_chunk_is_nothing(sound_system: PulseRig) -> None:
    """No samples, no wait."""
    async with Speaker(sound_system.speaker) as speaker:
        await speaker.write(AudioChunk(b"", 16_000))
        await speaker.drain()
        assert speaker.played_s == 0


async def test_an_unknown_name_lists_the_speakers(sound_system: PulseRig) -> None:
    """One line says what there is."""
    with pytest.raises(UnknownDeviceError, match=r"no speaker matches 'gramophone'; there are: .*'agent_speaker'"):
        await Speaker("gramophone").__aenter__()
