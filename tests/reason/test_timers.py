"""The timer book, on a clock that the test turns."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from zone_clock import ZoneClock

from edge_agent.errors import BusyError
from edge_agent.reason.timers import Timer, TimerBook


@pytest.fixture
def clock() -> ZoneClock:
    """A clock on some day."""
    return ZoneClock("2026-03-03 10:05")


@pytest.fixture
def book(clock: ZoneClock) -> TimerBook:
    """An empty book on that clock."""
    return TimerBook(clock)


def test_a_timer_rings_once_when_its_time_is_over(book: TimerBook, clock: ZoneClock) -> None:
    """Not a moment before, and then it is gone."""
    timer = book.set(60, "egg")
    clock.pass_time(59.9)
    assert book.pop_due() == ()
    clock.pass_time(0.1)
    assert book.pop_due() == (timer,)
    assert book.pop_due() == ()
    assert book.timers == ()


def test_several_timers_ring_in_the_order_of_their_ends(book: TimerBook, clock: ZoneClock) -> None:
    """Late polling gets all that are due, the earliest first."""
    long, short, longest = book.set(30), book.set(10), book.set(300)
    assert book.next_due_s() == 10
    clock.pass_time(100)
    assert book.next_due_s() == 0
    assert book.pop_due() == (short, long)
    assert book.next_due_s() == 200
    assert book.timers == (longest,)


def test_next_due_is_never_negative_and_none_without_running_timers(book: TimerBook, clock: ZoneClock) -> None:
    """What is overdue is due now; paused timers are not due at all."""
    assert book.next_due_s() is None
    book.set(5)
    clock.pass_time(9)
    assert book.next_due_s() == 0
    book.pop_due()
    timer = book.set(5)
    book.pause(timer)
    assert book.next_due_s() is None


def test_a_paused_timer_keeps_what_is_left(book: TimerBook, clock: ZoneClock) -> None:
    """Time passes by a paused timer; resumed, it goes on where it stood. Both may be said twice."""
    timer = book.set(100)
    clock.pass_time(40)
    paused = book.pause(timer)
    assert paused.paused
    clock.pass_time(1000)
    assert book.pause(timer) == paused
    assert book.left_s(paused) == 60
    assert book.pop_due() == ()
    running = book.resume(timer)
    assert book.resume(timer) == running
    assert (running.paused, book.left_s(running)) == (False, 60)
    clock.pass_time(60)
    assert book.pop_due() == (running,)


def test_find_by_name_and_duration(book: TimerBook) -> None:
    """Names without regard to case; both criteria count; none means all."""
    pasta, tea, second = book.set(600, "Pasta"), book.set(240, "tea"), book.set(600)
    assert book.find("pasta") == (pasta,)
    assert book.find(duration_s=600) == (pasta, second)
    assert book.find("tea", 600) == ()
    assert book.find() == (pasta, tea, second)


def test_cancel_takes_a_timer_away(book: TimerBook) -> None:
    """Cancelling twice is no error; pausing what is gone is one."""
    timer = book.set(10)
    book.cancel(timer)
    book.cancel(timer)
    assert book.timers == ()
    with pytest.raises(KeyError):
        book.pause(timer)
    with pytest.raises(KeyError):
        book.resume(timer)


def test_the_book_is_bounded(clock: ZoneClock) -> None:
    """More than the limit is refused; a free place can be taken again."""
    book = TimerBook(clock, limit=2)
    first = book.set(1)
    book.set(2)
    with pytest.raises(BusyError):
        book.set(3)
    book.cancel(first)
    assert book.set(3).id == 3


@pytest.mark.parametrize("duration_s", [0, -1, float("nan")])
def test_a_duration_must_be_positive(book: TimerBook, duration_s: float) -> None:
    """A timer that would never run is refused."""
    with pytest.raises(ValueError, match="would never run"):
        book.set(duration_s)


def test_timers_are_plain_values_that_a_book_starts_from(clock: ZoneClock) -> None:
    """A timer goes to a dictionary and back, and ids go on after the last one."""
    book = TimerBook(clock)
    book.set(10, "tea")
    book.pause(book.set(20))
    again = TimerBook(clock, timers=[Timer(**asdict(timer)) for timer in book.timers])
    assert again.timers == book.timers
    assert again.set(5).id == 3
