"""Which commands were begun, and what came of them: on disk where there is one, and of the latest in memory."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NoReturn

from edge_agent.errors import FaultError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.store.commands import CommandStore, StoredCommand

_log = logging.getLogger(__name__)

KEPT = timedelta(hours=24)
_RECENT = 500
_RECENT_BYTES = 1 << 20
_TIDY_EVERY_S = 3600.0
_UNFINISHED = 64


def utc_now() -> datetime:
    """Return the present moment."""
    return datetime.now(UTC)


class CommandMemory:
    """Remembers commands for 24 hours. Belongs to the loop.

    A disk that fails is reported once, until it works again; the latest commands are then known as long as the process
    lives.

    Args:
        store: None where there is no database.
        report: Is told, in a line, that commands are not kept.
        now: The time of day.
    """

    def __init__(
        self, store: CommandStore | None, report: Callable[[str], None], now: Callable[[], datetime] = utc_now
    ) -> None:
        self._store = store
        self._report = report
        self._now = now
        self._failing = False
        self._recent: OrderedDict[str, StoredCommand] = OrderedDict()
        self._recent_bytes = 0

    @property
    def is_durable(self) -> bool:
        """Whether what was begun last is on disk."""
        return self._store is not None and not self._failing

    async def begin(self, command: StoredCommand) -> StoredCommand | None:
        """Note that a command begins; return the one of its id that was noted before instead, where there is one."""
        forget_before = self._now() - KEPT
        earlier = self._recent.get(command.id)
        if earlier is not None and earlier.begun_at >= forget_before:
            return earlier
        if self._store is not None:
            try:
                earlier = await self._store.begin(command, forget_before=forget_before)
            except FaultError as error:
                self._fail(error)
            else:
                self._failing = False
                if earlier is not None:
                    return earlier
        self._note(command)
        return None

    async def finish(self, command: StoredCommand, result: bytes) -> None:
        """Keep a command's result."""
        self._note(replace(command, result=result))
        if self._store is not None:
            try:
                await self._store.finish(command, result)
            except FaultError as error:
                self._fail(error)

    async def unfinished(self) -> tuple[StoredCommand, ...]:
        """Return the commands whose end an earlier process did not live to see."""
        if self._store is None:
            return ()
        try:
            return await self._store.unfinished(_UNFINISHED)
        except FaultError as error:
            self._fail(error)
            return ()

    async def tidy_loop(self) -> NoReturn:
        """Forget what is old, now and every hour."""
        while True:
            if self._store is not None:
                try:
                    await self._store.prune(older_than=self._now() - KEPT)
                except FaultError as error:
                    self._fail(error)
            await asyncio.sleep(_TIDY_EVERY_S)

    def _note(self, command: StoredCommand) -> None:
        old = self._recent.pop(command.id, None)
        self._recent_bytes -= _size(old)
        self._recent[command.id] = command
        self._recent_bytes += _size(command)
        while len(self._recent) > 1 and (len(self._recent) > _RECENT or self._recent_bytes > _RECENT_BYTES):
            _, oldest = self._recent.popitem(last=False)
            self._recent_bytes -= _size(oldest)

    def _fail(self, error: FaultError) -> None:
        if not self._failing:
            message = f"commands are not kept over a restart: {error}"
            _log.error("%s", message)
            self._report(message)
        self._failing = True


def _size(command: StoredCommand | None) -> int:
    if command is None:
        return 0
    return len(command.id) + len(command.reply_topic) + len(command.correlation or b"") + len(command.result or b"")
