"""What rings, for how long, what is missed, and what a clock that is set does to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zone_clock import ZoneClock

from edge_agent.reason.alarms import Alarm, AlarmBook
from edge_agent.reason.bell import Bell, BellTimes, Missed, Ringer
from edge_agent.reason.clock_watch import ClockWatch
from edge_agent.reason.recurrence import EVERY_DAY
from edge_agent.reason.timers import Timer, TimerBook

SEVEN = datetime.fromisoformat("2026-03-04 07:00")


class Board:
    """A clock, books and a bell."""

    def __init__(self, local: str = "2026-03-04 06:00") -> None:
        self.clock = ZoneClock(local, "Europe/Berlin")
        self.timers, self.alarms = TimerBook(self.clock), AlarmBook(self.clock)
        self.bell = Bell(self.clock, self.timers, self.alarms, BellTimes())
        self.changes = 0
        self.bell.on_change = self.changed

    def changed(self) -> None:
        """Count."""
        self.changes += 1

    def ringing(self) -> list[Ringer]:
        """What rings now."""
        return list(self.bell.ringing)

    def pass_time(self, seconds: float) -> bool:
        """Let time pass, and look."""
        self.clock.pass_time(seconds)
        return self.bell.look()

    def step(self, seconds: float) -> bool:
        """Set the clock, and look."""
        self.clock.step(seconds)
        return self.bell.look()


@pytest.fixture
def board() -> Board:
    """Six in the morning in Berlin."""
    return Board()


def test_a_timer_rings_for_a_minute_and_an_alarm_for_ten(board: Board) -> None:
    """Then they are missed; what rings and what was missed is held on to."""
    timer, alarm = board.timers.set(3600, "egg"), board.alarms.set(SEVEN)
    assert board.pass_time(3599) is False
    assert board.pass_time(1) is True
    assert board.bell.look() is False
    assert board.ringing() == [timer, alarm]
    board.pass_time(59)
    assert board.ringing() == [timer, alarm]
    board.pass_time(1)
    assert board.ringing() == [alarm]
    assert list(board.bell.held) == [alarm, timer]
    board.pass_time(540)
    assert board.ringing() == []
    assert [missed.item for missed in board.bell.take_missed()] == [timer, alarm]
    assert not board.bell.has_missed
    assert list(board.bell.held) == []


def test_somebody_reacts(board: Board) -> None:
    """Nothing rings any more, and nothing was missed."""
    board.alarms.set(SEVEN)
    board.pass_time(3600)
    before = board.changes
    board.bell.stop()
    board.bell.stop()
    assert board.changes == before + 1
    board.pass_time(3600)
    assert (board.bell.ringing, board.bell.held) == ((), ())


def test_when_to_look_next(board: Board) -> None:
    """Never while nothing is set; else every half minute, and when something is due or rings no longer."""
    assert board.bell.next_look_s() is None
    board.timers.set(100)
    assert board.bell.next_look_s() == 30
    board.pass_time(75)
    assert board.bell.next_look_s() == 25
    board.pass_time(25)
    assert board.bell.next_look_s() == 30
    board.pass_time(50)
    assert board.bell.next_look_s() == 10
    board.bell.stop()
    assert board.bell.next_look_s() is None
    board.alarms.set(SEVEN)
    assert board.bell.next_look_s() == 30


@pytest.mark.parametrize(("late_s", "rings"), [(0, True), (1800, True), (1801, False)])
@pytest.mark.parametrize("kind", ["timer", "alarm"])
def test_what_was_due_while_the_device_was_off(kind: str, late_s: float, rings: bool) -> None:
    """Up to half an hour late it rings; later it is told."""
    board = Board("2026-03-04 07:00")
    if kind == "timer":
        board.clock.pass_time(late_s)
        board.timers.restore([Timer(3, "", 60.0, board.clock.monotonic() - late_s)])
    else:
        board.clock.pass_time(late_s)
        board.alarms.restore([Alarm(3, "", SEVEN, EVERY_DAY)])
    # The bell of the new process has begun just now.
    bell = Bell(board.clock, board.timers, board.alarms)
    assert bell.look() is rings
    assert [missed.while_off for missed in bell.take_missed()] == ([] if rings else [True])
    assert [alarm.local for alarm in board.alarms.alarms] == ([] if kind == "timer" else [SEVEN.replace(day=5)])


def test_a_device_that_was_off_for_a_week_tells_a_daily_alarm_once() -> None:
    """Not seven times, and the next one is tomorrow's."""
    board = Board("2026-03-11 12:00")
    board.alarms.restore([Alarm(1, "", SEVEN, EVERY_DAY)])
    assert board.bell.look() is False
    assert len(board.bell.take_missed()) == 1
    assert [alarm.local for alarm in board.alarms.alarms] == [SEVEN.replace(day=12)]


def test_the_clock_jumps_over_an_alarm(board: Board) -> None:
    """It rings where that is not too late, else it was missed, and not because the device was off."""
    for step_s, rings in ((4000.0, True), (3 * 3600.0, False)):
        board = Board()
        alarm = board.alarms.set(SEVEN)
        assert board.step(step_s) is rings
        assert board.bell.take_missed() == (() if rings else (Missed(alarm, while_off=False),))


def test_minutes_are_minutes_whatever_the_clock_does(board: Board) -> None:
    """A timer of this process keeps its length; one of an earlier process follows the wall clock."""
    mine = board.timers.set(600)
    board.timers.restore([Timer(1, "old", 7200.0, board.clock.monotonic() + 5000)])
    board.step(3000)
    assert {timer.name: board.timers.left_s(timer) for timer in board.timers.timers} == {"old": 2000, "": 600}
    board.step(-1000)
    assert {timer.name: board.timers.left_s(timer) for timer in board.timers.timers} == {"old": 3000, "": 600}
    assert mine.duration_s == 600


def test_a_small_step_is_none_until_it_adds_up() -> None:
    """A clock that is slewed is followed in steps of more than two seconds."""
    clock = ZoneClock("2026-03-04 06:00")
    watch = ClockWatch(clock)
    clock.pass_time(1000)
    steps = []
    for _ in range(5):
        clock.step(0.75)
        steps.append(watch.step_s())
    assert steps == pytest.approx([0, 0, 2.25, 0, 0])
    clock.step(-100)
    assert watch.step_s() == pytest.approx(-98.5)
    assert watch.step_s() == 0


@given(
    duration_s=st.floats(1, 20_000),
    moves=st.lists(st.tuples(st.floats(0, 1000), st.floats(-1e6, 1e6)), max_size=20),
)
def test_a_timer_rings_when_its_time_is_over_and_never_before(
    duration_s: float, moves: list[tuple[float, float]]
) -> None:
    """However the wall clock is set meanwhile."""
    board = Board()
    board.timers.set(duration_s)
    passed_s = 0.0
    for wait_s, step_s in moves:
        board.clock.step(step_s)
        rings = board.pass_time(wait_s)
        began, passed_s = passed_s, passed_s + wait_s
        if abs(duration_s - passed_s) > 1e-6:  # exact but for the sums' own rounding
            assert rings is (began < duration_s <= passed_s or (rings and abs(began - duration_s) < 1e-6))


def test_snoozing_what_was_cut_off(board: Board) -> None:
    """Within two minutes; a daily alarm keeps its next day."""
    board.alarms.set(SEVEN, "work", EVERY_DAY)
    board.pass_time(3600)
    board.bell.stop()
    board.pass_time(119)
    (alarm,) = board.bell.snooze(600)
    assert alarm.name == "work"
    assert board.bell.snooze(600) == ()
    (snoozed,) = board.alarms.alarms
    assert (snoozed.local, board.alarms.left_s(snoozed)) == (SEVEN.replace(day=5), 600)
    assert board.pass_time(600) is True
    assert board.bell.ringing == (snoozed,)
    board.bell.stop()
    board.pass_time(121)
    assert board.bell.snooze(600) == ()


def test_missed_things_are_bounded(board: Board) -> None:
    """The latest twenty are told."""
    for number in range(25):
        board.timers.set(number + 1)
    board.pass_time(30)
    board.pass_time(60)
    missed = [each.item.id for each in board.bell.take_missed()]
    assert missed == list(range(6, 26))


def test_a_paused_timer_of_an_earlier_process_does_not_follow_the_clock(board: Board) -> None:
    """It stands still; resumed, it is one of this process."""
    board.timers.restore([replace(Timer(1, "", 600.0, None, 400.0), restored=True)])
    board.step(5000)
    (timer,) = board.timers.timers
    assert board.timers.left_s(timer) == 400
    resumed = board.timers.resume(timer)
    board.step(5000)
    assert board.timers.left_s(resumed) == 400
