"""The speaker is looked after while nobody speaks, over hours of virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self, cast

import pytest
from virtual_time import in_virtual_time

from edge_agent.app import mouth as mouth_module
from edge_agent.app import speaker_watch as module
from edge_agent.app.mouth import Mouth
from edge_agent.app.speaker_watch import SpeakerWatch
from edge_agent.config.audio import AudioConfig
from edge_agent.devices.portaudio import SOUND_SYSTEM
from edge_agent.errors import DeviceError, JobTimeoutError, UnknownDeviceError
from edge_agent.events import DeviceStateChanged
from edge_agent.pipeline.observer import SilentObserver
from edge_agent.runtime.pool import Pool

HOUR_S = 3600.0


class House(SilentObserver):
    """A speaker's plug.

    Attributes:
        listed: Whether PortAudio and the kernel know it.
        works: Whether it can be opened.
        cards_changed: Whether a card has come since devices were looked for.
        looked: How often it was looked for without opening it.
        tried_at_s: When it was opened, or that was tried.
        wanted_at_s: When devices were to be looked for anew.
    """

    def __init__(self) -> None:
        self.listed = True
        self.works = True
        self.hangs: DeviceError | JobTimeoutError | None = None
        self.cards_changed = False
        self.looked = 0
        self.tried_at_s: list[float] = []
        self.wanted_at_s: list[float] = []
        self.closed = 0
        self.changes: list[DeviceStateChanged] = []

    def device_changed(self, change: DeviceStateChanged) -> None:
        """Write down."""
        self.changes.append(change)

    def choose(self, kind: str, wanted: str) -> None:
        """Find it, or not."""
        assert (kind, wanted) == ("speaker", "usb")
        self.looked += 1
        if self.hangs is not None:
            raise self.hangs
        if not self.listed:
            raise UnknownDeviceError(kind, wanted, ())

    def want_refresh(self) -> None:
        """Write down."""
        self.wanted_at_s.append(asyncio.get_running_loop().time())
        self.cards_changed = False


class SpeakerDouble:
    """Can be opened, or not; is at rest."""

    underruns = 0
    is_open = False

    def __init__(self, house: House) -> None:
        self._house = house
        self.name = "USB Speaker"

    async def __aenter__(self) -> Self:
        self._house.tried_at_s.append(asyncio.get_running_loop().time())
        if not self._house.works:
            raise DeviceError(self.name, "can't be opened")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._house.closed += 1

    def set_volume(self, percent: int, *, muted: bool) -> None:
        """Nothing is heard."""


class Inline:
    """A pool that does its work at once."""

    async def run(self, call: Callable[[], Any], **_: object) -> Any:  # noqa: ANN401 - whatever it returns
        """Do it."""
        await asyncio.sleep(0)
        return call()


@asynccontextmanager
async def watched(house: House, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Mouth]:
    """Look after the speaker."""
    monkeypatch.setattr(mouth_module, "Speaker", lambda _, **__: SpeakerDouble(house))
    monkeypatch.setattr(module, "choose_device", house.choose)
    monkeypatch.setattr(module, "devices_changed", lambda: house.cards_changed)
    mouth = Mouth(AudioConfig(output_device="usb"))
    mouth.observer = house
    watching = asyncio.create_task(
        SpeakerWatch(mouth, cast("Pool", Inline()), house.want_refresh).watch_loop(), name="watch"
    )
    try:
        yield mouth
    finally:
        watching.cancel()
        await asyncio.wait({watching})
        await mouth.close()


@in_virtual_time
async def test_a_speaker_that_is_there_is_looked_at_and_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a minute; an amplifier would click."""
    house = House()
    async with watched(house, monkeypatch):
        await asyncio.sleep(HOUR_S)
    assert 58 <= house.looked <= 61
    assert house.tried_at_s == []
    assert house.changes == []
    assert house.wanted_at_s == []


@in_virtual_time
async def test_a_speaker_that_is_pulled_out_is_known_within_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is closed, so that it is opened anew; a card that comes is looked for; then it is ready again."""
    house = House()
    async with watched(house, monkeypatch) as mouth:
        await mouth.check()
        await asyncio.sleep(100)
        house.listed = house.works = False
        await asyncio.sleep(61)
        assert mouth.account.state.value == "absent"
        assert house.closed == 1
        await asyncio.sleep(60)
        assert house.wanted_at_s == []
        house.cards_changed = True
        await asyncio.sleep(100)
        assert len(house.wanted_at_s) == 1
        house.listed = house.works = True
        await asyncio.sleep(200)
        assert mouth.account.state.value == "ready"
        tried = len(house.tried_at_s)
        await asyncio.sleep(HOUR_S)
        assert len(house.tried_at_s) == tried
    assert [change.state.value for change in house.changes] == ["ready", "absent", "ready"]
    assert house.changes[2].lasted_s > 0
    assert len([record for record in caplog.records if "nothing can be said" in record.getMessage()]) <= 4


@in_virtual_time
async def test_a_device_without_speaker_is_not_tried_for_ever_at_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a minute in the long run; every ten the microphone makes room to look for devices; the log is short."""
    house = House()
    house.listed = house.works = False
    async with watched(house, monkeypatch):
        await asyncio.sleep(24 * HOUR_S)
    assert 1400 <= len(house.tried_at_s) <= 1700
    assert 130 <= len(house.wanted_at_s) <= 144
    assert house.wanted_at_s[0] > 600
    assert len(caplog.records) <= 8


@in_virtual_time
async def test_a_speaker_that_another_program_holds_is_tried_until_it_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """It failed in an answer, and is listed all the while."""
    house = House()
    async with watched(house, monkeypatch) as mouth:
        house.works = False
        with pytest.raises(DeviceError):
            await mouth.check()
        await asyncio.sleep(30)
        house.works = True
        await asyncio.sleep(30)
        assert mouth.account.state.value == "ready"
        assert mouth.account.reopened == 1
    assert house.wanted_at_s == []


@pytest.mark.parametrize(
    "error",
    [JobTimeoutError("devices.speaker", 10.0), DeviceError(SOUND_SYSTEM, "does not answer")],
    ids=["look", "sound system"],
)
@in_virtual_time
async def test_what_takes_too_long_says_nothing_of_the_speaker(
    monkeypatch: pytest.MonkeyPatch, error: DeviceError | JobTimeoutError
) -> None:
    """It is not closed for that."""
    house = House()
    house.hangs = error
    async with watched(house, monkeypatch) as mouth:
        await asyncio.sleep(200)
        assert mouth.account.state.value == "untried"
