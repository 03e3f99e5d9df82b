"""The speaker over a service's life, on null sinks."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from pulse_rig import PulseRig
from sounds import load, loud_parts, pitch_hz, tone

from edge_agent.app.mouth import Mouth
from edge_agent.app.vitality import OUTPUT_S
from edge_agent.config.audio import AudioConfig
from edge_agent.errors import DeviceError
from edge_agent.events import DeviceState
from edge_agent.speak.sink import AudioSink

pytestmark = pytest.mark.live

RATE_HZ = 48_000


async def spoken(mouth: Mouth, turn_id: int, hz: float) -> AudioSink:
    """Take a turn with a tone for an answer; return the speaker that was lent."""
    async with mouth.for_turn(turn_id) as (speaker, file):
        assert file is None
        await speaker.write(tone(0.4, 16_000, hz))
        await speaker.drain()
        return speaker


async def test_tones_and_answers_share_one_speaker(sound_system: PulseRig, tmp_path: Path) -> None:
    """A tone opens the speaker, an answer behind it is heard behind it, and the level is that of what sounds."""
    mouth = Mouth(AudioConfig(output_device=sound_system.speaker, volume=100))
    assert mouth.recent_level(1.0) == 0.0
    with sound_system.record(tmp_path / "out.wav"):
        await asyncio.gather(mouth.play(tone(0.3, 16_000, 880)), mouth.play(tone(0.001, 16_000, 880)))
        first = await spoken(mouth, 1, 440)
        assert mouth.recent_level(0.3) == pytest.approx(20_000 / 2**15 / 2**0.5, rel=0.05)
        assert await spoken(mouth, 2, 220) is first
        await asyncio.sleep(0.5)
    await mouth.close()
    assert mouth.recent_level(1.0) == 0.0
    samples, rate_hz = load(tmp_path / "out.wav")
    (first_sample, *_), *_, (*_, last_sample) = loud_parts(samples, RATE_HZ // 50)
    assert rate_hz == RATE_HZ
    assert (last_sample - first_sample) / RATE_HZ > 1.0
    assert pitch_hz(samples[first_sample : first_sample + RATE_HZ // 4], RATE_HZ) == pytest.approx(880, rel=0.02)
    assert pitch_hz(samples[last_sample - RATE_HZ // 4 : last_sample], RATE_HZ) == pytest.approx(220, rel=0.03)


async def test_a_tone_that_can_not_be_played_costs_nothing_but_a_line(
    sound_system: PulseRig, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is raised, it is told once until it works again; a turn is told each time."""
    mouth = Mouth(AudioConfig(output_device="gramophone"))
    with caplog.at_level(logging.WARNING, "edge_agent"):
        for _ in range(3):
            await mouth.play(tone(0.1, 16_000, 440))
    [record] = caplog.records
    assert "gramophone" in record.getMessage()
    with pytest.raises(DeviceError, match="gramophone"):
        await spoken(mouth, 1, 440)
    assert mouth.recent_level(1.0) == 0.0
    await mouth.close()


async def test_a_speaker_lost_in_a_tone_is_closed_and_opened_again(
    sound_system: PulseRig, caplog: pytest.LogCaptureFixture
) -> None:
    """The tone is gone and the loss is told once; with the speaker back the next tone and turn are heard."""
    mouth = Mouth(AudioConfig(output_device=sound_system.speaker))
    await mouth.play(tone(0.3, 16_000, 440))
    await asyncio.to_thread(sound_system.unload_speaker)
    with caplog.at_level(logging.WARNING, "edge_agent"):
        async with asyncio.timeout(60):
            while not caplog.records:
                await mouth.play(tone(2.5, 16_000, 440))
        assert len(caplog.records) == 1
        assert "a sound was not played" in caplog.text
    await asyncio.to_thread(sound_system.load_speaker)
    await mouth.play(tone(0.2, 16_000, 440))
    speaker = await spoken(mouth, 2, 440)
    assert speaker.played_s > 0.5
    await mouth.close()


@pytest.mark.parametrize(
    ("how", "state"), [("unplugged", DeviceState.ABSENT), ("hangs", DeviceState.STALLED)], ids=["unplugged", "hangs"]
)
async def test_a_tone_that_nobody_waits_for_does_not_stay_pending(
    sound_system: PulseRig, caplog: pytest.LogCaptureFixture, how: str, state: DeviceState
) -> None:
    """The loss is known without a write, well before the watchdog would end the agent; the next turn is heard."""
    mouth = Mouth(AudioConfig(output_device=sound_system.speaker))
    await spoken(mouth, 1, 440)
    await mouth.play(tone(1.5, 16_000, 440))
    assert mouth.pending_s > 0
    await asyncio.to_thread(sound_system.unload_speaker if how == "unplugged" else sound_system.freeze_speaker)
    with caplog.at_level(logging.WARNING, "edge_agent"):
        async with asyncio.timeout(OUTPUT_S):
            while mouth.pending_s or mouth.is_open or not mouth.account.state.is_trouble:  # noqa: ASYNC110 - as seen by the watchdog
                await asyncio.sleep(0.05)
        assert caplog.text.count("a sound was not played") == 1
    assert how == "unplugged" or mouth.account.state is state  # what is unplugged may be told as either
    await asyncio.to_thread(sound_system.load_speaker if how == "unplugged" else sound_system.thaw_speaker)
    await mouth.check()
    assert mouth.account.state is DeviceState.READY
    await spoken(mouth, 2, 440)
    await mouth.close()
