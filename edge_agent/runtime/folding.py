"""Folds what a log would repeat: the same warning again and again says nothing new, and wears a card out. Pure."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass

_TIMES = 3
"""So often the same warning is written each time."""
_WINDOW_S = 600.0
"""Then once in so long, with the number of those that were left out."""
_MOST_KINDS = 64


@dataclass(slots=True)
class _Repeated:
    written_s: float
    written: int = 1
    folded: int = 0
    latest: logging.LogRecord | None = None


class Folding:
    """Decides, record by record, what is written. Not for several threads at once."""

    def __init__(self) -> None:
        self._repeated: dict[tuple[str, int, str], _Repeated] = {}

    def take(self, record: logging.LogRecord, now_s: float) -> list[logging.LogRecord]:
        """Return what is to be written now: `record`, or nothing, and first what is due of others."""
        due = self._expire(now_s)
        if record.levelno < logging.WARNING:
            return [*due, record]
        key = (record.name, record.levelno, record.getMessage())
        known = self._repeated.get(key)
        if known is None:
            if len(self._repeated) >= _MOST_KINDS:
                due += self._close(next(iter(self._repeated)))
            self._repeated[key] = _Repeated(now_s)
            return [*due, record]
        if known.written < _TIMES:
            known.written += 1
            known.written_s = now_s
            return [*due, record]
        known.folded += 1
        known.latest = record
        return due

    def finish(self) -> list[logging.LogRecord]:
        """Return what was left out and has not been told."""
        return [record for key in list(self._repeated) for record in self._close(key)]

    def _expire(self, now_s: float) -> list[logging.LogRecord]:
        """Tell of what was folded for a whole window; what did not come back meanwhile is as good as new."""
        due: list[logging.LogRecord] = []
        for key, known in list(self._repeated.items()):
            if now_s - known.written_s < _WINDOW_S:
                continue
            if known.latest is None:
                del self._repeated[key]
            else:
                due.append(_told(known.latest, known.folded))
                known.written_s, known.folded, known.latest = now_s, 0, None
        return due

    def _close(self, key: tuple[str, int, str]) -> list[logging.LogRecord]:
        known = self._repeated.pop(key)
        return [] if known.latest is None else [_told(known.latest, known.folded)]


def _told(record: logging.LogRecord, count: int) -> logging.LogRecord:
    told = copy.copy(record)
    times = "once more" if count == 1 else f"{count} times more"
    told.msg, told.args = f"{record.getMessage()} ({times} since this was last written)", None
    told.exc_info = told.exc_text = None
    return told
