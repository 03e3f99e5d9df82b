"""How the steps and the whole of a field test are judged, and written down."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from edge_agent.app.field.command_steps import judge_commands
from edge_agent.app.field.load_step import Answers, Sample, judge_load
from edge_agent.app.field.report import FieldReport
from edge_agent.app.field.step import Figure, Outcome, StepResult
from edge_agent.config.running import PressureConfig


def part(*, right: bool, answered_ms: int | None = 700) -> dict[str, Figure]:
    """Return how a command of four words went."""
    return {
        "said": "turn on the lamp",
        "heard": "turn on the lamp" if right else None,
        "intent": "TurnOn" if right else None,
        "right": right,
        "word_errors": 0 if right else 4,
        "words": 4,
        "confidence": 0.9,
        "answered_ms": answered_ms if right else None,
        "asr_ms": 100,
    }


@pytest.mark.parametrize(("right", "outcome"), [(10, "pass"), (8, "pass"), (7, "fail"), (0, "fail")])
def test_eight_of_ten_commands_are_enough(right: int, outcome: str) -> None:
    """Fewer are a failure; times are of those that were answered."""
    found = judge_commands([part(right=at < right) for at in range(10)], "a person")
    assert found.outcome == outcome
    assert found.figures["right"] == right
    assert found.figures["word_error_percent"] == 10.0 * (10 - right)
    assert found.figures["answered_p50_ms"] == (700 if right else None)
    assert len(found.parts) == 10


def test_no_command_at_all_is_no_success() -> None:
    """Nothing was shown."""
    assert judge_commands([], "recordings").outcome == "fail"


FIRST = Sample(0.0, 50.0, 0, 100.0, 2000.0, 1000, 5)
LAST = Sample(600.0, 70.0, 0, 101.0, 1990.0, 31_000, 6)


def test_a_load_that_was_borne() -> None:
    """What was lost before does not count; the highest and the least of everything is kept."""
    found = judge_load(
        [FIRST, replace(FIRST, at_s=300.0, temperature_c=74.0), LAST], PressureConfig(), [], Answers(given=7)
    )
    assert found.outcome == "pass", found
    assert found.figures["temperature_highest_c"] == 74.0
    assert (found.figures["frames_heard"], found.figures["frames_lost"]) == (30_000, 1)
    assert found.figures["model_answers"] == 7
    assert found.figures["throttled"] == "0x0"
    assert len(found.parts) == 3


@pytest.mark.parametrize(
    ("last", "faults", "words"),
    [
        (replace(LAST, temperature_c=90.0), [], "too hot"),
        (replace(LAST, throttled=0x50004), [], "slowed down"),
        (replace(LAST, frames_heard=2000), [], "only 1000 of about 30000"),
        (replace(LAST, frames_lost=500), [], "495 frames of sound were lost"),
        (LAST, ["microphone: was lost"], "microphone: was lost"),
    ],
    ids=["hot", "throttled", "deaf", "late", "fault"],
)
def test_a_load_that_was_not(last: Sample, faults: list[str], words: str) -> None:
    """Each reason is said."""
    found = judge_load([FIRST, last], PressureConfig(), faults)
    assert found.outcome == "fail"
    assert words in found.message


def test_a_model_that_never_answers_under_load() -> None:
    """Once is enough; never is a failure with its reason."""
    never = judge_load([FIRST, LAST], PressureConfig(), [], Answers(failed=3, reason="llm is full"))
    assert never.outcome == "fail"
    assert "never answered: llm is full" in never.message
    assert judge_load([FIRST, LAST], PressureConfig(), [], Answers(given=1, failed=3, reason="x")).outcome == "pass"


def test_throttling_in_the_past_is_not_of_this_load() -> None:
    """Bits since the start of the board are shown, and held against nobody."""
    assert judge_load([FIRST, replace(LAST, throttled=0x50000)], PressureConfig(), []).outcome == "pass"


def test_a_machine_without_sensors() -> None:
    """Nothing is made up."""
    blank = {"temperature_c": None, "throttled": None, "available_mib": None}
    found = judge_load([replace(FIRST, **blank), replace(LAST, **blank)], PressureConfig(), [])  # type: ignore[arg-type]
    assert found.outcome == "pass"
    assert found.figures["temperature_highest_c"] is None
    assert found.figures["throttled"] is None


def report(*outcomes: Outcome, is_whole: bool = True) -> FieldReport:
    """Return a report of steps with these outcomes."""
    steps = [StepResult(f"step_{at}", outcome, f"message | {at}") for at, outcome in enumerate(outcomes)]
    began = datetime(2026, 5, 1, 12, 30, tzinfo=UTC)
    return FieldReport("hall", "0.1.0", {"board": "Raspberry Pi 5"}, began, began, True, is_whole, steps)  # noqa: FBT003


@pytest.mark.parametrize(
    ("outcomes", "is_whole", "verdict"),
    [
        (("pass", "pass"), True, "passed"),
        (("pass", "skipped"), True, "incomplete"),
        (("pass", "skipped", "fail"), True, "failed"),
        (("pass",), False, "incomplete"),
        ((), True, "incomplete"),
    ],
)
def test_the_verdict_is_honest(outcomes: tuple[Outcome, ...], is_whole: bool, verdict: str) -> None:
    """What was not done, or not asked for, is never called passed."""
    assert report(*outcomes, is_whole=is_whole).verdict == verdict


def test_both_reports_are_written(tmp_path: Path) -> None:
    """JSON with its schema, Markdown whose table is one; the directory is made."""
    commands = judge_commands([part(right=True), part(right=False)], "recordings")
    whole = replace(report("pass", "skipped"), steps=[*report("pass", "skipped").steps, commands])
    data, text = whole.write(tmp_path / "new")
    tree = json.loads(data.read_text())
    assert (tree["schema"], tree["verdict"], tree["device_id"]) == (1, "failed", "hall")
    assert [step["outcome"] for step in tree["steps"]] == ["pass", "skipped", "fail"]
    assert tree["steps"][2]["parts"][0]["said"] == "turn on the lamp"
    words = text.read_text()
    assert words.startswith("# Field test of hall: failed\n")
    assert "not done: message \\| 1" in words
    assert "| turn on the lamp | turn on the lamp | TurnOn | yes |" in words
    tables = [line for line in words.splitlines() if line.startswith("| said")]
    assert len(tables) == 1


def test_the_summary_for_the_broker_holds_no_words(tmp_path: Path) -> None:
    """Figures, and where the report is; what was said stays on the device."""
    commands = judge_commands([part(right=True)], "a person")
    told = replace(report(), steps=[commands]).summary(tmp_path / "report.json")
    assert told["steps"] == {"commands": "pass"}
    assert told["report"] == str(tmp_path / "report.json")
    assert "lamp" not in json.dumps(told)


def test_many_samples_are_thinned_for_people() -> None:
    """Of hours of load some rows are shown, the last one too; the JSON has all."""
    samples = [replace(LAST, at_s=5.0 * at, frames_heard=1000 + 250 * at) for at in range(1000)]
    load = judge_load(samples, PressureConfig(), [])
    whole = replace(report(), steps=[load])
    rows = [line for line in whole.as_markdown().splitlines() if line.startswith("| ") and "70.0" in line]
    assert 30 < len(rows) < 45
    assert rows[-1].startswith("| 4995.0")
    assert len(whole.as_json()["steps"][0]["parts"]) == 1000
