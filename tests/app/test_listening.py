"""The microphone's supervisor over hours and weeks of virtual time, with a microphone that fails in every way."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self, cast

import pytest
from virtual_time import in_virtual_time

from edge_agent.app import listening as module
from edge_agent.app.listening import Listening
from edge_agent.app.status import StatusBook
from edge_agent.audio import FRAME_BYTES, HEAR_RATE_HZ, AudioChunk
from edge_agent.devices import sound_tally
from edge_agent.devices.sound_tally import SoundTally
from edge_agent.errors import DeviceError, JobTimeoutError, StalledDeviceError
from edge_agent.events import DeviceState, DeviceStateChanged
from edge_agent.pipeline.ears import Ears
from edge_agent.pipeline.observer import SilentObserver
from edge_agent.runtime.pool import Pool

HARDWARE, SERVER = "USB Mic: Audio (hw:1,0)", "pulse"
LOOK_S = 2.0
NOISE = b"\x05\x00" * (FRAME_BYTES // 2)
ZEROS = bytes(FRAME_BYTES)
LOUD = b"\xff\x7f" * (FRAME_BYTES // 2)
HOUR_S = 3600.0


class House(SilentObserver):
    """A microphone's plug, its switch, and who listens.

    Attributes:
        error: Why it can't be opened, or breaks off.
        pcm: What it delivers.
        opened_at_s: When it was opened.
        refreshed_at_s: When devices were looked for.
        frames: How many were heard.
    """

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.name = HARDWARE
        self.error: DeviceError | None = None
        self.pcm: Callable[[float], bytes] = lambda _: NOISE
        self.is_calm = True
        self.lost_a_look = 0
        self.is_open = False
        self.opened_at_s: list[float] = []
        self.refreshed_at_s: list[float] = []
        self.frames = 0
        self.abandoned = 0
        self.late: DeviceError | JobTimeoutError | None = None
        self.changes: list[DeviceStateChanged] = []

    def device_changed(self, change: DeviceStateChanged) -> None:
        """Write down."""
        self.changes.append(change)

    def fault(self, message: str) -> None:
        """Write down."""
        self.faults.append(message)

    @property
    def passed(self) -> list[str]:
        """What became of the microphone, in order."""
        return [change.state.value for change in self.changes]

    async def listen(self, source: Any, *, patient: bool) -> None:  # noqa: ANN401 - a microphone
        """Hear, as the ears do."""
        assert not patient
        async for _ in source.frames():
            self.frames += 1
            if self.late is not None:
                late, self.late = self.late, None
                raise late

    def abandon(self) -> None:
        """Count."""
        self.abandoned += 1

    def refresh(self) -> bool:
        """Count; it works only while nothing is open."""
        self.refreshed_at_s.append(asyncio.get_running_loop().time())
        return not self.is_open


class MicrophoneDouble:
    """Delivers two seconds at a time."""

    thread = None
    overflows = 0

    def __init__(self, house: House) -> None:
        self._house = house
        self.name = house.name
        self.tally = SoundTally()
        self.dropped_frames = 0
        self.on_look: Callable[[], None] = lambda: None
        self._error: DeviceError | None = None
        self._seen_s = 0.0

    @property
    def is_calm(self) -> bool:
        """As the house is."""
        return self._house.is_calm

    @property
    def next_sign_s(self) -> float:
        """The next step."""
        return self._seen_s + LOOK_S

    async def __aenter__(self) -> Self:
        await asyncio.sleep(0.02)
        if self._house.error is not None:
            raise self._house.error
        self._house.opened_at_s.append(asyncio.get_running_loop().time())
        self._house.is_open = True
        self._seen_s = asyncio.get_running_loop().time()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._house.is_open = False

    def give_up(self, error: DeviceError) -> None:
        """End at the next step."""
        self._error = error

    async def frames(self) -> AsyncGenerator[AudioChunk, None]:
        """Yield for as long as all is well."""
        while self._error is None:
            if self._house.error is not None:
                raise self._house.error
            self._seen_s = now_s = asyncio.get_running_loop().time()
            pcm = self._house.pcm(now_s)
            self.tally.take(pcm)
            self.dropped_frames += self._house.lost_a_look
            yield AudioChunk(pcm, HEAR_RATE_HZ)
            self.on_look()
            if self._error is None:
                await asyncio.sleep(LOOK_S)
        raise self._error


class Inline:
    """A pool that does its work at once."""

    async def run(self, call: Callable[[], Any], **_: object) -> Any:  # noqa: ANN401 - whatever it returns
        """Do it."""
        await asyncio.sleep(0.01)
        return call()


@asynccontextmanager
async def supervised(
    house: House, monkeypatch: pytest.MonkeyPatch, device: str = "mic", *, promises_every_s: float = 0.5
) -> AsyncIterator[tuple[Listening, StatusBook]]:
    """Keep listening, and see that every promise is kept."""
    # One block stands for two seconds, so that days are counted in a moment.
    monkeypatch.setattr(sound_tally, "LOOK_EVERY", 1)
    monkeypatch.setattr(sound_tally, "FRAME_S", LOOK_S)
    monkeypatch.setattr(module, "Microphone", lambda _: MicrophoneDouble(house))
    monkeypatch.setattr(module, "refresh_devices", house.refresh)
    book = StatusBook()
    listening = Listening(cast("Ears", house), house, book, cast("Pool", Inline()))
    running = asyncio.create_task(listening.listen_loop(device), name="listen")

    async def see_promises() -> None:
        while True:
            await asyncio.sleep(promises_every_s)
            assert asyncio.get_running_loop().time() <= listening.next_sign_s + 0.5

    seeing = asyncio.create_task(see_promises(), name="promises")
    try:
        yield listening, book
    finally:
        for task in (seeing, running):
            task.cancel()
        await asyncio.wait({seeing, running})
        for task in (seeing, running):
            if not task.cancelled():
                task.result()


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    """What is in the log."""
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


@in_virtual_time
async def test_a_microphone_that_is_pulled_out_comes_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything in its order: heard, lost, tried after ever longer pauses, each after a look for devices, heard."""
    house = House()
    with caplog.at_level(logging.INFO, "edge_agent"):
        async with supervised(house, monkeypatch) as (listening, book):
            await asyncio.sleep(100)
            assert (listening.trouble, house.passed) == ("", ["flowing"])
            house.error = DeviceError(HARDWARE, "was lost")
            await asyncio.sleep(60)
            assert listening.trouble == f"{HARDWARE}: was lost"
            audio = book.describe()["audio"]
            assert (audio["microphone"], audio["microphone_state"]) == (None, "absent")
            assert audio["microphone_for_s"] >= 0
            assert book.describe()["trouble"]["microphone"] == listening.trouble
            heard = house.frames
            house.error = None
            await asyncio.sleep(40)
            assert house.frames > heard
            assert listening.trouble == ""
            assert book.describe()["audio"]["microphone_state"] == "flowing"
            assert book.describe()["audio"]["microphone_reopened"] == 1
            assert book.microphone.reopened == 1
    assert house.passed == ["flowing", "absent", "flowing"]
    lost, back = house.changes[1:]
    assert (lost.before, lost.reason) == (DeviceState.FLOWING, f"{HARDWARE}: was lost")
    assert (back.before, back.reason) == (DeviceState.ABSENT, "")
    pauses = [
        round(after - before) for before, after in zip(house.refreshed_at_s, house.refreshed_at_s[1:], strict=False)
    ]
    assert pauses[:4] == [2, 4, 8, 16]
    assert house.abandoned >= len(house.refreshed_at_s)
    assert len(house.faults) == 2
    assert lines(caplog) == [
        f"listening to {HARDWARE}",
        f"{HARDWARE}: was lost; trying again in 1 s",
        f"{HARDWARE}: was lost; trying again in 8 s",
        f"listening to {HARDWARE}",
    ]


@in_virtual_time
async def test_a_week_without_microphone_takes_some_lines(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried every half minute all the while; log and faults hear of it ever more rarely."""
    house = House()
    house.error = DeviceError("mic", "can't be opened")
    async with supervised(house, monkeypatch, promises_every_s=97.3):
        await asyncio.sleep(7 * 24 * HOUR_S)
    assert 20_000 < len(house.refreshed_at_s) < 20_200
    assert house.passed == ["absent"]
    assert len(lines(caplog)) == len(house.faults)
    assert 28 <= len(house.faults) <= 35


@in_virtual_time
async def test_a_loose_contact_is_not_tried_every_second(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It works for some seconds each time: the pauses grow all the same, and the log stays short."""
    house = House()

    def breaks(now_s: float) -> bytes:
        if house.opened_at_s and now_s - house.opened_at_s[-1] > 5:
            raise StalledDeviceError(HARDWARE, 2.0)
        return NOISE

    house.pcm = breaks
    async with supervised(house, monkeypatch):
        await asyncio.sleep(2 * HOUR_S)
    assert 150 < len(house.opened_at_s) < 240
    assert house.passed[:4] == ["flowing", "stalled", "flowing", "stalled"]
    assert len(house.faults) <= 7
    assert len(lines(caplog, logging.WARNING)) <= 7


@in_virtual_time
async def test_a_muted_microphone_is_asked_about_and_not_torn_down(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Zeros of hardware: opened again after 10 s, then ever more rarely; frames go on; unmuted it is heard at once."""
    house = House()
    async with supervised(house, monkeypatch) as (listening, book):
        await asyncio.sleep(60)
        house.pcm = lambda _: ZEROS
        before, heard = len(house.opened_at_s), house.frames
        await asyncio.sleep(8)
        assert len(house.opened_at_s) == before
        await asyncio.sleep(6)
        assert len(house.opened_at_s) == before + 1
        await asyncio.sleep(3 * HOUR_S)
        assert house.passed == ["flowing", "silent"]
        assert listening.trouble == ""
        assert book.describe()["audio"]["silent_s"] > 3 * HOUR_S - 60
        assert 18 <= len(house.opened_at_s) - before <= 26
        assert house.frames - heard > 0.98 * 3 * HOUR_S / LOOK_S
        house.pcm = lambda _: NOISE
        await asyncio.sleep(4)
        assert house.passed == ["flowing", "silent", "flowing"]
        assert book.describe()["audio"]["silent_s"] == 0.0
    assert house.faults == []
    assert "is it muted" in house.changes[1].reason
    warnings = lines(caplog, logging.WARNING)
    assert 1 <= len(warnings) <= 7
    assert "is it muted" in warnings[0]


@in_virtual_time
async def test_a_monitor_that_rests_is_left_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Exact zeros between commands are what a sound server's null sink gives: no reopening, no word, no event."""
    house = House()
    house.name = SERVER
    house.pcm = lambda now_s: NOISE if now_s % 50 < 4 else ZEROS
    with caplog.at_level(logging.INFO, "edge_agent"):
        async with supervised(house, monkeypatch, SERVER, promises_every_s=7.3):
            await asyncio.sleep(4 * HOUR_S)
    assert len(house.opened_at_s) == 1
    assert house.passed == ["flowing"]
    assert lines(caplog) == [f"listening to {SERVER}"]


@in_virtual_time
async def test_long_zeros_of_a_sound_server_are_one_quiet_notice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing plays into the monitor for ten minutes at a time, half a day long."""
    house = House()
    house.name = SERVER
    house.pcm = lambda now_s: NOISE if now_s % 600 < 4 else ZEROS
    with caplog.at_level(logging.INFO, "edge_agent"):
        async with supervised(house, monkeypatch, SERVER, promises_every_s=7.3):
            await asyncio.sleep(600)
            assert [line for line in lines(caplog) if "zeros" in line]
            assert len(house.opened_at_s) <= 4
            await asyncio.sleep(11 * HOUR_S)
    assert house.faults == []
    assert lines(caplog, logging.WARNING) == []
    assert len([line for line in lines(caplog) if "zeros" in line]) <= 8


@in_virtual_time
async def test_it_is_never_opened_again_into_somebodys_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for zeros nor to look for other devices, until the room is calm; then once."""
    house = House()
    house.is_calm = False
    async with supervised(house, monkeypatch) as (listening, book):
        listening.want_refresh()
        await asyncio.sleep(10)
        house.pcm = lambda _: ZEROS
        await asyncio.sleep(HOUR_S)
        assert len(house.opened_at_s) == 1
        house.pcm = lambda _: NOISE
        house.is_calm = True
        await asyncio.sleep(20)
        assert len(house.opened_at_s) == 2
        assert len(house.refreshed_at_s) == 1
        assert house.opened_at_s[1] - house.refreshed_at_s[0] < 0.1
        await asyncio.sleep(60)
        assert len(house.opened_at_s) == 2
        assert book.describe()["audio"]["microphone"] == HARDWARE
    assert DeviceState.ABSENT not in house.passed
    assert house.faults == []


@in_virtual_time
async def test_distorted_sound_and_lost_sound_are_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With what to do; the conversation goes on."""
    house = House()
    async with supervised(house, monkeypatch) as (_, book):
        await asyncio.sleep(60)
        house.pcm = lambda _: LOUD
        await asyncio.sleep(60)
        assert book.describe()["audio"]["clipped_percent"] == 100.0
        house.pcm = lambda _: NOISE
        house.lost_a_look = 30
        await asyncio.sleep(60)
        house.lost_a_look = 0
        await asyncio.sleep(60)
        assert book.describe()["audio"]["frames_lost"] == 900
    assert house.passed == ["flowing", "clipping", "overflowing", "flowing"]
    assert len(house.opened_at_s) == 1
    assert ["alsamixer" in line for line in lines(caplog, logging.WARNING)].count(True) >= 1


@in_virtual_time
async def test_what_listens_may_take_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wake word that hangs: hearing starts anew."""
    house = House()
    async with supervised(house, monkeypatch) as (listening, _):
        await asyncio.sleep(60)
        house.late = JobTimeoutError("wake", 5.0)
        await asyncio.sleep(0.5)
        assert listening.trouble
        await asyncio.sleep(10)
        assert listening.trouble == ""
    assert house.passed == ["flowing", "stalled", "flowing"]


@in_virtual_time
async def test_a_look_for_devices_that_hangs_is_not_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and the microphone is tried all the same."""
    house = House()
    house.error = DeviceError("mic", "was lost")
    async with supervised(house, monkeypatch):

        def hang() -> bool:
            raise JobTimeoutError("devices.refresh", 10.0)

        monkeypatch.setattr(module, "refresh_devices", hang)
        await asyncio.sleep(20)
        house.error = None
        await asyncio.sleep(40)
    assert house.passed == ["absent", "flowing"]
    assert any("not looked for again" in line for line in lines(caplog))


@in_virtual_time
async def test_a_number_is_no_name(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Its owner is told once what to write instead."""
    house = House()
    monkeypatch.setattr(module, "read_cards", tuple)
    monkeypatch.setattr(module, "stable_name", lambda name, _: {HARDWARE: "hw:CARD=Mic"}[name])
    async with supervised(house, monkeypatch, "3"):
        await asyncio.sleep(10)
        house.error = DeviceError(HARDWARE, "was lost")
        await asyncio.sleep(10)
        house.error = None
        await asyncio.sleep(60)
    told = [line for line in lines(caplog, logging.WARNING) if "hw:CARD=Mic" in line]
    assert len(told) == 1
    assert 'audio.input_device = "3"' in told[0]


@in_virtual_time
async def test_another_microphone_is_back_when_it_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was lost is replaced in the configuration: it counts as lost until sound flows."""
    house = House()
    house.error = DeviceError("mic", "was lost")
    async with supervised(house, monkeypatch) as (listening, book):
        await asyncio.sleep(10)
        assert book.microphone.state is DeviceState.ABSENT
    house.error = None
    other = asyncio.create_task(listening.listen_loop("other"), name="other")
    await asyncio.sleep(10)
    other.cancel()
    await asyncio.wait({other})
    assert house.passed == ["absent", "flowing"]
    assert house.changes[1].before is DeviceState.ABSENT
