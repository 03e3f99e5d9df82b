"""The status of a device, put together from its parts, and what Home Assistant makes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, cast

import pytest
from home_assistant import check_document, shown
from link_double import LinkDouble

from edge_agent.app.brain import RememberedVolume
from edge_agent.app.mouth import Mouth
from edge_agent.app.status import StatusBook
from edge_agent.app.telling import StatusFacts
from edge_agent.config.audio import AudioConfig
from edge_agent.config.mqtt import HomeAssistantConfig
from edge_agent.devices.microphone import Microphone
from edge_agent.events import DeviceState
from edge_agent.mqtt.discovery import discovery_payload, discovery_topic
from edge_agent.mqtt.telling import Telling
from edge_agent.mqtt.topics import Topics
from edge_agent.pipeline.commands import State
from edge_agent.runtime.pressure import PressureState, Rung
from edge_agent.runtime.sensors import Reading

TOPICS = Topics("kitchen")
HOT = PressureState(Rung.HOT, ("temperature 82 °C",), Reading(temperature_c=82.4), 0.0)
REPORTED = {"revisions": {"fleet": 3, "group": None, "device": None}, "outcome": "applied", "errors": [], "hash": "ab"}


class MicrophoneDouble:
    """A microphone that is open."""

    name = "USB microphone"
    dropped_frames = 0
    overflows = 0


class Engines:
    """What a voice and a brain say of themselves."""

    model = None

    @property
    def recognizer(self) -> Engines:
        """Itself."""
        return self

    synthesizer = recognizer
    name = "engine"


class EventsDouble:
    """Takes events and forgets them."""

    def record(self, name: str, data: Mapping[str, Any]) -> None:
        """Forget it."""


def facts(book: StatusBook, pressure: PressureState | None = None, uptime_s: float = 12.34) -> StatusFacts:
    """A device with that book and pressure."""
    link = LinkDouble()
    return StatusFacts(
        book=book,
        volume=lambda: RememberedVolume(40),
        uptime_s=lambda: uptime_s,
        pressure=lambda: pressure,
        link=lambda: link.state,
        outbox=lambda: {"waiting": 2, "dropped": 0},
        configuration=lambda: REPORTED,
    )


def test_the_status_says_how_the_device_is() -> None:
    """State, versions, engines, pressure, uptime, counters, link, outbox and configuration."""
    book = StatusBook()
    book.state_changed(State.IDLE, muted=True)
    book.hear(cast("Microphone", MicrophoneDouble()))
    status = facts(book, HOT).describe()
    assert status["state"] == "idle"
    assert status["muted"] is True
    assert status["volume"] == 40
    assert set(status["versions"]) == {"edge_agent", "python"}
    assert status["pressure"] == {"rung": "hot", "reasons": ["temperature 82 °C"]}
    assert status["uptime_s"] == 12
    assert status["link"] == {"broker": "broker.test:1883", "connects": 1, "taken_over": 0}
    assert status["outbox"] == {"waiting": 2, "dropped": 0}
    assert status["config"] == {"revisions": REPORTED["revisions"], "outcome": "applied", "hash": "ab"}
    assert status["problems"] == ["pressure"]
    json.dumps(status, allow_nan=False)


def test_faults_of_the_status_book_are_not_taken_over() -> None:
    """They may quote somebody; `Telling` cleans its own."""
    book = StatusBook()
    book.fault("could not render 'call doctor Miller'")
    status = facts(book).describe()
    assert "Miller" not in str(status)
    assert status["counters"]["faults"] == 1


@pytest.mark.parametrize(("uptime_s", "problems"), [(3.0, []), (60.0, ["microphone"])])
def test_a_device_that_hears_nothing_has_a_problem(uptime_s: float, problems: list[str]) -> None:
    """Once it has had the time to open its microphone."""
    book = StatusBook()
    book.state_changed(State.IDLE, muted=False)
    assert facts(book, uptime_s=uptime_s).describe()["problems"] == problems
    book.hear(cast("Microphone", MicrophoneDouble()))
    assert facts(book, uptime_s=uptime_s).describe()["problems"] == []


@pytest.mark.parametrize(
    ("state", "problems"),
    [
        (DeviceState.FLOWING, []),
        (DeviceState.CLIPPING, []),
        (DeviceState.SILENT, ["microphone"]),
        (DeviceState.STALLED, ["microphone"]),
        (DeviceState.ABSENT, ["microphone"]),
    ],
)
def test_a_microphone_that_is_of_no_use_is_a_problem(state: DeviceState, problems: list[str]) -> None:
    """Zeros, too, whoever has switched it off; sound that is distorted is sound. Its words stay on the device."""
    book = StatusBook()
    book.hear(cast("Microphone", MicrophoneDouble()))
    book.microphone.enter(state, "USB microphone", "is broken, said my aunt" if problems else "")
    status = facts(book, uptime_s=60).describe()
    assert status["problems"] == problems
    assert status["audio"]["microphone_state"] == state.value
    assert "aunt" not in str(status)
    assert ("aunt" in book.describe()["trouble"]["microphone"]) is bool(problems)


@pytest.mark.parametrize(
    ("state", "problems"),
    [(DeviceState.UNTRIED, []), (DeviceState.READY, []), (DeviceState.ABSENT, ["speaker"])],
)
def test_a_speaker_that_is_away_is_a_problem(state: DeviceState, problems: list[str]) -> None:
    """One that nothing was said with yet is none."""
    book = StatusBook()
    book.hear(cast("Microphone", MicrophoneDouble()))
    mouth = Mouth(AudioConfig())
    book.know(cast("Any", Engines()), cast("Any", Engines()), mouth)
    mouth.account.enter(state, "Headphones")
    status = facts(book, uptime_s=60).describe()
    assert status["problems"] == problems
    audio = status["audio"]
    assert (audio["speaker"], audio["speaker_state"], audio["underruns"]) == ("Headphones", state.value, 0)


def test_home_assistant_understands_the_whole_status() -> None:
    """Every entity's template finds what it needs, from the first moment on."""
    book = StatusBook()
    config = HomeAssistantConfig(enabled=True)
    payload = discovery_payload(TOPICS, config, version="1", takes_commands=True)
    components = check_document(discovery_topic(TOPICS, config.prefix), payload, config.prefix)["components"]

    async def status(pressure: PressureState | None) -> dict[str, Any]:
        telling = Telling(
            LinkDouble(),
            TOPICS,
            cast("Any", EventsDouble()),
            describe=facts(book, pressure).describe,
            report=dict,
            publish_text=False,
            metrics_every_s=0,
        )
        return telling.status()

    def states(pressure: PressureState | None) -> dict[str, object]:
        found = asyncio.run(status(pressure))
        return {key: shown(one, found) for key, one in components.items() if "value_template" in one}

    assert states(None) == {
        "state": "starting",
        "delay": None,
        "temperature": None,
        "problem": False,
        "microphone_problem": False,
        "speaker_problem": False,
        "mute": False,
        "volume": 40.0,
    }
    for state in State:
        book.state_changed(state, muted=True)
        assert states(HOT)["state"] == state.value
    assert states(HOT)["temperature"] == 82.0
    assert states(HOT)["problem"] is True
    assert states(HOT)["mute"] is True
