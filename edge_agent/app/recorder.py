"""The flight recorder: the last turns with their times and reasons, in memory, for `status --turns` and for a crash."""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from edge_agent.audio import SAMPLE_BYTES, AudioChunk
from edge_agent.pipeline.observer import SilentObserver
from edge_agent.pipeline.timeline import MOST_MARKS

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.config.running import RecorderConfig
    from edge_agent.pipeline.report import TurnReport

_log = logging.getLogger(__name__)

_TEXT_CHARS = 500
"""Of what was heard, of a reply and of a slot's value; longer ones end in an ellipsis."""
_REASON_CHARS = 160
"""Of a reason, a mark's detail and a fault."""
_MOST_SLOTS = 16
_MOST_FAULTS = 8
_MOST_AUDIO_S = 62.0
"""The longest utterance that the configuration allows, with the longest pre-roll."""
_TURNS_UNDER_WAY = 2
"""One that is being cut off, and the one that cut it off."""
_DUMPED = 5


@dataclass(frozen=True, slots=True)
class _Recorded:
    """A finished turn; the record is JSON, which is compact and which nobody can change afterwards."""

    turn: int
    began_s: float
    record: bytes


@dataclass(slots=True)
class _Recording:
    """What was heard so far of a turn under way."""

    rate_hz: int
    pcm: bytearray


class FlightRecorder(SilentObserver):
    """Keeps the last `config.turns` turns, and, only where asked to, the audio of the last `config.audio_turns`.

    Nothing is written to disk. Belongs to the loop; each call takes well under a millisecond.

    Args:
        config: How many turns, and of how many the audio. The audio of a turn that is no longer kept is not kept.
        clock: Monotonic seconds.
        now: The time of day.
    """

    def __init__(
        self,
        config: RecorderConfig,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self._clock = clock
        self._now = now
        self._turns: deque[_Recorded] = deque(maxlen=config.turns)
        self._most_audio = min(config.audio_turns, config.turns)
        self._began: dict[int, float] = {}
        self._faults: deque[tuple[float, str]] = deque(maxlen=_MOST_FAULTS)
        self._hearing: dict[int, _Recording] = {}
        self._audio: dict[int, AudioChunk] = {}

    def configure(self, config: RecorderConfig) -> None:
        """Keep so much from now on; what is more than that is forgotten at once."""
        self._turns = deque(self._turns, maxlen=config.turns)
        self._most_audio = min(config.audio_turns, config.turns)
        _keep_newest(self._audio, self._most_audio)
        kept = {recorded.turn for recorded in self._turns}
        self._audio = {turn: chunk for turn, chunk in self._audio.items() if turn in kept}
        if not self.keeps_audio:
            self._hearing.clear()

    @property
    def keeps_turns(self) -> bool:
        """True unless `recorder.turns` is 0."""
        return self._turns.maxlen != 0

    @property
    def keeps_audio(self) -> bool:
        """True where what people say is kept: someone has asked for it."""
        return self._most_audio > 0

    def heard(self, report: TurnReport) -> None:
        """Note when the turn began: what was heard is known at the endpoint and after recognition."""
        timings = report.timings
        if self.keeps_turns:
            self._began[report.turn] = self._clock() - (timings.endpoint_s or 0.0) - (timings.asr_s or 0.0)
            _make_room(self._began, _TURNS_UNDER_WAY)

    def fault(self, message: str) -> None:
        """Note a fault, for the turn during which it happened."""
        if self.keeps_turns:
            self._faults.append((self._clock(), _cut(message, _REASON_CHARS)))

    def note_audio(self, turn_id: int, chunk: AudioChunk) -> None:
        """Keep a further piece of the utterance of `turn_id`, up to 62 s; does nothing unless audio is to be kept."""
        if not self.keeps_audio:
            return
        recording = self._hearing.get(turn_id)
        if recording is None:
            recording = self._hearing[turn_id] = _Recording(chunk.rate_hz, bytearray())
            _make_room(self._hearing, _TURNS_UNDER_WAY)
        room = int(_MOST_AUDIO_S * recording.rate_hz) * SAMPLE_BYTES - len(recording.pcm)
        recording.pcm += chunk.pcm[: max(0, room)]

    def turn_ended(self, report: TurnReport) -> None:
        """Keep the turn; the oldest makes room."""
        if not self.keeps_turns:
            return
        ended_s = self._clock()
        began_s = self._began.pop(report.turn, ended_s - (report.timings.done_s or 0.0))
        faults = [message for at_s, message in self._faults if at_s >= began_s]
        at = self._now() - timedelta(seconds=ended_s - began_s)
        record = {"turn": report.turn, "at": at.isoformat(timespec="milliseconds"), **_plain(report), "faults": faults}
        self._turns.append(_Recorded(report.turn, began_s, json.dumps(record).encode()))
        self._keep_audio(report.turn)

    def turns(self, last: int) -> list[dict[str, Any]]:
        """Return the last turns, `last` at most, newest last, as plain data: what `converse --json` prints, and more.

        `at` is when the turn began, by the clock of that time, and `age_s` how long ago that is, whatever the clock
        was set to since. Times in `timings` and `timeline` count from the turn's first input sample. `audio_s` is the
        length of the audio that is kept; None without.
        """
        now_s = self._clock()
        chosen = list(self._turns)[-last:] if last > 0 else []
        return [self._told(recorded, now_s) for recorded in chosen]

    def audio(self, turn_id: int) -> AudioChunk | None:
        """Return what was heard in a turn; None where that is not kept."""
        return self._audio.get(turn_id)

    def dump(self) -> None:
        """Log the last five turns as errors, a line of JSON each, for whoever looks into a crash.

        Texts, and reasons and faults, which may quote them, are left out unless the log's level is debug.
        """
        with_texts = _log.isEnabledFor(logging.DEBUG)
        for turn in self.turns(_DUMPED):
            shown = turn if with_texts else _without_texts(turn)
            _log.error("turn %s", json.dumps(shown, ensure_ascii=False, separators=(",", ":")))

    def _keep_audio(self, turn_id: int) -> None:
        recording = self._hearing.pop(turn_id, None)
        for older in [other for other in self._hearing if other < turn_id]:
            del self._hearing[older]  # what began as an utterance and was none
        if recording is not None:
            self._audio[turn_id] = AudioChunk(bytes(recording.pcm), recording.rate_hz)
            _keep_newest(self._audio, self._most_audio)
        if self._audio:
            kept = {recorded.turn for recorded in self._turns}
            self._audio = {turn: chunk for turn, chunk in self._audio.items() if turn in kept}

    def _told(self, recorded: _Recorded, now_s: float) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(recorded.record)
        audio = self._audio.get(recorded.turn)
        told["age_s"] = round(now_s - recorded.began_s, 1)
        told["audio_s"] = None if audio is None else round(audio.duration_s, 3)
        return told


def _plain(report: TurnReport) -> dict[str, Any]:
    """Return what is kept of a report, texts cut."""
    plain = report.as_json()
    del plain["audio"]  # the file of a reply, which a service has not
    endpoint = report.endpoint
    slots = list(report.slots.items())[:_MOST_SLOTS]
    return {
        **plain,
        "heard": _cut(report.heard, _TEXT_CHARS),
        "slots": {_cut(name, _REASON_CHARS): _cut(value, _TEXT_CHARS) for name, value in slots},
        "reply": _cut(report.reply, _TEXT_CHARS),
        "reply_heard": _cut(report.reply_heard, _TEXT_CHARS),
        "cut_off_by": _cut(report.cut_off_by, _REASON_CHARS),
        "alert": report.alert,
        "endpoint": endpoint and {**plain["endpoint"], "why": _cut(endpoint.why, _REASON_CHARS)},
        "timeline": [
            {name: _cut(value, _REASON_CHARS) for name, value in mark.as_json().items()}
            for mark in report.timeline.marks[:MOST_MARKS]
        ],
        "marks_left_out": report.timeline.left_out + max(0, len(report.timeline.marks) - MOST_MARKS),
    }


def _without_texts(turn: dict[str, Any]) -> dict[str, Any]:
    """Leave out what was said on both sides, and prose, which may quote it; slots keep their names."""
    endpoint = turn["endpoint"]
    return {
        **{name: value for name, value in turn.items() if name not in {"heard", "reply", "reply_heard"}},
        "slots": list(turn["slots"]),
        "endpoint": endpoint and {name: value for name, value in endpoint.items() if name != "why"},
        "timeline": [{name: value for name, value in mark.items() if name != "detail"} for mark in turn["timeline"]],
        "faults": len(turn["faults"]),
    }


def _cut(value: Any, most: int) -> Any:  # noqa: ANN401 - whatever a record holds
    if isinstance(value, str) and len(value) > most:
        return value[: most - 1] + "…"
    return value


def _make_room(entries: dict[int, Any], most: int) -> None:
    """Keep the turn that is answered, which is the oldest, and the newest; what was between was dismissed."""
    while len(entries) > most:
        del entries[sorted(entries)[1]]


def _keep_newest(entries: dict[int, Any], most: int) -> None:
    while len(entries) > most:
        del entries[min(entries)]
