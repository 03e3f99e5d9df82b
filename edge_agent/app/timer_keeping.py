"""Keeps timers and alarms on disk: what is set survives the end of the process, however it ends."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from edge_agent.errors import FaultError
from edge_agent.reason.alarms import Alarm
from edge_agent.reason.timers import Timer
from edge_agent.store.alarms import StoredAlarm
from edge_agent.store.timers import StoredTimer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_agent.reason.bell import Bell
    from edge_agent.reason.ports import Clock
    from edge_agent.store.timers import TimerStore

_log = logging.getLogger(__name__)

_RETRY_S = 30.0
KIND = "timer"


class TimerKeeping:
    """Restores the books from the store, and writes them to it after every change. Belongs to the loop.

    The whole of both books is written in one transaction, what rings and what was missed included, so that a process
    that is killed while something rings does not swallow it. Changes made during a write are written together after
    it.

    Args:
        store: Where to.
        bell: Its books.
        clock: The books' clock.
        report: Is told once that timers are not kept, and why; again only after they were.
    """

    def __init__(self, store: TimerStore, bell: Bell, clock: Clock, report: Callable[[str], None]) -> None:
        self._store = store
        self._bell = bell
        self._clock = clock
        self._report = report
        self._failing = False
        self._changed = 0
        self._written = 0
        self._wake = asyncio.Event()
        self._done = asyncio.Event()

    @property
    def is_behind(self) -> bool:
        """Whether something changed that is not on disk."""
        return self._written != self._changed

    async def restore(self) -> None:
        """Read what an earlier process kept into the books; a failure is reported, and they stay as they are."""
        try:
            timers, alarms = await self._store.all(), await self._store.alarms()
        except FaultError as error:
            self._fail(error)
            return
        now, now_s = self._clock.now(), self._clock.monotonic()
        self._bell.timers.restore(
            Timer(
                timer.id,
                timer.name,
                timer.duration_s,
                None if timer.due_at is None else now_s + (timer.due_at - now).total_seconds(),
                timer.paused_left_s,
            )
            for timer in timers
            if timer.kind == KIND
        )
        self._bell.alarms.restore(
            Alarm(
                alarm.id,
                alarm.name,
                alarm.local,
                alarm.weekdays,
                None if alarm.snoozed_until is None else now_s + (alarm.snoozed_until - now).total_seconds(),
            )
            for alarm in alarms
        )

    def changed(self) -> None:
        """Something changed: it is written at once, by `write_loop`."""
        self._changed += 1
        self._wake.set()

    async def write_loop(self) -> None:
        """Write after every change; after a failure try again every 30 s, or at the next change."""
        while True:
            self._wake.clear()
            if self.is_behind:
                await self.write()
            try:
                async with asyncio.timeout(_RETRY_S if self._failing else None):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def write(self) -> None:
        """Write the books as they are now; a failure is reported, and the timers go on in memory."""
        version = self._changed
        held = self._bell.held
        # What is held is behind what is in the book: a repeated alarm that rings has its next time there already.
        timers = {item.id: item for item in (*self._bell.timers.timers, *held) if isinstance(item, Timer)}
        alarms = {item.id: item for item in (*self._bell.alarms.alarms, *held) if isinstance(item, Alarm)}
        try:
            await self._store.replace(self._stored_timers(timers.values()), self._stored_alarms(alarms.values()))
        except FaultError as error:
            self._fail(error)
            return
        if self._failing:
            _log.warning("timers are kept on disk again")
        self._failing = False
        self._written = version
        self._done.set()

    async def saved(self) -> None:
        """Wait until all changes up to now are on disk, or can't be written."""
        version = self._changed
        while self._written < version and not self._failing:
            self._done.clear()
            await self._done.wait()

    def _fail(self, error: FaultError) -> None:
        if not self._failing:
            _log.error("timers are not kept over a restart: %s", error)
            self._report(f"timers are not kept over a restart: {error}")
        self._failing = True
        self._done.set()

    def _stored_timers(self, timers: Iterable[Timer]) -> list[StoredTimer]:
        now, now_s = self._clock.now(), self._clock.monotonic()
        return [
            StoredTimer(
                timer.id,
                KIND,
                timer.name,
                timer.duration_s,
                None if timer.ends_at_s is None else now + timedelta(seconds=timer.ends_at_s - now_s),
                timer.paused_left_s,
            )
            for timer in timers
        ]

    def _stored_alarms(self, alarms: Iterable[Alarm]) -> list[StoredAlarm]:
        now, now_s = self._clock.now(), self._clock.monotonic()
        return [
            StoredAlarm(
                alarm.id,
                alarm.name,
                alarm.local,
                alarm.days,
                now + timedelta(seconds=self._bell.alarms.left_s(alarm)),
                None if alarm.snooze_ends_s is None else now + timedelta(seconds=alarm.snooze_ends_s - now_s),
            )
            for alarm in alarms
        ]
