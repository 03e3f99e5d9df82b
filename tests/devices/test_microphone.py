"""The microphone on a real PortAudio, with PulseAudio's null sinks for hardware."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray
from pulse_rig import PulseRig
from sounds import babble, load, save, similarity

from edge_agent.audio import FRAME_BYTES, FRAME_SAMPLES, HEAR_RATE_HZ, AudioChunk
from edge_agent.devices import microphone as module
from edge_agent.devices.microphone import Microphone
from edge_agent.devices.portaudio import AudioDevice, Kind, StreamFormat, refresh_devices
from edge_agent.errors import DeviceError, UnknownDeviceError

pytestmark = pytest.mark.live


async def heard_while_playing(rig: PulseRig, recording: Path, microphone: Microphone) -> list[AudioChunk]:
    """Play a recording to the open microphone once it hears; return what it hears until half a second after that."""
    frames: list[AudioChunk] = []
    playing: asyncio.Task[None] | None = None
    after = 0
    async for frame in microphone.frames():
        frames.append(frame)
        if playing is None:
            playing = asyncio.create_task(asyncio.to_thread(rig.play, recording))
        after += playing.done()
        if after == 25:
            await playing
            break
    return frames


def samples_of(frames: list[AudioChunk]) -> NDArray[np.int16]:
    """Return the samples of consecutive frames."""
    return np.frombuffer(b"".join(frame.pcm for frame in frames), "<i2")


async def test_hears_a_recording(sound_system: PulseRig, tmp_path: Path) -> None:
    """What is played to the microphone arrives whole, as 20 ms frames at 16 kHz with rising times."""
    original = babble(2, HEAR_RATE_HZ, seed=1)
    async with Microphone(sound_system.microphone) as microphone:
        assert microphone.name == sound_system.microphone
        frames = await heard_while_playing(sound_system, save(tmp_path / "a.wav", original, HEAR_RATE_HZ), microphone)
        assert microphone.dropped_frames == 0
    assert {(len(frame.pcm), frame.rate_hz) for frame in frames} == {(FRAME_BYTES, HEAR_RATE_HZ)}
    times = [frame.captured_at for frame in frames if frame.captured_at is not None]
    assert len(times) == len(frames)
    assert times[-1] <= time.monotonic()
    assert times[-1] > times[0]
    assert similarity(samples_of(frames), original) > 0.9


async def test_hears_recorded_speech(sound_system: PulseRig, speech_dir: Path) -> None:
    """The same with a person's voice."""
    recording = speech_dir / "home" / "what_time_is_it.wav"
    original, rate_hz = load(recording)
    assert rate_hz == HEAR_RATE_HZ
    async with Microphone(sound_system.microphone) as microphone:
        frames = await heard_while_playing(sound_system, recording, microphone)
        assert microphone.dropped_frames == 0
    assert similarity(samples_of(frames), original) > 0.9


@pytest.mark.parametrize("form", [StreamFormat(44_100, 2), StreamFormat(48_000, 1), StreamFormat(16_000, 2)])
async def test_device_without_16_khz_mono_is_mixed_and_resampled(
    sound_system: PulseRig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: StreamFormat
) -> None:
    """A device that is opened at its own rate and channels gives the same 16 kHz mono frames."""

    def choose(kind: Kind, device: AudioDevice, rates_hz: tuple[int, ...]) -> StreamFormat:
        return form

    monkeypatch.setattr(module, "choose_format", choose)
    original = babble(1.5, HEAR_RATE_HZ, seed=2)
    async with Microphone(sound_system.microphone) as microphone:
        frames = await heard_while_playing(sound_system, save(tmp_path / "a.wav", original, HEAR_RATE_HZ), microphone)
        assert microphone.dropped_frames == 0
    assert {len(frame.pcm) for frame in frames} == {FRAME_BYTES}
    assert similarity(samples_of(frames), original) > 0.9


async def test_a_late_consumer_loses_the_oldest_frames_and_is_told(sound_system: PulseRig) -> None:
    """About a second is kept; what is lost is counted."""
    async with Microphone(sound_system.microphone) as microphone:
        opened_at = time.monotonic()
        async with asyncio.timeout(30):
            while microphone.dropped_frames < 10:  # noqa: ASYNC110 - nothing else tells
                await asyncio.sleep(0.05)
        frames = microphone.frames()
        first = await anext(frames)
        await frames.aclose()
        assert first.captured_at is not None
        assert first.captured_at > opened_at


async def test_nothing_is_left_after_closing(sound_system: PulseRig) -> None:
    """No thread, no open stream; it can be opened again."""
    assert await asyncio.to_thread(refresh_devices)  # the loop's own thread is not what this is about
    before = set(threading.enumerate())
    for _ in range(2):
        async with Microphone("") as microphone:
            assert len((await anext(microphone.frames())).pcm) == FRAME_BYTES
            assert not await asyncio.to_thread(refresh_devices)
        assert set(threading.enumerate()) == before
        assert await asyncio.to_thread(refresh_devices)


async def test_cancelled_while_it_opens_it_is_closed(sound_system: PulseRig) -> None:
    """A cancelled opening leaves no stream behind."""
    for pause_s in (0.0, 0.001, 0.01):
        opening = asyncio.create_task(Microphone(sound_system.microphone).__aenter__())
        await asyncio.sleep(pause_s)
        opening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await (await opening).__aexit__(None, None, None)
        assert await asyncio.to_thread(refresh_devices)


@pytest.mark.parametrize("how", ["unplugged", "no sound system"])
async def test_a_lost_microphone_is_an_error(sound_system: PulseRig, how: str) -> None:
    """Reading ends with the device's name, and does not wait for ever."""
    lose = sound_system.unload_microphone if how == "unplugged" else sound_system.stop

    async def listen() -> None:
        async with asyncio.timeout(30), Microphone(sound_system.microphone) as microphone:
            frames = microphone.frames()
            await anext(frames)
            await asyncio.to_thread(lose)
            async for _ in frames:
                pass

    with pytest.raises(DeviceError, match=r"agent_mic: (was lost|delivers no sound)"):
        await listen()


async def test_a_microphone_that_is_plugged_in_again_is_heard(sound_system: PulseRig) -> None:
    """Absent it can't be opened; after a refresh it works again."""
    await asyncio.to_thread(sound_system.unload_microphone)
    with pytest.raises(DeviceError, match="agent_mic: can't be opened"):
        await Microphone(sound_system.microphone).__aenter__()
    await asyncio.to_thread(sound_system.load_microphone)
    assert await asyncio.to_thread(refresh_devices)
    async with Microphone(sound_system.microphone) as microphone:
        assert len((await anext(microphone.frames())).pcm) == FRAME_BYTES


async def test_the_first_sound_may_take_longer_than_a_gap(
    sound_system: PulseRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that wakes up slowly (2 s: more than a gap may last) is not taken for lost; one that falls silent is."""
    monkeypatch.setattr(module, "_SILENT_S", 0.2)

    class SlowStream:
        """Delivers one block, late, and no more."""

        def __init__(self, callback: Callable[..., None]) -> None:
            times = SimpleNamespace(currentTime=0.0, inputBufferAdcTime=0.0)
            arguments = (bytes(FRAME_BYTES), FRAME_SAMPLES, times, SimpleNamespace(input_overflow=False))
            self.timer = threading.Timer(0.6, callback, arguments)
            self.timer.start()

    def open_slowly(device: AudioDevice, build: Callable[[object], object]) -> object:
        return build(SimpleNamespace(RawInputStream=lambda callback, **_: SlowStream(callback)))

    monkeypatch.setattr(module, "open_stream", open_slowly)
    monkeypatch.setattr(module, "close_stream", lambda stream: stream.timer.join())
    async with Microphone(sound_system.microphone) as microphone:
        frames = microphone.frames()
        assert (await anext(frames)).pcm == bytes(FRAME_BYTES)
        with pytest.raises(DeviceError, match="delivers no sound for 0 s"):
            await anext(frames)


async def test_a_sound_system_that_hangs_is_left(sound_system: PulseRig) -> None:
    """Neither reading nor closing waits for it; once it goes on, the stream is closed after all."""
    before = set(threading.enumerate())

    async def listen() -> None:
        async with asyncio.timeout(60), Microphone(sound_system.microphone) as microphone:
            frames = microphone.frames()
            await anext(frames)
            sound_system.freeze_microphone()
            async for _ in frames:
                pass

    with pytest.raises(DeviceError, match="agent_mic: delivers no sound"):
        await listen()
    sound_system.thaw_microphone()
    for thread in set(threading.enumerate()) - before:
        await asyncio.to_thread(thread.join, 30)
    assert await asyncio.to_thread(refresh_devices)


async def test_an_unknown_name_lists_the_microphones(sound_system: PulseRig) -> None:
    """One line says what there is."""
    with pytest.raises(UnknownDeviceError, match=r"no microphone matches 'gramophone'; there are: .*'agent_mic'"):
        await Microphone("gramophone").__aenter__()


async def test_what_it_hears_is_counted_and_it_can_be_given_up(sound_system: PulseRig, tmp_path: Path) -> None:
    """A monitor at rest is nothing but zeros, and calm; what is played into it is sound; its promises are kept."""
    loop = asyncio.get_running_loop()
    looks: list[float] = []
    recording = save(tmp_path / "a.wav", babble(1, HEAR_RATE_HZ, seed=3), HEAR_RATE_HZ)
    error = DeviceError("agent_mic", "is opened again")
    heard = 0

    async def listen(microphone: Microphone) -> None:
        nonlocal heard
        playing: asyncio.Task[None] | None = None
        async for _ in microphone.frames():
            heard += 1
            assert loop.time() <= microphone.next_sign_s
            tally = microphone.tally
            if playing is None and tally.silent_s >= 1 and microphone.is_calm:
                assert not tally.has_sounded
                playing = asyncio.create_task(asyncio.to_thread(sound_system.play, recording))
            if playing is not None and playing.done() and tally.silent_s >= 0.5 and len(looks) > 2:
                await playing
                microphone.give_up(error)

    async with asyncio.timeout(60), Microphone(sound_system.microphone) as microphone:
        microphone.on_look = lambda: looks.append(loop.time())
        microphone.rest(resting=True)
        with pytest.raises(DeviceError) as ended:
            await listen(microphone)
        assert ended.value is error
        assert microphone.tally.has_sounded
        assert microphone.tally.clipped == 0
        assert microphone.tally.looked_at == pytest.approx(heard * FRAME_SAMPLES / 5, rel=0.3)
        assert microphone.overflows <= microphone.dropped_frames
    assert looks[0] < looks[-1]
