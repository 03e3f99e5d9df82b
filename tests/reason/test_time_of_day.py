"""From what was said to the moment that is meant."""

from __future__ import annotations

import pytest
from zone_clock import ZoneClock

from edge_agent.reason.matcher import IntentMatcher
from edge_agent.reason.templates import load_intents
from edge_agent.reason.time_of_day import When

TUESDAY_MORNING = "2026-03-03 10:05"
TUESDAY_EVENING = "2026-03-03 20:00"


@pytest.fixture(scope="module")
def matcher() -> IntentMatcher:
    """The shipped English intents."""
    return IntentMatcher(load_intents("en", builtin=True, paths=[], outputs={}).intents, "en")


@pytest.mark.parametrize(
    ("now", "said", "meant"),
    [
        (TUESDAY_EVENING, "seven", "2026-03-04 07:00"),
        (TUESDAY_EVENING, "nine", "2026-03-03 21:00"),
        (TUESDAY_EVENING, "eight", "2026-03-04 08:00"),
        (TUESDAY_MORNING, "seven", "2026-03-03 19:00"),
        (TUESDAY_MORNING, "seven a.m.", "2026-03-04 07:00"),
        (TUESDAY_MORNING, "seven in the morning", "2026-03-04 07:00"),
        (TUESDAY_MORNING, "seven thirty p m", "2026-03-03 19:30"),
        (TUESDAY_MORNING, "7:05", "2026-03-03 19:05"),
        (TUESDAY_MORNING, "19:05", "2026-03-03 19:05"),
        (TUESDAY_MORNING, "0:30", "2026-03-04 00:30"),
        (TUESDAY_MORNING, "twelve", "2026-03-03 12:00"),
        (TUESDAY_MORNING, "twelve p m", "2026-03-03 12:00"),
        (TUESDAY_MORNING, "twelve a m", "2026-03-04 00:00"),
        (TUESDAY_MORNING, "noon", "2026-03-03 12:00"),
        (TUESDAY_MORNING, "midnight", "2026-03-04 00:00"),
        (TUESDAY_MORNING, "half past six", "2026-03-03 18:30"),
        (TUESDAY_MORNING, "quarter to eight", "2026-03-03 19:45"),
        (TUESDAY_MORNING, "a quarter past eleven", "2026-03-03 11:15"),
        (TUESDAY_MORNING, "ten to twelve", "2026-03-03 11:50"),
        (TUESDAY_MORNING, "ten minutes to one", "2026-03-03 12:50"),
        (TUESDAY_MORNING, "eighteen thirty", "2026-03-03 18:30"),
        (TUESDAY_MORNING, "fourteen hundred", "2026-03-03 14:00"),
        (TUESDAY_MORNING, "seven oh five", "2026-03-03 19:05"),
        (TUESDAY_MORNING, "ten at night", "2026-03-03 22:00"),
        (TUESDAY_MORNING, "two at night", "2026-03-04 02:00"),
        (TUESDAY_MORNING, "seven tomorrow", "2026-03-04 07:00"),
        (TUESDAY_MORNING, "twelve tomorrow", "2026-03-04 12:00"),
        (TUESDAY_MORNING, "tomorrow evening at seven", "2026-03-04 19:00"),
        (TUESDAY_MORNING, "tonight at nine", "2026-03-03 21:00"),
        (TUESDAY_MORNING, "seven on tuesday", "2026-03-10 07:00"),
        (TUESDAY_MORNING, "eleven on tuesday", "2026-03-03 11:00"),
        (TUESDAY_MORNING, "seven on monday", "2026-03-09 07:00"),
        (TUESDAY_MORNING, "seven today", "2026-03-03 19:00"),
        (TUESDAY_MORNING, "seven every day", "2026-03-04 07:00"),
        (TUESDAY_MORNING, "seven thirty at weekends", "2026-03-07 07:30"),
        (TUESDAY_MORNING, "six every monday and friday", "2026-03-06 06:00"),
    ],
)
def test_what_is_meant(matcher: IntentMatcher, now: str, said: str, meant: str) -> None:
    """Without a half of the day the next one counts; with a day, the hours of a 24-hour clock."""
    match = matcher.match([said], forgiving=False, asked="time")
    assert match is not None, said
    when = When.said(match.slots)
    assert when is not None
    local = when.next(ZoneClock(now))
    assert local is not None
    assert local.isoformat(" ", "minutes") == meant


def test_what_is_over_today_is_not_moved_to_tomorrow(matcher: IntentMatcher) -> None:
    """Who said today did not mean tomorrow."""
    match = matcher.match(["seven today"], forgiving=False, asked="time")
    assert match is not None
    when = When.said(match.slots)
    assert when is not None
    assert when.next(ZoneClock(TUESDAY_EVENING)) is None


@pytest.mark.parametrize("slots", [{}, {"day": "tomorrow"}, {"every": "day"}, {"hour": 24}, {"hour": 7, "minute": 60}])
def test_no_time_of_day(slots: dict[str, str | int | float]) -> None:
    """A day alone is no time, nor is what no clock shows."""
    assert When.said(slots) is None


@pytest.mark.parametrize(
    ("slots", "days"),
    [
        ({}, set()),
        ({"every": "day"}, set(range(7))),
        ({"every": "weekday"}, set(range(5))),
        ({"every": "weekend"}, {5, 6}),
        ({"every": "monday", "every_2": "wednesday", "every_3": "friday"}, {0, 2, 4}),
    ],
)
def test_repetition(slots: dict[str, str | int | float], days: set[int]) -> None:
    """Weekdays are added up."""
    when = When.said({"hour": 7, **slots})
    assert when is not None
    assert when.every == days
