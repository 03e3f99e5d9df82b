"""Keeps what C libraries write to standard error from standing among what the agent says."""

from __future__ import annotations

import ctypes
import logging
import os
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_log = logging.getLogger(__name__)


@contextmanager
def hushed() -> Iterator[None]:
    """Turn the C library's `stderr` to nowhere: PortAudio, ALSA and JACK write there while they look around.

    File descriptor 2 stays what it is, so that nothing of Python's is lost, however long such a call takes.
    """
    try:
        stderr = ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stderr")
    except (OSError, ValueError):  # a C library where it is no variable: then there is noise
        stderr = None
    if stderr is None or _log.isEnabledFor(logging.DEBUG):
        yield
        return
    before, stderr.value = stderr.value, _nowhere()
    try:
        yield
    finally:
        stderr.value = before


@cache
def _nowhere() -> int | None:
    """Return a FILE that leads to /dev/null, open for as long as the process lives: a thread may still be writing."""
    fopen = ctypes.CDLL(None).fopen
    fopen.restype = ctypes.c_void_p
    stream: int | None = fopen(os.devnull.encode(), b"we")
    return stream
