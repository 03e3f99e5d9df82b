"""What counts as flat."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from edge_agent.bench.result import Findings
from edge_agent.bench.soak_commands import COMMANDS, Asked
from edge_agent.bench.soak_looks import Counted, Look
from edge_agent.bench.soak_notify import Told
from edge_agent.bench.soak_report import Soak, increase, report

if TYPE_CHECKING:
    from collections.abc import Callable

_MIB = 2**20
_LENGTH_S = 1800.0
_WELL = Counted(frames_lost=0, underruns=0, microphone_reopened=0, faults=0, turns=0, tasks=12, lag_p99_ms=4.0)


def look(at_s: float) -> Look:
    """The tree of a service that does well."""
    return Look(
        at_s=at_s,
        processes=3,
        rss_bytes=200 * _MIB,
        pss_bytes=150 * _MIB,
        own_bytes=140 * _MIB,
        standing=2,
        threads=20,
        descriptors=40,
        cpu_s=0.1 * at_s,
        disk_bytes=_MIB,
        counted=_WELL,
    )


def asked(at_s: float, delay_s: float = 0.35) -> Asked:
    """A command that was answered rightly."""
    turn = {
        "heard": COMMANDS[0].text,
        "intent": COMMANDS[0].intent,
        "reply": "It's noon.",
        "interrupted": False,
        "timings": {"speech_end_s": 1.0, "first_audio_s": 1.0 + delay_s},
    }
    return Asked(COMMANDS[0], at_s, [turn])


def soak(**other: object) -> Soak:
    """Half an hour without a fault, but for what is said otherwise."""
    told = Told(ready_at_s=0.0, fed_at_s=[10.0 * number for number in range(1, 180)])
    well = Soak(
        began_s=0.0,
        ended_s=_LENGTH_S,
        looks=[look(5.0 * number) for number in range(360)],
        asked=[asked(20.0 * number) for number in range(90)],
        unasked=0,
        told=told,
        watchdog_s=30.0,
        ready_s=1.5,
        stopped_s=0.4,
        exit_status=0,
    )
    return replace(well, **other)  # type: ignore[arg-type]


def unmet(seen: Soak) -> set[str]:
    """Names of the goals that are not met."""
    findings = Findings()
    report(findings, seen)
    assert findings.document("soak")["results"]
    return {result.name.removeprefix("soak_service.") for result in findings.results if result.met is False}


def with_looks(change: Callable[[int, Look], Look]) -> list[Look]:
    """Every look as `change` makes it of its number and itself."""
    return [change(number, look(5.0 * number)) for number in range(360)]


def test_a_service_that_does_well_meets_all_goals() -> None:
    """And its figures are those that were seen."""
    findings = Findings()
    report(findings, soak())
    assert unmet(soak()) == set()
    assert findings.value("soak_service.memory_slope_kib_per_hour") == pytest.approx(0.0)
    assert findings.value("soak_service.commands") == 90
    assert findings.value("soak_service.commands_right") == 1.0
    assert findings.value("soak_service.watchdog_longest_gap_s") == 10.0
    assert findings.value("soak_service.delay_p50_ms") == pytest.approx(350)
    assert findings.value("soak_service.cpu_percent") == pytest.approx(10)
    assert findings.value("soak_service.peak_pss_mib") == 150


def test_a_leak_is_no_flat_line() -> None:
    """64 KiB a command are 11 MiB an hour."""
    leak = with_looks(lambda number, seen: replace(seen, own_bytes=seen.own_bytes + number * 16 * 1024))
    assert unmet(soak(looks=leak)) == {"memory_slope_kib_per_hour"}


def test_what_grows_in_the_warm_up_only_is_flat() -> None:
    """Seven and a half minutes: caches fill, pools grow."""
    begins = with_looks(lambda number, seen: replace(seen, own_bytes=min(number, 90) * _MIB, threads=min(number, 20)))
    assert unmet(soak(looks=begins)) == set()


@pytest.mark.parametrize("what", ["threads", "descriptors"])
def test_one_more_every_few_minutes_is_growth(what: str) -> None:
    """Of whatever it is."""
    grows = with_looks(lambda number, seen: replace(seen, **{what: getattr(seen, what) + number // 60}))
    assert unmet(soak(looks=grows)) == {f"{what}_grown"}


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("frames_lost", "lost_frames"),
        ("underruns", "underruns"),
        ("microphone_reopened", "microphone_reopened"),
        ("faults", "faults"),
    ],
)
def test_a_single_fault_is_told(what: str, name: str) -> None:
    """Those before it was ready are not the soak's."""
    later = replace(_WELL, **{what: 1})
    once = with_looks(lambda number, seen: replace(seen, counted=later if number > 200 else _WELL))
    assert unmet(soak(looks=once)) == {name}
    always = with_looks(lambda _, seen: replace(seen, counted=later))
    assert unmet(soak(looks=always)) == set()


def test_a_count_that_begins_anew_has_not_shrunk() -> None:
    """A speaker that was opened again counts from 0."""
    assert increase([2, 3, 0, 1]) == 2
    assert increase([]) == 0


def test_a_watchdog_that_waits_too_long_is_missed() -> None:
    """Also at the end; and one that never comes is no success."""
    told = Told(ready_at_s=0.0, fed_at_s=[10.0 * number for number in range(1, 170)])
    assert unmet(soak(told=told)) == {"watchdog_misses", "watchdog_longest_gap_s"}
    assert unmet(soak(told=Told(ready_at_s=0.0))) == {"watchdog_misses", "watchdog_longest_gap_s"}


def test_commands_without_an_answer_and_wrong_ones() -> None:
    """One in ninety may be misheard, none may be left without an answer."""
    commands = [asked(20.0 * number) for number in range(90)]
    commands[40].turns[0]["intent"] = "GetDate"
    assert unmet(soak(asked=commands)) == set()
    commands[41].turns.clear()
    assert unmet(soak(asked=commands)) == {"commands_unanswered"}


def test_answers_that_come_later_and_later() -> None:
    """By more than a tenth."""
    late = [asked(20.0 * number, 0.3 + 0.001 * number) for number in range(90)]
    assert unmet(soak(asked=late)) == {"delay_last_vs_first"}


def test_a_service_that_died_is_told() -> None:
    """With what it said, and with the figures until then."""
    dead = soak(death="ended with status -9; the last line of its log: listening", exit_status=-9, stopped_s=None)
    findings = Findings()
    report(findings, dead)
    assert {"ended_by_itself", "stop_s"} <= unmet(dead)
    assert "the service ended with status -9; the last line of its log: listening" in findings.notes
