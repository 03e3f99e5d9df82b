"""What is remembered of commands without a disk is bounded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from edge_agent.mqtt.command_memory import CommandMemory
from edge_agent.store.commands import StoredCommand

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_command(number: int, begun_at: datetime = NOON) -> StoredCommand:
    """A command to say something."""
    return StoredCommand(f"id-{number}", "say", "replies/me", None, begun_at)


async def test_the_latest_are_known() -> None:
    """Five hundred, or a mebibyte of results; the oldest go first."""
    memory = CommandMemory(None, lambda _: None, lambda: NOON)
    for number in range(600):
        assert await memory.begin(a_command(number)) is None
    assert await memory.begin(a_command(99)) is None
    assert await memory.begin(a_command(599)) == a_command(599)
    for number in range(600, 640):
        await memory.begin(a_command(number))
        await memory.finish(a_command(number), bytes(60_000))
    known = [await memory.begin(a_command(number)) is not None for number in range(600, 640)]
    assert sum(known) == 17
    assert known == sorted(known)
    assert not memory.is_durable


async def test_after_a_day_an_id_is_new() -> None:
    """As on disk."""
    now = NOON
    memory = CommandMemory(None, lambda _: None, lambda: now)
    await memory.begin(a_command(1))
    now = NOON + timedelta(hours=23)
    assert await memory.begin(a_command(1)) is not None
    now = NOON + timedelta(hours=24, seconds=1)
    assert await memory.begin(a_command(1, now)) is None
    assert await memory.unfinished() == ()
