"""Writes log records to systemd's journal with their fields, through systemd-python."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from edge_agent.runtime.fields import fields_of

if TYPE_CHECKING:
    from collections.abc import Callable

IDENTIFIER = "edge-agent"
_PRIORITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG_PRIORITY = 7
_MOST_VALUE = 4000
"""Characters of a field's value."""


def priority(level: int) -> int:
    """Return the priority of syslog(3) for a level of logging."""
    return next((priority for least, priority in _PRIORITIES if level >= least), _DEBUG_PRIORITY)


class JournalWriter:
    """Writes one record after the other. Blocks while the journal's socket is full: for a thread of its own.

    Not systemd's `JournalHandler`, which makes a field of every attribute that a record has.

    Args:
        send: `systemd.journal.sendv`: takes fields as `NAME=value`.
    """

    def __init__(self, send: Callable[..., Any]) -> None:
        self._send = send
        self._formatter = logging.Formatter()

    @classmethod
    def open(cls) -> JournalWriter | None:
        """Return a writer, or None where systemd-python is not installed."""
        try:
            from systemd.journal import sendv
        except ImportError:
            return None
        return cls(sendv)

    def write(self, record: logging.LogRecord) -> None:
        """Write a record, its traceback in the same entry.

        Raises:
            OSError: The journal does not take it.
        """
        self._send(*(f"{name}={value}" for name, value in self.entry(record).items()))

    def entry(self, record: logging.LogRecord) -> dict[str, str]:
        """Return the fields of a record's entry."""
        entry = {
            "MESSAGE": self._formatter.format(record),
            "PRIORITY": str(priority(record.levelno)),
            "SYSLOG_IDENTIFIER": IDENTIFIER,
            "LOGGER": record.name,
            "THREAD_NAME": str(record.threadName),
            "CODE_FILE": record.pathname,
            "CODE_LINE": str(record.lineno),
            "CODE_FUNC": str(record.funcName),
        }
        message_id = record.__dict__.get("MESSAGE_ID")
        if message_id is not None:
            entry["MESSAGE_ID"] = str(message_id)
        return {**entry, **{name: str(value)[:_MOST_VALUE] for name, value in fields_of(record).items()}}
