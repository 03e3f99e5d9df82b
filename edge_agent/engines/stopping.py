"""Which generator belongs to which job, so that a stop hits that job alone."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")


class Stops:
    """How each job of an engine is stopped, from the moment it is made. Any thread.

    A job keeps its own mark: a stop that comes before its first step is not lost, one that comes after its last does
    nothing, and neither reaches the job that follows.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stops: WeakKeyDictionary[Generator[Any, None, None], Callable[[], None]] = WeakKeyDictionary()

    def add(self, job: Generator[T, None, None], stop: Callable[[], None]) -> Generator[T, None, None]:
        """Note how `job` is stopped, and return it. `stop` must not hold on to the job."""
        with self._lock:
            self._stops[job] = stop
        return job

    def stop(self, job: Generator[Any, None, None] | None = None) -> None:
        """Stop `job`, or every job made so far; nothing where it is unknown or over."""
        with self._lock:
            stops = list(self._stops.values()) if job is None else [self._stops.get(job, _nothing)]
        for stop in stops:
            stop()


def _nothing() -> None:
    """There is no such job."""
