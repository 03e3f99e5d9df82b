"""What the broker is told, when, and what it is not told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from link_double import LinkDouble
from virtual_time import in_virtual_time

from edge_agent.events import DeviceState, DeviceStateChanged, Endpoint, EndpointReason
from edge_agent.mqtt.telling import Telling, describe_turn
from edge_agent.mqtt.topics import Topics
from edge_agent.pipeline.commands import State
from edge_agent.pipeline.report import Timings, TurnReport
from edge_agent.runtime.pressure import PressureState, Rung
from edge_agent.runtime.sensors import Reading

TOPICS = Topics("kitchen")


class EventsDouble:
    """Keeps what is recorded."""

    def __init__(self) -> None:
        self.recorded: list[tuple[str, dict[str, Any]]] = []

    def record(self, name: str, data: Mapping[str, Any]) -> None:
        """Keep it."""
        self.recorded.append((name, dict(data)))

    def named(self, name: str) -> list[dict[str, Any]]:
        """Return the events of that name."""
        return [data for found, data in self.recorded if found == name]


class Rig:
    """Telling between a link and a device that is described by a dictionary."""

    def __init__(self, *, publish_text: bool = False, metrics_every_s: float = 0.0, is_connected: bool = True) -> None:
        self.link = LinkDouble(is_connected=is_connected)
        self.events = EventsDouble()
        self.facts: dict[str, Any] = {"state": "idle", "muted": False, "temperature_c": 40.2, "problems": []}
        self.described = 0
        self.telling = Telling(
            self.link,
            TOPICS,
            self.events,
            describe=self.describe,
            report=lambda: {"tasks": 7},
            publish_text=publish_text,
            metrics_every_s=metrics_every_s,
        )

    def describe(self) -> dict[str, Any]:
        """Return the device with the time that it is up."""
        self.described += 1
        return {**self.facts, "uptime_s": asyncio.get_running_loop().time()}

    def set(self, **facts: object) -> None:
        """Change the device, and say so."""
        self.facts |= facts
        self.telling.changed()

    @property
    def statuses(self) -> list[dict[str, Any]]:
        """Every status that was published."""
        messages = self.link.at(TOPICS.status)
        assert all(message.is_retained and message.qos == 1 for message in messages)
        return [message.data for message in messages]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Publish."""
        running = asyncio.create_task(self.telling.run_loop(), name="telling")
        await asyncio.sleep(0)
        try:
            yield
            assert not running.done()
        finally:
            running.cancel()
            await asyncio.wait({running})


def a_turn(**more: object) -> TurnReport:
    """A turn in which somebody set a timer."""
    report = TurnReport(
        4,
        heard="set a tea timer for my sister Ann",
        confidence=0.91234,
        intent="SetTimer",
        slots={"timer_name": "my sister Ann", "minutes": 3},
        reply="Your timer for my sister Ann is set.",
        reply_heard="Your timer",
        source="intent",
        endpoint=Endpoint(EndpointReason.SILENCE, speech_end_s=1.2, decided_s=1.7, silence_s=0.5),
        timings=Timings(speech_end_s=1.2, endpoint_s=1.7, first_audio_s=1.9),
    )
    for name, value in more.items():
        setattr(report, name, value)
    return report


@in_virtual_time
async def test_a_change_is_told_at_once_and_of_many_the_last() -> None:
    """At most one status a second, and the latest always."""
    rig = Rig()
    async with rig.running():
        await asyncio.sleep(10)
        before = len(rig.statuses)
        rig.set(state="listening")
        await asyncio.sleep(0.01)
        assert rig.statuses[-1]["state"] == "listening"
        for state in ("hearing", "thinking", "speaking", "idle", "hearing"):
            rig.set(state=state)
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.3)
        assert len(rig.statuses) == before + 1
        await asyncio.sleep(0.3)
        assert len(rig.statuses) == before + 2
        assert rig.statuses[-1]["state"] == "hearing"


@in_virtual_time
async def test_a_busy_minute_makes_sixty_statuses() -> None:
    """However often things change."""
    rig = Rig()
    async with rig.running():
        for number in range(6000):
            rig.set(counters=number)
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.0)
    assert 59 <= len(rig.statuses) <= 62
    assert rig.statuses[-1]["counters"] == 5999


@in_virtual_time
async def test_nothing_new_is_not_told_but_for_a_heartbeat() -> None:
    """The time that passes is no news; every five minutes a status goes out all the same."""
    rig = Rig()
    async with rig.running():
        await asyncio.sleep(1)
        assert len(rig.statuses) == 1
        rig.telling.state_changed(State.IDLE, muted=False)
        await asyncio.sleep(290)
        assert len(rig.statuses) == 1
        await asyncio.sleep(60)
        assert len(rig.statuses) == 2
    assert rig.statuses[-1]["uptime_s"] > 300


@in_virtual_time
async def test_what_nobody_reports_is_looked_at() -> None:
    """A temperature that rises is told within half a minute, one that flickers is not."""
    rig = Rig()
    async with rig.running():
        await asyncio.sleep(1)
        for temperature_c in (40.9, 39.4, 40.6, 39.6):
            rig.facts["temperature_c"] = temperature_c
            await asyncio.sleep(30)
        assert [status["temperature_c"] for status in rig.statuses] == [40.0]
        rig.facts["temperature_c"] = 44.4
        await asyncio.sleep(31)
        assert [status["temperature_c"] for status in rig.statuses] == [40.0, 44.0]


@in_virtual_time
async def test_without_a_broker_nothing_is_published_and_at_the_connection_the_present_is_told() -> None:
    """Events wait in the outbox; the status of before is nobody's business."""
    rig = Rig(is_connected=False, metrics_every_s=10)
    async with rig.running():
        rig.set(state="hearing")
        rig.telling.turn_ended(a_turn())
        await asyncio.sleep(400)
        assert rig.link.published == []
        assert len(rig.events.named("turn")) == 1
        rig.set(state="speaking")
        rig.link.set_connected(True)
        await asyncio.sleep(0.1)
        assert [status["state"] for status in rig.statuses] == ["speaking"]
        rig.link.set_connected(False)
        await asyncio.sleep(50)
        rig.link.set_connected(True)
        await asyncio.sleep(1.1)
        assert len(rig.statuses) == 2


@in_virtual_time
async def test_a_broker_that_refuses_is_asked_again() -> None:
    """Once a second, without end, and without a task for each."""
    rig = Rig()
    rig.link.refused.add(TOPICS.status)
    async with rig.running():
        rig.set(state="hearing")
        await asyncio.sleep(20)
        assert rig.statuses == []
        assert rig.described <= 22
        rig.link.refused.clear()
        await asyncio.sleep(2)
        assert [status["state"] for status in rig.statuses] == ["hearing"]


@in_virtual_time
async def test_metrics_come_at_their_interval() -> None:
    """Not retained, at QoS 0; none where the interval is 0."""
    rig, quiet = Rig(metrics_every_s=10), Rig()
    async with rig.running(), quiet.running():
        await asyncio.sleep(35)
    messages = rig.link.at(TOPICS.metrics)
    assert [message.data["tasks"] for message in messages] == [7, 7, 7]
    assert {(message.qos, message.is_retained) for message in messages} == {(0, False)}
    assert quiet.link.at(TOPICS.metrics) == []


@in_virtual_time
async def test_a_turn_is_told_without_its_words() -> None:
    """Not what was said, not what was answered, and of slots the names alone."""
    rig = Rig()
    async with rig.running():
        rig.telling.turn_ended(a_turn())
        await asyncio.sleep(0.1)
    (turn,) = rig.events.named("turn")
    assert turn == {
        "turn": 4,
        "confidence": 0.912,
        "intent": "SetTimer",
        "source": "intent",
        "endpoint": {"reason": "silence", "silence_ms": 500},
        "timings": {
            "speech_end_s": 1.2,
            "endpoint_s": 1.7,
            "asr_s": None,
            "first_token_s": None,
            "first_audio_s": 1.9,
            "done_s": None,
        },
        "interrupted": False,
        "alert": False,
        "slot_names": ["minutes", "timer_name"],
    }
    assert "Ann" not in str(rig.events.recorded) + str(rig.statuses)
    assert rig.statuses[-1]["last_turn_delay_ms"] == 700


def test_where_allowed_a_turn_is_told_with_its_words() -> None:
    """Heard, answered, played, and the slots' values."""
    turn = describe_turn(a_turn(), publish_text=True)
    assert turn["heard"] == "set a tea timer for my sister Ann"
    assert turn["reply"] == "Your timer for my sister Ann is set."
    assert turn["reply_heard"] == "Your timer"
    assert turn["slots"] == {"timer_name": "my sister Ann", "minutes": 3}
    assert "audio" not in turn


@in_virtual_time
async def test_a_change_of_pressure_is_told() -> None:
    """As an event; its reasons may change without a status for each."""
    rig = Rig()
    async with rig.running():
        await asyncio.sleep(2)
        rig.telling.pressure_changed(PressureState(Rung.HOT, ("temperature 82 °C",), Reading(temperature_c=82.0), 0.0))
        rig.set(pressure={"rung": "hot", "reasons": ["temperature 82 °C"]})
        await asyncio.sleep(2)
        rig.set(pressure={"rung": "hot", "reasons": ["temperature 83 °C"]})
        await asyncio.sleep(2)
    assert rig.events.named("pressure") == [{"rung": "hot", "reasons": ["temperature 82 °C"], "temperature_c": 82.0}]
    assert len(rig.statuses) == 2


@in_virtual_time
async def test_faults_are_told_a_few_at_a_time_and_the_rest_by_number() -> None:
    """None is forgotten in the count, also when nothing fails any more."""
    rig = Rig()
    async with rig.running():
        for number in range(100):
            rig.telling.fault(f"fault {number}")
        assert [fault["held_back"] for fault in rig.events.named("fault")] == [0] * 5
        await asyncio.sleep(61)
        told = rig.events.named("fault")
        assert sum(1 + fault["held_back"] for fault in told) == 100
        assert told[-1]["message"] == "fault 99"
        assert len(told) == 6
        status = rig.statuses[-1]
        assert [fault["message"] for fault in status["faults"]] == [f"fault {number}" for number in range(90, 100)]
        assert (status["problem"], status["problems"]) == (True, ["fault"])
        await asyncio.sleep(700)
        assert rig.statuses[-1]["problem"] is False


@in_virtual_time
async def test_a_fault_that_quotes_somebody_is_told_without_that() -> None:
    """Neither in the event nor in the status."""
    rig = Rig()
    async with rig.running():
        rig.telling.partial_heard(1, "call doctor Miller")
        rig.telling.heard(a_turn())
        rig.telling.sentence_ready(1, "Calling the doctor right now")
        for message in (
            "voice: could not render 'Calling the doctor right now'",
            "turn 1 failed: RuntimeError: call doctor Miller",
            "no match for set a tea timer for my sister Ann",
        ):
            rig.telling.fault(message)
        await asyncio.sleep(1)
    everything = str(rig.events.recorded) + str(rig.statuses)
    for word in ("Calling", "Miller", "Ann"):
        assert word not in everything
    assert len(rig.events.named("fault")) == 3


@pytest.mark.parametrize("problems", [[], ["microphone"]])
def test_what_the_device_lacks_is_a_problem(problems: list[str]) -> None:
    """Home Assistant's sensor shows it."""

    async def look() -> dict[str, Any]:
        rig = Rig()
        rig.facts["problems"] = problems
        return rig.telling.status()

    status = asyncio.run(look())
    assert (status["problem"], status["problems"]) == (bool(problems), problems)


def changed_device(
    state: DeviceState, before: DeviceState, reason: str = "", device: Literal["microphone", "speaker"] = "microphone"
) -> DeviceStateChanged:
    """A change of the microphone, or the speaker."""
    return DeviceStateChanged(device, "USB Mic", state, before, reason, 12.34)


@in_virtual_time
async def test_devices_that_fail_and_work_again_are_events() -> None:
    """By what has become of them; a start is none. What was said is in no reason."""
    rig = Rig()
    rig.telling.sentence_ready(1, "call doctor Miller at noon")
    flowing, absent = DeviceState.FLOWING, DeviceState.ABSENT
    for change in (
        changed_device(flowing, DeviceState.OPENING),
        changed_device(absent, flowing, "USB Mic: was lost; call doctor Miller"),
        changed_device(flowing, absent),
        changed_device(DeviceState.SILENT, flowing),
        changed_device(flowing, DeviceState.SILENT),
        changed_device(DeviceState.CLIPPING, flowing),
        changed_device(DeviceState.OPENING, DeviceState.CLIPPING),
        changed_device(DeviceState.READY, DeviceState.UNTRIED, device="speaker"),
        changed_device(DeviceState.STALLED, DeviceState.READY, device="speaker"),
        changed_device(DeviceState.READY, DeviceState.STALLED, device="speaker"),
    ):
        rig.telling.device_changed(change)
    assert [name for name, _ in rig.events.recorded] == [
        "microphone_lost",
        "microphone_back",
        "microphone_silent",
        "microphone_back",
        "microphone_clipping",
        "speaker_lost",
        "speaker_back",
    ]
    lost, back = rig.events.recorded[0][1], rig.events.recorded[1][1]
    assert "Miller" not in str(rig.events.recorded)
    assert {key: back[key] for key in ("device", "state", "before", "lasted_s", "held_back")} == {
        "device": "USB Mic",
        "state": "flowing",
        "before": "absent",
        "lasted_s": 12.3,
        "held_back": 0,
    }
    assert lost["state"] == "absent"


@in_virtual_time
async def test_a_loose_contact_does_not_fill_the_outbox() -> None:
    """A day of it is some hundred events; how many were held back is said. The speaker has its own share."""
    rig = Rig()
    for _ in range(8640):
        rig.telling.device_changed(changed_device(DeviceState.ABSENT, DeviceState.FLOWING))
        await asyncio.sleep(10)
    told = rig.events.named("microphone_lost")
    assert 700 < len(told) < 740
    assert len(told) + sum(event["held_back"] for event in told) > 8600
    rig.telling.device_changed(changed_device(DeviceState.ABSENT, DeviceState.READY, device="speaker"))
    assert len(rig.events.named("speaker_lost")) == 1


@in_virtual_time
async def test_what_the_sound_is_like_at_each_moment_is_no_news() -> None:
    """Its state is; the figures beside it go along."""
    rig = Rig()

    def audio(state: str, number: float) -> dict[str, Any]:
        figures = ("microphone_for_s", "speaker_for_s", "silent_s", "clipped_percent", "offset_percent")
        return {"microphone_state": state, "frames_lost": 0} | dict.fromkeys(figures, number)

    async with rig.running():
        for number in range(8):
            rig.set(audio=audio("flowing", number))
            await asyncio.sleep(2)
        assert len(rig.statuses) == 1
        rig.set(audio=audio("silent", 9))
        await asyncio.sleep(2)
        assert [status["audio"]["silent_s"] for status in rig.statuses] == [0, 9]
