"""The flight recorder: what it keeps of turns, how much at most, and what it tells to whom."""

from __future__ import annotations

import gc
import json
import logging
from datetime import UTC, datetime, timedelta

import pytest

from edge_agent.app.recorder import FlightRecorder
from edge_agent.audio import HEAR_RATE_HZ, AudioChunk
from edge_agent.config.running import RecorderConfig
from edge_agent.events import Endpoint, EndpointReason
from edge_agent.pipeline.report import Timings, TurnReport

_MIDNIGHT = datetime(2025, 3, 1, tzinfo=UTC)
_SAID = b"\x5a\x17"
"""A sample that nothing else holds."""


class Day:
    """Two clocks that a test turns on; they begin at midnight."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.set_by_s = 0.0

    def monotonic(self) -> float:
        """Return seconds."""
        return 100.0 + self.passed_s

    def now(self) -> datetime:
        """Return the time of day."""
        return _MIDNIGHT + timedelta(seconds=self.passed_s + self.set_by_s)


@pytest.fixture
def day() -> Day:
    """The clocks."""
    return Day()


def recorder_of(day: Day, turns: int = 5, audio_turns: int = 0) -> FlightRecorder:
    """Return a recorder on those clocks."""
    return FlightRecorder(RecorderConfig(turns=turns, audio_turns=audio_turns), day.monotonic, day.now)


def turn_of(number: int, **parts: object) -> TurnReport:
    """Return the report of a turn of four seconds that was answered by intent."""
    report = TurnReport(
        number,
        heard="turn on the lamp",
        confidence=0.91,
        intent="HassTurnOn",
        slots={"name": "lamp"},
        reply="The lamp is on.",
        reply_heard="The lamp is on.",
        source="intent",
        endpoint=Endpoint(EndpointReason.GRAMMAR_COMPLETE, 0.3, 1.5, 1.8, "a whole command"),
        timings=Timings(1.5, 1.8, 0.2, None, 2.25, 4.0),
    )
    report.timeline.mark("asr.preview", 1.66, 1.75, "turn on the lamp")
    for name, value in parts.items():
        setattr(report, name, value)
    return report


def test_a_turn_is_kept_with_times_and_reasons(day: Day) -> None:
    """All of it is plain data."""
    recorder = recorder_of(day)
    day.passed_s = 2.0
    report = turn_of(7, interrupted=True, cut_off_by="speech")
    recorder.heard(report)
    day.passed_s = 3.0
    recorder.turn_ended(report)
    day.passed_s, day.set_by_s = 63.0, -3600.0
    (told,) = recorder.turns(10)
    assert json.loads(json.dumps(told)) == told
    assert told == {
        "turn": 7,
        "at": "2025-03-01T00:00:00.000+00:00",
        "age_s": 63.0,
        "heard": "turn on the lamp",
        "confidence": 0.91,
        "intent": "HassTurnOn",
        "slots": {"name": "lamp"},
        "reply": "The lamp is on.",
        "reply_heard": "The lamp is on.",
        "source": "intent",
        "endpoint": {"reason": "grammar_complete", "silence_ms": 300, "why": "a whole command"},
        "timings": {
            "speech_end_s": 1.5,
            "endpoint_s": 1.8,
            "asr_s": 0.2,
            "first_token_s": None,
            "first_audio_s": 2.25,
            "done_s": 4.0,
        },
        "interrupted": True,
        "cut_off_by": "speech",
        "alert": False,
        "timeline": [{"stage": "asr.preview", "at_s": 1.66, "until_s": 1.75, "detail": "turn on the lamp"}],
        "marks_left_out": 0,
        "faults": [],
        "audio_s": None,
    }


def test_the_last_turns_are_kept_newest_last(day: Day) -> None:
    """The oldest makes room; fewer are told where fewer are asked for."""
    recorder = recorder_of(day, turns=3)
    for number in range(1, 6):
        recorder.turn_ended(turn_of(number))
    assert [turn["turn"] for turn in recorder.turns(100)] == [3, 4, 5]
    assert [turn["turn"] for turn in recorder.turns(2)] == [4, 5]
    assert recorder.turns(0) == []


def test_what_is_told_can_not_change_what_is_kept(day: Day) -> None:
    """Nor can the report, which is the runner's."""
    recorder = recorder_of(day)
    report = turn_of(1)
    recorder.turn_ended(report)
    report.heard = "something else"
    recorder.turns(1)[0]["timeline"].clear()
    (told,) = recorder.turns(1)
    assert told["heard"] == "turn on the lamp"
    assert len(told["timeline"]) == 1


def test_faults_belong_to_the_turn_in_which_they_happened(day: Day) -> None:
    """One before it began does not; one during it does, and not to the next one."""
    recorder = recorder_of(day)
    recorder.fault("before")
    for number in (1, 2):
        day.passed_s += 10.0
        recorder.heard(turn_of(number))
        if number == 1:
            day.passed_s += 1.0
            recorder.fault("during")
        day.passed_s += 1.0
        recorder.turn_ended(turn_of(number))
    assert [turn["faults"] for turn in recorder.turns(2)] == [["during"], []]


def test_a_turn_that_nobody_spoke_began_when_it_was_opened(day: Day) -> None:
    """An announcement has its length alone to tell by."""
    recorder = recorder_of(day)
    day.passed_s = 10.0
    recorder.turn_ended(TurnReport(1, reply="Ding.", alert=True, timings=Timings(done_s=4.0)))
    (told,) = recorder.turns(1)
    assert (told["at"], told["age_s"]) == ("2025-03-01T00:00:06.000+00:00", 4.0)
    assert (told["alert"], told["endpoint"], told["heard"]) == (True, None, None)


def test_a_record_has_a_bound(day: Day) -> None:
    """Texts are cut, and of marks, slots and faults the first are kept, or the last."""
    recorder = recorder_of(day, turns=1)
    report = turn_of(
        1,
        heard="h" * 10_000,
        reply="r" * 501,
        reply_heard="p" * 500,
        cut_off_by="c" * 1000,
        slots={f"slot {number}": "s" * 2000 for number in range(100)},
        endpoint=Endpoint(EndpointReason.SILENCE, 0.5, 1.0, 1.5, "w" * 1000),
    )
    report.timeline.marks.clear()
    for number in range(100):
        report.timeline.mark("m" * 1000, float(number), detail="d" * 1000)
        recorder.fault(f"{number} " + "f" * 1000)
    recorder.turn_ended(report)
    (told,) = recorder.turns(1)
    assert told["heard"] == "h" * 499 + "…"
    assert told["reply"] == "r" * 499 + "…"
    assert told["reply_heard"] == "p" * 500
    assert [len(told["cut_off_by"]), len(told["endpoint"]["why"])] == [160, 160]
    assert len(told["slots"]) == 16
    assert {len(value) for value in told["slots"].values()} == {500}
    assert (len(told["timeline"]), told["marks_left_out"]) == (64, 36)
    assert {len(mark[name]) for mark in told["timeline"] for name in ("stage", "detail")} == {160}
    assert [fault.split()[0] for fault in told["faults"]] == [str(number) for number in range(92, 100)]
    assert {len(fault) for fault in told["faults"]} == {160}
    assert len(json.dumps(told)) < 50_000


def test_a_turn_that_never_ends_leaves_nothing_behind(day: Day) -> None:
    """Noise that was no utterance, a thousand times over, with and without a transcript."""
    recorder = recorder_of(day, audio_turns=1)
    for number in range(1, 1000):
        recorder.note_audio(number, AudioChunk(_SAID * 100, HEAR_RATE_HZ))
        recorder.heard(turn_of(number))
    assert held_bytes(recorder) <= 2 * 200
    recorder.turn_ended(turn_of(1000))
    assert held_bytes(recorder) == 0
    assert recorder.audio(999) is None


def held_bytes(recorder: FlightRecorder) -> int:
    """Return how many bytes of what was said can be reached from the recorder."""
    seen: set[int] = set()
    waiting: list[object] = [vars(recorder)]
    total = 0
    while waiting:
        found = waiting.pop()
        if id(found) in seen or isinstance(found, type) or callable(found):
            continue
        seen.add(id(found))
        if isinstance(found, bytes | bytearray):
            total += found.count(_SAID) * len(_SAID)
        waiting += gc.get_referents(found)
    return total


@pytest.mark.parametrize("turns", [5, 0])
def test_no_audio_is_held_unless_it_is_asked_for(day: Day, turns: int) -> None:
    """Not for a moment, whether turns are kept or not."""
    recorder = recorder_of(day, turns, 0)
    assert not recorder.keeps_audio
    recorder.note_audio(1, AudioChunk(_SAID * 160, HEAR_RATE_HZ))
    assert held_bytes(recorder) == 0
    recorder.turn_ended(turn_of(1))
    assert held_bytes(recorder) == 0
    assert recorder.audio(1) is None


def test_audio_that_is_asked_for_is_kept_with_its_turn(day: Day) -> None:
    """What was heard, whole, of so many turns; an announcement has none."""
    recorder = recorder_of(day, turns=3, audio_turns=2)
    assert recorder.keeps_audio
    for number in (1, 2, 3):
        for piece in range(3):
            recorder.note_audio(number, AudioChunk(_SAID * 160 * (piece + number), HEAR_RATE_HZ))
        assert recorder.audio(number) is None, "the turn is not over"
        recorder.turn_ended(turn_of(number))
    assert recorder.audio(1) is None
    assert recorder.audio(3) == AudioChunk(_SAID * 160 * 12, HEAR_RATE_HZ)
    assert [turn["audio_s"] for turn in recorder.turns(3)] == [None, 0.09, 0.12]
    for number in (4, 5):
        recorder.turn_ended(turn_of(number))
    assert [turn["audio_s"] for turn in recorder.turns(3)] == [0.12, None, None]
    assert recorder.audio(2) is None, "its turn is gone, and so is what was said in it"
    assert held_bytes(recorder) == 160 * 12 * 2


def test_a_turn_that_is_cut_off_by_the_next_keeps_its_audio(day: Day) -> None:
    """The next one is being heard already when it ends."""
    recorder = recorder_of(day, audio_turns=5)
    recorder.note_audio(1, AudioChunk(_SAID * 160, HEAR_RATE_HZ))
    recorder.note_audio(2, AudioChunk(_SAID * 320, HEAR_RATE_HZ))
    recorder.turn_ended(turn_of(1))
    recorder.note_audio(2, AudioChunk(_SAID * 320, HEAR_RATE_HZ))
    recorder.turn_ended(turn_of(2))
    assert [turn["audio_s"] for turn in recorder.turns(2)] == [0.01, 0.04]


def test_audio_of_one_turn_has_a_bound(day: Day) -> None:
    """The longest utterance that there can be."""
    recorder = recorder_of(day, audio_turns=1)
    for _ in range(100):
        recorder.note_audio(1, AudioChunk(_SAID * HEAR_RATE_HZ, HEAR_RATE_HZ))
    recorder.turn_ended(turn_of(1))
    audio = recorder.audio(1)
    assert audio is not None
    assert audio.duration_s == 62.0


def test_a_recorder_that_is_off_keeps_nothing(day: Day) -> None:
    """It says so."""
    recorder = recorder_of(day, turns=0)
    recorder.heard(turn_of(1))
    recorder.fault("fault")
    recorder.turn_ended(turn_of(1))
    assert not recorder.keeps_turns
    assert recorder.turns(10) == []
    recorder.dump()


def dumped(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    """Return the turns in the log."""
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert all(line.startswith("turn {") and "\n" not in line for line in lines)
    return [json.loads(line.removeprefix("turn ")) for line in lines]


def test_a_crash_leaves_the_last_five_turns_in_the_log_without_what_was_said(
    day: Day, caplog: pytest.LogCaptureFixture
) -> None:
    """Times, reasons' names and the names of slots are there; nothing that somebody or the agent said is."""
    recorder = recorder_of(day, turns=9)
    for number in range(1, 8):
        recorder.fault("could not render 'The lamp'")
        recorder.turn_ended(turn_of(number))
    with caplog.at_level(logging.INFO, "edge_agent"):
        recorder.dump()
    found = dumped(caplog)
    assert [turn["turn"] for turn in found] == [3, 4, 5, 6, 7]
    assert "lamp" not in caplog.text.lower()
    assert "a whole command" not in caplog.text
    assert found[-1]["slots"] == ["name"]
    assert found[-1]["faults"] == 7
    assert found[-1]["endpoint"] == {"reason": "grammar_complete", "silence_ms": 300}
    assert found[-1]["timeline"] == [{"stage": "asr.preview", "at_s": 1.66, "until_s": 1.75}]


def test_a_crash_at_level_debug_leaves_everything(day: Day, caplog: pytest.LogCaptureFixture) -> None:
    """Who logs at that level wants to know."""
    recorder = recorder_of(day)
    recorder.turn_ended(turn_of(1))
    with caplog.at_level(logging.DEBUG, "edge_agent"):
        recorder.dump()
    assert dumped(caplog) == recorder.turns(1)


def test_coughs_do_not_cost_the_answered_turn_its_audio(day: Day) -> None:
    """Two utterances that were dismissed meanwhile make room for each other, not for the turn that goes on."""
    recorder = recorder_of(day, turns=3, audio_turns=2)
    for number in (1, 2, 3):
        recorder.note_audio(number, AudioChunk(_SAID * 160, HEAR_RATE_HZ))
    recorder.turn_ended(turn_of(1))
    assert recorder.audio(1) is not None


def test_what_is_kept_can_be_changed(day: Day) -> None:
    """Fewer turns go at once, and audio that is not wanted any more; more find room from then on."""
    recorder = recorder_of(day, turns=3, audio_turns=3)
    for number in range(3):
        recorder.note_audio(number, AudioChunk(_SAID, HEAR_RATE_HZ))
        recorder.turn_ended(turn_of(number))
    recorder.note_audio(3, AudioChunk(_SAID, HEAR_RATE_HZ))
    recorder.configure(RecorderConfig(turns=2, audio_turns=1))
    assert [turn["turn"] for turn in recorder.turns(9)] == [1, 2]
    assert (recorder.audio(1), recorder.audio(2) is None) == (None, False)
    recorder.configure(RecorderConfig(turns=2))
    recorder.turn_ended(turn_of(3))
    assert [recorder.audio(number) for number in range(4)] == [None] * 4
    recorder.configure(RecorderConfig(turns=5))
    recorder.turn_ended(turn_of(4))
    assert [turn["turn"] for turn in recorder.turns(9)] == [2, 3, 4]
