"""Kitchen timers: several at once, pausable. Pure: the caller brings the time and asks what is due."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_agent.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_agent.reason.ports import Clock

DEFAULT_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Timer:
    """One timer, plain values only.

    Attributes:
        id: Unique within a book, ascending.
        name: What it was called, or an empty string.
        duration_s: What it was set to.
        ends_at_s: When it rings, on the book's clock; None while paused.
        paused_left_s: What is left while paused; None while running.
        restored: An earlier process set it: its end is a moment of the wall clock, which may be set.
    """

    id: int
    name: str
    duration_s: float
    ends_at_s: float | None
    paused_left_s: float | None = None
    restored: bool = False

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return self.ends_at_s is None

    def left_s(self, now_s: float) -> float:
        """Seconds until it rings, at least 0."""
        left_s = self.paused_left_s if self.ends_at_s is None else self.ends_at_s - now_s
        return max(0.0, left_s or 0.0)


class TimerBook:
    """The timers that have not rung yet, oldest first.

    Args:
        clock: Only its monotonic time is used.
        limit: Timers at once.
        timers: Timers to begin with, on the same clock.
    """

    def __init__(self, clock: Clock, *, limit: int = DEFAULT_LIMIT, timers: Iterable[Timer] = ()) -> None:
        self._clock = clock
        self.limit = limit
        self._timers = {timer.id: timer for timer in timers}
        self._last_id = max(self._timers, default=0)
        self.on_change: Callable[[], None] = lambda: None

    @property
    def timers(self) -> tuple[Timer, ...]:
        """All timers, running and paused."""
        return tuple(self._timers.values())

    def set(self, duration_s: float, name: str = "") -> Timer:
        """Start a timer.

        Raises:
            BusyError: There are too many already.
            ValueError: The duration is not positive.
        """
        if not duration_s > 0:
            raise ValueError(f"a timer of {duration_s} s would never run")
        if len(self._timers) >= self.limit:
            raise BusyError("the list of timers", self.limit)
        self._last_id += 1
        timer = Timer(self._last_id, name, duration_s, self._clock.monotonic() + duration_s)
        return self._put(timer)

    def restore(self, timers: Iterable[Timer]) -> None:
        """Take in the timers of an earlier process, on this book's clock.

        What is in the book already gets out of the way of their ids.
        """
        kept = list(self._timers.values())
        self._timers = {timer.id: replace(timer, restored=True) for timer in timers}
        self._last_id = max((self._last_id, *self._timers))
        for timer in kept:
            self._last_id += 1
            self._timers[self._last_id] = replace(timer, id=self._last_id)
        self.on_change()

    def clock_stepped(self, step_s: float) -> None:
        """Follow a wall clock that was set forward by `step_s`, or back where negative.

        Timers of this process run on: minutes are minutes. Of those of an earlier one only the wall clock knows
        when they end.
        """
        for timer in tuple(self._timers.values()):
            if timer.restored and timer.ends_at_s is not None:
                self._timers[timer.id] = replace(timer, ends_at_s=timer.ends_at_s - step_s)
        self.on_change()

    def find(self, name: str = "", duration_s: float | None = None) -> tuple[Timer, ...]:
        """Timers of that name and that duration; all of them where neither is given."""
        return tuple(
            timer
            for timer in self._timers.values()
            if (not name or timer.name.casefold() == name.casefold())
            and (duration_s is None or abs(timer.duration_s - duration_s) < 1)
        )

    def left_s(self, timer: Timer) -> float:
        """Seconds until a timer rings, at least 0."""
        return timer.left_s(self._clock.monotonic())

    def cancel(self, timer: Timer) -> None:
        """Take a timer away; nothing happens if it is gone already."""
        if self._timers.pop(timer.id, None):
            self.on_change()

    def pause(self, timer: Timer) -> Timer:
        """Stop a timer's time; a paused one stays as it is.

        Raises:
            KeyError: The timer is gone.
        """
        timer = self._timers[timer.id]
        if not timer.paused:
            timer = self._put(replace(timer, ends_at_s=None, paused_left_s=self.left_s(timer)))
        return timer

    def resume(self, timer: Timer) -> Timer:
        """Let a timer's time go on; a running one stays as it is.

        Raises:
            KeyError: The timer is gone.
        """
        timer = self._timers[timer.id]
        if timer.paused:
            ends_at_s = self._clock.monotonic() + self.left_s(timer)
            timer = self._put(replace(timer, ends_at_s=ends_at_s, paused_left_s=None, restored=False))
        return timer

    def next_due_s(self) -> float | None:
        """Seconds until the next timer rings, at least 0; None where none runs."""
        return min((self.left_s(timer) for timer in self._timers.values() if not timer.paused), default=None)

    def pop_due(self) -> tuple[Timer, ...]:
        """Take out the timers that ring now, the earliest first."""
        now_s = self._clock.monotonic()
        due = [timer for timer in self._timers.values() if timer.ends_at_s is not None and timer.ends_at_s <= now_s]
        for timer in due:
            del self._timers[timer.id]
        if due:
            self.on_change()
        return tuple(sorted(due, key=lambda timer: (timer.ends_at_s or 0.0, timer.id)))

    def _put(self, timer: Timer) -> Timer:
        self._timers[timer.id] = timer
        self.on_change()
        return timer
