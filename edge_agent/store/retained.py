"""Topics at which the broker keeps a message of ours, so that it can be taken back after the setting has gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edge_agent.store.connection import StoreConnection
    from edge_agent.store.database import Database

_MOST = 100
"""A device is renamed a few times in its life."""


class RetainedStore:
    """A set of topics; what is in it survives a power cut.

    Every method raises StoreError, JobTimeoutError and BusyError as the database does.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> frozenset[str]:
        """Return the topics."""

        def job(connection: StoreConnection) -> list[tuple[str]]:
            return connection.execute("SELECT topic FROM retained LIMIT ?", (_MOST,)).fetchall()

        return frozenset(topic for (topic,) in await self._database.read(job, kind="retained.all"))

    async def add(self, topic: str) -> None:
        """Note that a message is about to be left at `topic`."""
        await self._database.write(
            lambda connection: connection.execute("INSERT OR IGNORE INTO retained VALUES (?)", (topic,)).close(),
            kind="retained.add",
        )

    async def remove(self, topic: str) -> None:
        """Note that the message at `topic` was taken back."""
        await self._database.write(
            lambda connection: connection.execute("DELETE FROM retained WHERE topic = ?", (topic,)).close(),
            kind="retained.remove",
        )
