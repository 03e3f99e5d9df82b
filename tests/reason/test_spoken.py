"""Numbers, times, dates and durations in words."""

from __future__ import annotations

from datetime import date, datetime

import pytest

from edge_agent.reason.spoken import about_s, speech

TIMES = [
    ("en", 0, 0, "midnight"),
    ("en", 0, 5, "twelve oh five a.m."),
    ("en", 10, 5, "ten oh five a.m."),
    ("en", 11, 59, "eleven fifty-nine a.m."),
    ("en", 12, 0, "noon"),
    ("en", 12, 30, "twelve thirty p.m."),
    ("en", 15, 0, "three p.m."),
    ("en", 23, 45, "eleven forty-five p.m."),
    ("zh", 0, 0, "凌晨零点整"),
    ("zh", 2, 5, "凌晨两点零五分"),
    ("zh", 10, 5, "上午十点零五分"),
    ("zh", 12, 30, "中午十二点三十分"),
    ("zh", 14, 22, "下午两点二十二分"),
    ("zh", 18, 0, "晚上六点整"),
]
DATES = [
    ("en", date(2026, 3, 3), "Tuesday, the third of March, twenty twenty-six"),
    ("en", date(2005, 12, 31), "Saturday, the thirty-first of December, two thousand five"),
    ("en", date(2027, 8, 22), "Sunday, the twenty-second of August, twenty twenty-seven"),
    ("zh", date(2026, 3, 3), "二零二六年三月三日，星期二"),
    ("zh", date(2027, 8, 22), "二零二七年八月二十二日，星期日"),
]
DURATIONS = [
    ("en", 1, "one second", "one second"),
    ("en", 60, "one minute", "one minute"),
    ("en", 600, "ten minutes", "ten minute"),
    ("en", 90, "one minute and thirty seconds", "one minute thirty second"),
    ("en", 3661, "one hour, one minute and one second", "one hour one minute one second"),
    ("en", 86_400, "twenty-four hours", "twenty-four hour"),
    ("en", 200_000, "two days, seven hours, thirty-three minutes and twenty seconds", None),
    ("en", 0, "no time", ""),
    ("zh", 30, "三十秒", "三十秒"),
    ("zh", 120, "两分钟", "两分钟"),
    ("zh", 90, "一分三十秒", "一分三十秒"),
    ("zh", 5400, "一小时三十分钟", "一小时三十分钟"),
    ("zh", 0, "零秒", "零秒"),
]


@pytest.mark.parametrize(("language", "hour", "minute", "words"), TIMES)
def test_time_of_day(language: str, hour: int, minute: int, words: str) -> None:
    """A time is said to the minute, as people read it from a clock."""
    assert speech(language).time(datetime(2026, 3, 3, hour, minute)) == words  # noqa: DTZ001 - only its digits are read


@pytest.mark.parametrize(("language", "day", "words"), DATES)
def test_date(language: str, day: date, words: str) -> None:
    """A date has its weekday, and its year as it is read."""
    assert speech(language).date(day) == words


@pytest.mark.parametrize(("language", "seconds", "words", "as_property"), DURATIONS)
def test_duration(language: str, seconds: float, words: str, as_property: str | None) -> None:
    """A duration names its units, without those that are zero."""
    assert speech(language).duration(seconds) == words
    if as_property is not None:
        assert speech(language).length(seconds) == as_property


@pytest.mark.parametrize(
    ("seconds", "said_s"),
    [(0, 1), (0.2, 1), (59.1, 60), (600.0, 600), (3599.5, 3600), (3601, 3660), (90_001, 93_600), (86_400, 86_400)],
)
def test_what_is_left_is_rounded_up(seconds: float, said_s: int) -> None:
    """Precise near the end, coarse far away, and never nothing."""
    assert about_s(seconds) == said_s


@pytest.mark.parametrize(
    ("language", "things", "words"),
    [
        ("en", [], ""),
        ("en", ["a"], "a"),
        ("en", ["a", "b"], "a and b"),
        ("en", ["a", "b", "c"], "a, b and c"),
        ("zh", ["甲", "乙", "丙"], "甲、乙和丙"),
    ],
)
def test_listing(language: str, things: list[str], words: str) -> None:
    """Things are listed with the language's own marks."""
    assert speech(language).listing(things) == words


def test_numbers_and_the_language_to_fall_back_on() -> None:
    """Numbers are words; a language without words here speaks English."""
    assert speech("en").number(-5) == "minus five"
    assert speech("en").number(102) == "one hundred two"
    assert speech("zh").number(2) == "二"
    assert speech("de").number(7) == "seven"
