"""Kitchen timers: several at once, pausable. Pure: the caller brings the time and asks what is due."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_agent.errors import BusyError

if TYPE_CHECKING:
    from collections.abc import Iterable

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
    """

    id: int
    name: str
    duration_s: float
    ends_at_s: float | None
    paused_left_s: float | None = None

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
        self._timers[timer.id] = timer
        return timer

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
        self._timers.pop(timer.id, None)

    def pause(self, timer: Timer) -> Timer:
        """Stop a timer's time; a paused one stays as it is.

        Raises:
            KeyError: The timer is gone.
        """
        timer = self._timers[timer.id]
        if not timer.paused:
            timer = replace(timer, ends_at_s=None, paused_left_s=self.left_s(timer))
            self._timers[timer.id] = timer
        return timer

    def resume(self, timer: Timer) -> Timer:
        """Let a timer's time go on; a running one stays as it is.

        Raises:
            KeyError: The timer is gone.
        """
        timer = self._timers[timer.id]
        if timer.paused:
            timer = replace(timer, ends_at_s=self._clock.monotonic() + self.left_s(timer), paused_left_s=None)
            self._timers[timer.id] = timer
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
        return tuple(sorted(due, key=lambda timer: (timer.ends_at_s or 0.0, timer.id)))
