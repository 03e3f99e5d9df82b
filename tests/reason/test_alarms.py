"""The alarm book, on a clock in some zone that the test moves and sets."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zone_clock import ZoneClock

from edge_agent.errors import BusyError
from edge_agent.reason.alarms import WRONG_CLOCK_S, Alarm, AlarmBook
from edge_agent.reason.recurrence import EVERY_DAY, WEEKDAYS, instant, next_local

ZONES = ["UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/Santiago", "Asia/Kathmandu"]
SEVEN = time(7)


def at(text: str) -> datetime:
    """A local date and time."""
    return datetime.fromisoformat(text)


@pytest.fixture
def clock() -> ZoneClock:
    """Tuesday, five past ten in Berlin."""
    return ZoneClock("2026-03-03 10:05", "Europe/Berlin")


@pytest.fixture
def book(clock: ZoneClock) -> AlarmBook:
    """An empty book on that clock."""
    return AlarmBook(clock)


def ring_until(book: AlarmBook, clock: ZoneClock, days: float) -> list[str]:
    """Let time pass to each alarm in turn; the instants of ringing, as the clock shows them."""
    rung: list[str] = []
    passed_s = 0.0
    while (due_s := book.next_due_s()) is not None and passed_s + due_s <= days * 86_400:
        clock.pass_time(due_s)
        passed_s += due_s
        due = book.pop_due()
        assert due, "it said that something is due"
        rung += [clock.now().isoformat(" ", "minutes") for _ in due]
    return rung


def test_an_alarm_rings_once(book: AlarmBook, clock: ZoneClock) -> None:
    """Not a second before, and then it is gone."""
    alarm = book.set(at("2026-03-04 07:00"), "work")
    clock.pass_time(20 * 3600 + 54 * 60 + 59)
    assert (book.pop_due(), book.next_due_s()) == ((), 1.0)
    clock.pass_time(1)
    assert book.pop_due() == (alarm,)
    assert (book.pop_due(), book.alarms, book.next_due_s()) == ((), (), None)


def test_a_daily_alarm_keeps_its_time_of_day_when_the_clocks_are_moved(book: AlarmBook, clock: ZoneClock) -> None:
    """Seven o'clock is seven o'clock in summer too."""
    book.set(at("2026-03-04 07:00"), days=EVERY_DAY)
    rung = ring_until(book, clock, 27)
    assert len(rung) == 27
    assert rung[-3:] == ["2026-03-28 07:00+01:00", "2026-03-29 07:00+02:00", "2026-03-30 07:00+02:00"]


def test_in_a_gap_it_rings_at_its_end_and_in_a_fold_once() -> None:
    """Half past two is skipped on one night and comes twice on another."""
    for start, days, expected in (
        ("2026-03-28 12:00", 2, ["2026-03-29 03:00+02:00", "2026-03-30 02:30+02:00"]),
        ("2026-10-24 12:00", 2, ["2026-10-25 02:30+02:00", "2026-10-26 02:30+01:00"]),
    ):
        clock = ZoneClock(start, "Europe/Berlin")
        book = AlarmBook(clock)
        book.set(next_local(clock, time(2, 30)), days=EVERY_DAY)
        assert ring_until(book, clock, days) == expected


def test_an_alarm_on_weekdays_rests_at_the_weekend(book: AlarmBook, clock: ZoneClock) -> None:
    """Friday is followed by Monday."""
    book.set(at("2026-03-04 07:00"), days=WEEKDAYS)
    assert [text[:10] for text in ring_until(book, clock, 7)] == [
        *("2026-03-04", "2026-03-05", "2026-03-06"),
        *("2026-03-09", "2026-03-10"),
    ]


@given(
    zone=st.sampled_from(ZONES),
    start=st.datetimes(datetime.fromisoformat("2020-01-01"), datetime.fromisoformat("2030-01-01")),
    of_day=st.builds(time, st.integers(0, 23), st.integers(0, 59)),
    days=st.frozensets(st.integers(0, 6), min_size=1),
    waits_s=st.lists(st.floats(0, 200_000), max_size=30),
)
def test_an_occurrence_rings_exactly_once_however_seldom_one_looks(
    zone: str, start: datetime, of_day: time, days: frozenset[int], waits_s: list[float]
) -> None:
    """Looking at any moments: never twice for one date, never early, and the next one always lies ahead."""
    clock = ZoneClock(start.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None).isoformat(), zone)
    book = AlarmBook(clock)
    book.set(next_local(clock, of_day, days=days), days=days)
    dates = set()
    for wait_s in waits_s:
        clock.pass_time(wait_s)
        for alarm in book.pop_due():
            assert alarm.local is not None
            assert alarm.local.date() not in dates
            assert instant(clock, alarm.local) <= clock.now()
            dates.add(alarm.local.date())
        (coming,) = book.alarms
        assert coming.local is not None
        assert coming.local.weekday() in days
        assert coming.local.time() == of_day
        assert instant(clock, coming.local) > clock.now()
        assert instant(clock, coming.local) <= clock.now() + timedelta(days=8)


def test_the_zone_is_changed(book: AlarmBook, clock: ZoneClock) -> None:
    """An alarm follows the clock on the wall, wherever that hangs."""
    book.set(at("2026-03-04 07:00"), days=EVERY_DAY)
    clock.zone = ZoneInfo("America/New_York")
    assert [text[:16] for text in ring_until(book, clock, 2.5)] == ["2026-03-04 07:00", "2026-03-05 07:00"]


def test_snoozing_brings_it_back_and_keeps_its_next_time(book: AlarmBook, clock: ZoneClock) -> None:
    """A snooze is a length of time; a repeated alarm still rings the next day, and may be snoozed twice."""
    book.set(at("2026-03-04 07:00"), days=EVERY_DAY)
    clock.pass_time(21 * 3600)
    (rang,) = book.pop_due()
    snoozed = book.snooze(rang, 300)
    assert (book.next_due_s(), book.rings_at(snoozed)) == (300, at("2026-03-04 07:10"))
    clock.pass_time(300)
    assert book.pop_due() == (snoozed,)
    (left,) = book.alarms
    assert (left.local, left.snooze_ends_s) == (at("2026-03-05 07:00"), None)
    book.snooze(left, 60)
    clock.step(-1000)
    book.clock_stepped(-1000, late_s=1800)
    assert book.next_due_s() == 60


def test_an_alarm_that_rang_once_can_be_snoozed_and_then_is_gone(book: AlarmBook, clock: ZoneClock) -> None:
    """Only its snooze is left of it; it can be cancelled like any other."""
    alarm = book.set(at("2026-03-03 11:00"), "medicine")
    clock.pass_time(3300)
    assert book.pop_due() == (alarm,)
    snoozed = book.snooze(alarm, 60)
    assert (snoozed.local, book.find("medicine"), book.find(times=[SEVEN])) == (None, (snoozed,), ())
    clock.pass_time(60)
    assert book.pop_due() == (snoozed,)
    assert book.alarms == ()
    book.cancel(book.snooze(snoozed, 60))
    assert book.alarms == ()


def test_the_same_alarm_is_set_once(book: AlarmBook) -> None:
    """Saying it twice makes no second one; another name, time or day does."""
    alarm = book.set(at("2026-03-04 07:00"))
    assert book.set(at("2026-03-04 07:00")) == alarm
    book.set(at("2026-03-04 07:00"), "work")
    book.set(at("2026-03-04 07:00"), days=WEEKDAYS)
    book.set(at("2026-03-04 07:30"))
    assert len(book.alarms) == 4


def test_the_book_is_bounded(clock: ZoneClock) -> None:
    """More than the limit is refused."""
    book = AlarmBook(clock, limit=1)
    book.set(at("2026-03-04 07:00"))
    with pytest.raises(BusyError, match="alarms"):
        book.set(at("2026-03-04 08:00"))


def test_find(book: AlarmBook) -> None:
    """By name without regard to case, and by time of day; the next to ring first."""
    late, early = book.set(at("2026-03-04 19:00"), "Gym"), book.set(at("2026-03-04 07:00"))
    assert book.find() == (early, late)
    assert book.find("gym") == (late,)
    assert book.find(times=(SEVEN, time(19))) == (early, late)
    assert book.find("gym", (SEVEN,)) == ()


def restored(*alarms: Alarm, clock: ZoneClock) -> AlarmBook:
    """A book of an earlier process' alarms."""
    book = AlarmBook(clock)
    book.restore(alarms)
    return book


def test_restored_alarms_make_room_for_each_other(book: AlarmBook) -> None:
    """What was set before the disk was read gets another id; ids go on after the last."""
    mine = book.set(at("2026-03-04 08:00"))
    book.restore([Alarm(mine.id, "old", at("2026-03-04 07:00")), Alarm(7, "", at("2026-03-04 09:00"))])
    assert [(alarm.id, alarm.name, alarm.restored) for alarm in book.alarms] == [
        (1, "old", True),
        (8, "", False),
        (7, "", True),
    ]
    assert book.set(at("2026-03-04 10:00")).id == 9


DAILY = Alarm(1, "", datetime.fromisoformat("2026-03-04 07:00"), EVERY_DAY)


def test_a_clock_set_back_a_little_rings_no_alarm_twice(book: AlarmBook, clock: ZoneClock) -> None:
    """It had rung a minute early, and that was its ring for the day."""
    book.set(at("2026-03-04 07:00"), days=EVERY_DAY)
    clock.pass_time(21 * 3600)
    assert len(book.pop_due()) == 1
    clock.step(-600)
    book.clock_stepped(-600, late_s=1800)
    assert [text[:10] for text in ring_until(book, clock, 1.5)] == ["2026-03-05"]


def test_a_clock_set_back_far_rings_again(book: AlarmBook, clock: ZoneClock) -> None:
    """An hour early was the wrong time; a week early was the wrong day."""
    book.set(at("2026-03-04 07:00"), days=EVERY_DAY)
    clock.pass_time(21 * 3600)
    for step_s in (-3600.0, -7 * 86_400.0):
        book.pop_due()
        clock.step(step_s)
        book.clock_stepped(step_s, late_s=1800)
        due_s = book.next_due_s()
        assert due_s is not None
        assert due_s < 86_400


def test_a_board_that_wakes_in_1970_keeps_what_was_meant() -> None:
    """Set under a clock that is decades behind: the next seven o'clock is meant, and so many days ahead."""
    clock = ZoneClock("1970-01-01 00:10", "Europe/Berlin")
    book = AlarmBook(clock)
    plain, tomorrow, daily = (
        book.set(at("1970-01-01 07:00"), "plain"),
        book.set(at("1970-01-02 08:00"), "tomorrow"),
        book.set(at("1970-01-01 09:00"), "daily", EVERY_DAY),
    )
    step_s = (datetime(2026, 3, 3, 20, tzinfo=UTC) - clock.now()).total_seconds()
    clock.step(step_s)
    book.clock_stepped(step_s, late_s=1800)
    assert {alarm.name: alarm.local for alarm in book.alarms} == {
        plain.name: at("2026-03-04 07:00"),
        tomorrow.name: at("2026-03-04 08:00"),
        daily.name: at("2026-03-04 09:00"),
    }
    assert book.pop_due() == ()


def test_restored_alarms_wait_for_the_right_clock() -> None:
    """What an earlier process set belongs to the time that was right then: a clock that is put right finds it due."""
    clock = ZoneClock("2026-03-03 20:00", "Europe/Berlin")
    book = restored(DAILY, Alarm(2, "once", at("2026-03-04 06:30")), clock=clock)
    step_s = 14 * 3600.0
    assert step_s > WRONG_CLOCK_S
    clock.step(step_s)
    book.clock_stepped(step_s, late_s=1800)
    assert [alarm.id for alarm in book.pop_due()] == [2, 1]
    assert [alarm.local for alarm in book.alarms] == [at("2026-03-05 07:00")]


@given(
    steps_s=st.lists(st.floats(-40 * 86_400, 40 * 86_400), min_size=1, max_size=6),
    days=st.frozensets(st.integers(0, 6)),
    was_restored=st.booleans(),
)
def test_whatever_the_clock_does_a_repeated_alarm_stays_within_a_week(
    steps_s: list[float], days: frozenset[int], was_restored: bool
) -> None:
    """After any steps, what is not due is ahead, keeps its time of day, and a repeated one comes within eight days."""
    clock = ZoneClock("2026-03-03 10:05", "Europe/Berlin")
    book = AlarmBook(clock)
    first = next_local(clock, SEVEN, days=days or EVERY_DAY)
    if was_restored:
        book.restore([Alarm(1, "", first, days)])
    else:
        book.set(first, days=days)
    for step_s in steps_s:
        clock.step(step_s)
        book.clock_stepped(step_s, late_s=1800)
        book.pop_due()
        for alarm in book.alarms:
            assert alarm.local is not None
            assert alarm.local.time() == SEVEN
            assert instant(clock, alarm.local) > clock.now()
            if days and abs(step_s) > 1800:
                assert instant(clock, alarm.local) - clock.now() < timedelta(days=8, seconds=2 * 1800)
        assert bool(book.alarms) or not days


def test_a_restored_snooze_follows_the_wall_clock_and_one_of_this_process_does_not(clock: ZoneClock) -> None:
    """Only the wall clock knows when the first one ends."""
    for was_restored, due_s in ((True, 100.0), (False, 300.0)):
        book = AlarmBook(clock)
        if was_restored:
            book.restore([Alarm(1, "", None, snooze_ends_s=clock.monotonic() + 300)])
        else:
            book.snooze(Alarm(1, "", at("2026-03-03 10:00")), 300)
        clock.step(200)
        book.clock_stepped(200, late_s=1800)
        assert book.next_due_s() == due_s


def test_every_change_is_told(book: AlarmBook, clock: ZoneClock) -> None:
    """Setting, snoozing, ringing and cancelling; not a cancellation of what is gone."""
    changes: list[int] = []
    book.on_change = lambda: changes.append(len(book.alarms))
    alarm = book.set(at("2026-03-03 11:00"))
    clock.pass_time(3600)
    book.pop_due()
    book.pop_due()
    snoozed = book.snooze(alarm, 60)
    book.cancel(snoozed)
    book.cancel(snoozed)
    assert changes == [1, 0, 1, 0]
