"""Fields of log records beside their text, for the journal: which turn, which stage, which device, how long.

A record's own come with `extra={"EDGE_DEVICE": name}`; those of what goes on at the time are set around it and hold for
all that is logged there, in tasks that are started there, too.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import logging
    from collections.abc import Iterator, Mapping

PREFIX = "EDGE_"
"""What the names of our fields begin with; journald takes upper-case letters, digits and underscores."""
_NONE: Mapping[str, object] = {}
_around: ContextVar[Mapping[str, object]] = ContextVar("edge_log_fields", default=_NONE)


@contextmanager
def log_fields(**fields: object) -> Iterator[None]:
    """Give all that is logged within, and in tasks that are started within, these fields; inner ones count."""
    token = _around.set({**_around.get(), **fields})
    try:
        yield
    finally:
        _around.reset(token)


def note_fields(record: logging.LogRecord) -> None:
    """Put the fields that hold here and now into a record; its own count."""
    for name, value in _around.get().items():
        record.__dict__.setdefault(name, value)


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """Return our fields of a record."""
    return {name: value for name, value in record.__dict__.items() if name.startswith(PREFIX) and value is not None}
