"""Numbers, times, dates and durations in words, by language. Another language is one more `_Speech`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import date, datetime

    from unicode_rbnf import FormatPurpose

_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86_400
_HALF_DAY_H = 12
_WEEK_DAYS = 7
_WEEKDAYS = tuple(range(5))
_WEEKEND = (5, 6)


class Speech(Protocol):
    """How one language says things."""

    def number(self, value: int) -> str:
        """A whole number."""
        ...

    def count(self, value: int) -> str:
        """How many there are of a thing."""
        ...

    def time(self, moment: datetime) -> str:
        """A time of day, to the minute."""
        ...

    def date(self, day: date) -> str:
        """A day with its weekday and year."""
        ...

    def day(self, moment: datetime, today: datetime) -> str:
        """The day of a moment as people speak of one that is near: today, a weekday within a week, then its date."""
        ...

    def repetition(self, days: Collection[int]) -> str:
        """Weekdays, Monday is 0, on which something comes again and again."""
        ...

    def duration(self, seconds: float) -> str:
        """A length of time, exact to the second."""
        ...

    def length(self, seconds: float) -> str:
        """A length of time as a property of a thing: the *ten minute* timer."""
        ...

    def listing(self, things: Sequence[str]) -> str:
        """One, two or more things."""
        ...


def speech(language: str) -> Speech:
    """How a language says things; English where the language has no words here."""
    return _CHINESE if language == "zh" else _ENGLISH


def about_s(seconds: float) -> int:
    """A remaining time as precise as people want it: seconds below an hour, minutes below a day, then hours.

    Rounded up, so that a timer never has nothing left.
    """
    unit_s = 1 if seconds < _HOUR_S else _MINUTE_S if seconds < _DAY_S else _HOUR_S
    return max(1, math.ceil(seconds / unit_s)) * unit_s


def _split(seconds: float) -> tuple[int, int, int, int]:
    """Days, hours, minutes and seconds; days only from two on, so that 24 hours stay hours."""
    total = round(seconds)
    days = total // _DAY_S if total >= 2 * _DAY_S else 0
    total -= days * _DAY_S
    return days, total // _HOUR_S, total % _HOUR_S // _MINUTE_S, total % _MINUTE_S


class _English:
    _DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
    _MONTHS = (
        *("January", "February", "March", "April", "May", "June"),
        *("July", "August", "September", "October", "November", "December"),
    )
    _UNITS = ("day", "hour", "minute", "second")

    def number(self, value: int) -> str:
        from unicode_rbnf import FormatPurpose

        return _in_words("en", value, FormatPurpose.CARDINAL)

    def count(self, value: int) -> str:
        return self.number(value)

    def time(self, moment: datetime) -> str:
        if moment.minute == 0 and moment.hour in (0, _HALF_DAY_H):
            return "noon" if moment.hour else "midnight"
        hour = self.number((moment.hour - 1) % _HALF_DAY_H + 1)
        half = "a.m." if moment.hour < _HALF_DAY_H else "p.m."
        if moment.minute == 0:
            return f"{hour} {half}"
        oh = "oh " if moment.minute < 10 else ""  # noqa: PLR2004 - one digit
        return f"{hour} {oh}{self.number(moment.minute)} {half}"

    def date(self, day: date) -> str:
        from unicode_rbnf import FormatPurpose

        ordinal = _in_words("en", day.day, FormatPurpose.ORDINAL)
        year = _in_words("en", day.year, FormatPurpose.YEAR)
        return f"{self._DAYS[day.weekday()]}, the {ordinal} of {self._MONTHS[day.month - 1]}, {year}"

    def day(self, moment: datetime, today: datetime) -> str:
        from unicode_rbnf import FormatPurpose

        ahead = (moment.date() - today.date()).days
        if 0 <= ahead <= 1:
            return ("today", "tomorrow")[ahead]
        if 0 <= ahead < _WEEK_DAYS:
            return f"on {self._DAYS[moment.weekday()]}"
        return f"on the {_in_words('en', moment.day, FormatPurpose.ORDINAL)} of {self._MONTHS[moment.month - 1]}"

    def repetition(self, days: Collection[int]) -> str:
        match tuple(sorted(days)):
            case every if len(every) == _WEEK_DAYS:
                return "every day"
            case every if every == _WEEKDAYS:
                return "every weekday"
            case every if every == _WEEKEND:
                return "at weekends"
            case every:
                return f"every {self.listing([self._DAYS[day] for day in every])}"

    def duration(self, seconds: float) -> str:
        counts = [(count, unit) for count, unit in zip(_split(seconds), self._UNITS, strict=True) if count]
        said = [f"{self.number(count)} {unit}{'s' if count > 1 else ''}" for count, unit in counts]
        return self.listing(said) or "no time"

    def length(self, seconds: float) -> str:
        counts = [(count, unit) for count, unit in zip(_split(seconds), self._UNITS, strict=True) if count]
        return " ".join(f"{self.number(count)} {unit}" for count, unit in counts)

    def listing(self, things: Sequence[str]) -> str:
        *first, last = things or ("",)
        return f"{', '.join(first)} and {last}" if first else last


class _Chinese:
    _DAYS = "一二三四五六日"
    _DIGITS = "零一二三四五六七八九"
    _PARTS_OF_DAY = ((6, "凌晨"), (12, "上午"), (13, "中午"), (18, "下午"), (24, "晚上"))
    _UNITS = ("天", "小时", "分钟", "秒")

    def number(self, value: int) -> str:
        from hassil.numbers import get_rbnf_engine

        return get_rbnf_engine("zh").format_number(value).text_by_ruleset["spellout-cardinal"]

    def time(self, moment: datetime) -> str:
        part = next(name for end, name in self._PARTS_OF_DAY if moment.hour < end)
        hour = self.count((moment.hour - 1) % _HALF_DAY_H + 1) if moment.hour else "零"
        if moment.minute == 0:
            return f"{part}{hour}点整"
        zero = "零" if moment.minute < 10 else ""  # noqa: PLR2004 - one digit
        return f"{part}{hour}点{zero}{self.number(moment.minute)}分"

    def date(self, day: date) -> str:
        year = "".join(self._DIGITS[int(digit)] for digit in str(day.year))
        month, of_month = self.number(day.month), self.number(day.day)
        return f"{year}年{month}月{of_month}日，星期{self._DAYS[day.weekday()]}"

    def day(self, moment: datetime, today: datetime) -> str:
        ahead = (moment.date() - today.date()).days
        if 0 <= ahead <= 2:  # noqa: PLR2004 - the days that have names
            return ("今天", "明天", "后天")[ahead]
        if 0 <= ahead < _WEEK_DAYS:
            return f"星期{self._DAYS[moment.weekday()]}"
        return f"{self.number(moment.month)}月{self.number(moment.day)}日"

    def repetition(self, days: Collection[int]) -> str:
        match tuple(sorted(days)):
            case every if len(every) == _WEEK_DAYS:
                return "每天"
            case every if every == _WEEKDAYS:
                return "每个工作日"
            case every if every == _WEEKEND:
                return "每个周末"
            case every:
                return f"每{self.listing([f'星期{self._DAYS[day]}' for day in every])}"

    def duration(self, seconds: float) -> str:
        counts = [(count, unit) for count, unit in zip(_split(seconds), self._UNITS, strict=True) if count]
        if len(counts) > 1 and counts[-1][1] == "秒":
            counts = [(count, unit.removesuffix("钟")) for count, unit in counts]
        return "".join(f"{self.count(count)}{unit}" for count, unit in counts) or "零秒"

    def length(self, seconds: float) -> str:
        return self.duration(seconds)

    def listing(self, things: Sequence[str]) -> str:
        *first, last = things or ("",)
        return f"{'、'.join(first)}和{last}" if first else last

    def count(self, value: int) -> str:
        """A number before a measure word: 2 is 两."""
        return "两" if value == 2 else self.number(value)  # noqa: PLR2004


def _in_words(language: str, value: int, purpose: FormatPurpose) -> str:
    from hassil.numbers import get_rbnf_engine

    return get_rbnf_engine(language).format_number(value, purpose).text


_ENGLISH = _English()
_CHINESE = _Chinese()
