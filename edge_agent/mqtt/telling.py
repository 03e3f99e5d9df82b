"""Tells the broker how the device is: status when it changes, figures from time to time, events as they happen."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from edge_agent.errors import FaultError
from edge_agent.mqtt.device_events import DeviceEvents
from edge_agent.mqtt.failures import NotConnectedError
from edge_agent.mqtt.redaction import Redactor
from edge_agent.mqtt.sending import Connected
from edge_agent.pipeline.observer import SilentObserver
from edge_agent.runtime.rates import RateLimiter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.events import DeviceStateChanged
    from edge_agent.mqtt.sending import Link
    from edge_agent.mqtt.topics import Topics
    from edge_agent.pipeline.commands import State
    from edge_agent.pipeline.report import TurnReport
    from edge_agent.runtime.pressure import PressureState

_log = logging.getLogger(__name__)

_LEAST_S = 1.0
"""Between two statuses."""
_LOOK_EVERY_S = 30.0
"""What nobody reports, such as the temperature, is looked at so often."""
_HEARTBEAT_S = 300.0
"""A status at least so often: whoever watches may take an older one for a device that hangs."""
_PUBLISH_S = 30.0
_AGAIN_S = 1.0
_FAULTS = 10
_FAULT_BURST = 5
_FAULTS_PER_S = 1 / 30
_PROBLEM_S = 600.0
"""So long after a fault the device counts as having a problem."""
_WARMER_C = 1.0
"""Less than this is no change."""
_PASSING = frozenset({"microphone_for_s", "speaker_for_s", "silent_s", "clipped_percent", "offset_percent"})
"""What the status says of the sound that is different at every look."""


class EventRecorder(Protocol):
    """Takes events to the broker, sooner or later; the outbox."""

    def record(self, name: str, data: Mapping[str, Any]) -> None:
        """Queue one event; never waits."""
        ...


class Telling(SilentObserver):
    """Publishes `status` and `metrics`, and hands over events. Belongs to the loop.

    Events are `turn`, `pressure`, `fault`, and those of microphone and speaker: `microphone_lost`, `speaker_back` …

    A status goes out when it differs from the last one, at most once a second, the latest always; at every connection,
    and every five minutes. While there is no connection nothing is published, and events wait in the outbox.

    Args:
        describe: Returns the status without what is told here: faults, problem, and the last turn's delay.
        report: Returns the figures; takes a few milliseconds.
        publish_text: What was said and answered may be told.
        metrics_every_s: Between two reports; 0: none.
    """

    def __init__(
        self,
        link: Link,
        topics: Topics,
        events: EventRecorder,
        *,
        describe: Callable[[], Mapping[str, Any]],
        report: Callable[[], Mapping[str, Any]],
        publish_text: bool,
        metrics_every_s: float,
    ) -> None:
        self._link = link
        self._topics = topics
        self._events = events
        self._describe = describe
        self._report = report
        self._publish_text = publish_text
        self._metrics_every_s = metrics_every_s
        self._redactor = Redactor(keeps_text=publish_text)
        self._rates = RateLimiter("fault events", _FAULT_BURST, _FAULTS_PER_S, 1, self._now_s)
        self._devices = DeviceEvents(events.record, self._redactor.clean, self._now_s)
        self._held_back = 0
        self._faults: deque[tuple[float, str, str]] = deque(maxlen=_FAULTS)
        self._delay_ms: int | None = None
        self._changed = asyncio.Event()
        self._changed.set()  # a first status goes out as soon as it can
        self._must = True
        self._sent: dict[str, Any] = {}
        self._sent_s: float | None = None
        self._temperature_c: float | None = None
        self._connected = Connected(link)
        self._connected.on_connect = self._tell_anyway

    async def run_loop(self) -> None:
        """Publish until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._status_loop(), name="mqtt.telling.status")
            if self._metrics_every_s > 0:
                tasks.create_task(self._metrics_loop(), name="mqtt.telling.metrics")

    def changed(self) -> None:
        """Something of the status may have changed."""
        self._changed.set()

    def status(self) -> dict[str, Any]:
        """Return the status as it is published."""
        described = dict(self._describe())
        problems = [*described.pop("problems", ())]
        if any(self._now_s() - at_s < _PROBLEM_S for at_s, _, _ in self._faults):
            problems.append("fault")
        return {
            **described,
            "temperature_c": self._steady(described.get("temperature_c")),
            "last_turn_delay_ms": self._delay_ms,
            "problem": bool(problems),
            "problems": problems,
            "faults": [{"at": at, "message": message} for _, at, message in self._faults],
        }

    def state_changed(self, state: State, *, muted: bool) -> None:
        """Tell the new state."""
        self.changed()

    def partial_heard(self, turn_id: int, text: str) -> None:
        """Know what must not be told."""
        self._redactor.note(text)

    def heard(self, report: TurnReport) -> None:
        """Know what must not be told."""
        self._redactor.note(report.heard)

    def sentence_ready(self, turn_id: int, sentence: str) -> None:
        """Know what must not be told."""
        self._redactor.note(sentence)

    def turn_ended(self, report: TurnReport) -> None:
        """Hand the turn over as an event."""
        self._redactor.note(report.reply)
        timings = report.timings
        if timings.first_audio_s is not None and timings.speech_end_s is not None:
            self._delay_ms = round(1000 * max(0.0, timings.first_audio_s - timings.speech_end_s))
        self._events.record("turn", describe_turn(report, publish_text=self._publish_text))
        self.changed()

    def fault(self, message: str) -> None:
        """Tell a fault, cleaned; of many in a short time their number."""
        cleaned = self._redactor.clean(message)
        self._faults.append((self._now_s(), _now(), cleaned))
        if self._rates.allow(""):
            self._record_fault(cleaned)
        else:
            self._held_back += 1
        self.changed()

    def pressure_changed(self, pressure: PressureState) -> None:
        """Hand the change over as an event."""
        self._events.record(
            "pressure",
            {
                "rung": pressure.rung.label,
                "reasons": list(pressure.reasons),
                "temperature_c": pressure.reading.temperature_c,
            },
        )
        self.changed()

    def device_changed(self, change: DeviceStateChanged) -> None:
        """Hand over that a device fails, and that it works again; not that it works for the first time."""
        self.changed()
        self._devices.tell(change)

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def _tell_anyway(self) -> None:
        self._must = True
        self._changed.set()

    def _record_fault(self, message: str) -> None:
        held_back, self._held_back = self._held_back, 0
        self._events.record("fault", {"message": message, "held_back": held_back})

    def _tell_held_back(self) -> None:
        """Tell of faults that were held back when nothing has failed since."""
        if self._held_back and self._rates.allow(""):
            self._held_back -= 1
            self._record_fault(self._faults[-1][2])

    def _steady(self, temperature_c: float | None) -> float | None:
        """Round, and keep what was told before where the difference is small."""
        if temperature_c is None:
            self._temperature_c = None
        elif self._temperature_c is None or abs(temperature_c - self._temperature_c) >= _WARMER_C:
            self._temperature_c = float(round(temperature_c))
        return self._temperature_c

    async def _status_loop(self) -> NoReturn:
        while True:
            try:
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await self._changed.wait()
            except TimeoutError:
                self._tell_held_back()
            await self._connected.up()
            if self._sent_s is not None and (wait_s := self._sent_s + _LEAST_S - self._now_s()) > 0:
                await asyncio.sleep(wait_s)
            self._changed.clear()
            if not await self._tell_status():
                self._changed.set()
                await asyncio.sleep(_AGAIN_S)

    async def _tell_status(self) -> bool:
        """Publish the status where there is something new; return False where that failed."""
        status = self.status()
        lasting = _lasting(status)
        is_due = self._must or self._sent_s is None or self._now_s() - self._sent_s >= _HEARTBEAT_S
        if not is_due and lasting == self._sent:
            return True
        self._must = False
        began_s = self._now_s()
        if not await self._publish(self._topics.status, status, qos=1, retain=True):
            self._must = True
            return False
        self._sent, self._sent_s = lasting, began_s
        return True

    async def _metrics_loop(self) -> NoReturn:
        while True:
            await asyncio.sleep(self._metrics_every_s)
            if self._connected.is_up:
                await self._publish(self._topics.metrics, {"at": _now(), **self._report()}, qos=0, retain=False)

    async def _publish(self, topic: str, data: Mapping[str, Any], *, qos: int, retain: bool) -> bool:
        payload = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(
            "utf-8", "replace"
        )
        try:
            async with asyncio.timeout(_PUBLISH_S):
                await self._link.publish(topic, payload, qos=qos, retain=retain)
        except NotConnectedError:
            return False
        except (FaultError, TimeoutError) as error:
            _log.warning("%s is not published: %s", topic, str(error) or "the broker does not answer")
            return False
        return True


def describe_turn(report: TurnReport, *, publish_text: bool) -> dict[str, Any]:
    """Return a turn as its event tells it; texts and values of slots, which may be words too, only where allowed."""
    turn = report.as_json()
    told = {key: turn[key] for key in ("turn", "confidence", "intent", "source", "endpoint", "timings", "interrupted")}
    told |= {"alert": report.alert, "slot_names": sorted(report.slots)}
    if publish_text:
        told |= {key: turn[key] for key in ("heard", "reply", "slots")} | {"reply_heard": report.reply_heard}
    return told


def _lasting(status: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is different at every look: a status is not published for that."""
    pressure, audio = status.get("pressure"), status.get("audio") or {}
    return {
        **status,
        "uptime_s": None,
        "pressure": pressure and pressure.get("rung"),
        "audio": {key: value for key, value in audio.items() if key not in _PASSING},
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
