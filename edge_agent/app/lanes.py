"""The lanes of one agent."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from edge_agent.runtime.lane import Lane

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Lanes:
    """A thread for each kind of blocking work; a lane's thread starts with its first job."""

    capture: Lane
    asr: Lane
    match: Lane
    llm: Lane
    tts: Lane


@contextmanager
def open_lanes() -> Iterator[Lanes]:
    """Open all lanes; leaving waits for the steps that run."""
    lanes = Lanes(*(Lane(field.name) for field in fields(Lanes)))
    try:
        yield lanes
    finally:
        for field in fields(Lanes):
            getattr(lanes, field.name).close()
