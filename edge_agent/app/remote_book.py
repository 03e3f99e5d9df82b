"""What the device knows of remote documents: kept on disk, in force, and told."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from edge_agent.app.remote_layers import in_force, scopes_of, with_document, without_documents
from edge_agent.app.remote_report import kept_errors, report, written
from edge_agent.app.remote_verdicts import (
    MOST_STARTS,
    after_restart,
    in_force_after_all,
    left_out,
    refused,
    without_strangers,
)
from edge_agent.errors import ConfigProblem, JobTimeoutError, PoolBusyError, StoreError
from edge_agent.mqtt.topics import Topics
from edge_agent.store.revisions import Latest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from edge_agent.app.remote_layers import InForce, Scope
    from edge_agent.config.layers import RemoteLayer
    from edge_agent.config.load import OwnConfig
    from edge_agent.runtime.pool import Pool
    from edge_agent.store.revisions import KeptError, Outcome, RemoteState, RevisionStore

T = TypeVar("T")

_log = logging.getLogger(__name__)

_KEEP_S = 10.0
"""A card that takes longer to write a few kilobytes is broken."""
_KEEP_AT_END_S = 0.5
_BUSY_TRIES = 20
_BUSY_S = 0.25


class RemoteBook:
    """Remembers verdicts on remote documents, in memory first and on disk, and tells of them. Belongs to the loop.

    Attributes:
        scopes: This device's layers by their names, the weakest first.
        topics: Each layer's topic and name, the weakest first; none where `remote.configuration` is off.
        reported: What config/reported holds.
        state: What is known; what is on disk may lag behind where the disk says no.
        standing: What is in force.
    """

    state: RemoteState
    standing: InForce

    def __init__(
        self,
        own: OwnConfig,
        revisions: RevisionStore,
        pool: Pool,
        *,
        device_id: str,
        tell: Callable[[str], None],
        now: Callable[[], datetime],
    ) -> None:
        self._own = own
        self._revisions = revisions
        self._pool = pool
        self._device_id = device_id
        self._tell = tell
        self._now = now
        self._listeners: list[Callable[[dict[str, Any]], None]] = []
        self.scopes: dict[str, Scope] = {}
        self.topics: dict[str, str] = {}
        self.reported: dict[str, Any] = {}

    def watch(self, listener: Callable[[dict[str, Any]], None]) -> None:
        """Have `listener` called each time `reported` changes."""
        self._listeners.append(listener)

    @property
    def time(self) -> str:
        """The wall clock's time, as it is written down."""
        return written(self._now())

    async def open(self) -> None:
        """Read what was kept. Damaged files are a fault, and no obstacle.

        Raises:
            ConfigError: The owner's own configuration is wrong.
        """
        loaded = await self.run(self._revisions.load, "config.load")
        for fault in loaded.faults:
            self._tell(fault)
        own = await self.run(self._own.under, "config.check")
        self.scopes = scopes_of(self._device_id, own.groups)
        if own.remote.configuration:
            topics = Topics(self._device_id, own.groups).desired()
            self.topics = dict(zip(topics, self.scopes, strict=True))
        self.state = without_strangers(after_restart(loaded.state, self.time), self.scopes, own.remote.public_key)
        self.standing = await self.run(partial(in_force, self._own, self.state, self._device_id), "config.check")
        self.state = in_force_after_all(self.state, self.standing.layers)
        if self.state.starts >= MOST_STARTS:
            self.state = self.state.model_copy(update={"starts": 0})
            await self.do_without(f"the service stopped {MOST_STARTS} times soon after it had started with it")
        elif self.standing.left_out:
            self.state = left_out(self.state, self.standing.left_out, "rejected", self.time)
        if self.standing.layers:
            self.state = self.state.model_copy(update={"starts": self.state.starts + 1})
        if (self.state.trial, self.state.starts) != (loaded.state.trial, loaded.state.starts):
            await self.keep_verdict(self.state)
        for scope, errors in self.standing.left_out.items():
            self._tell(f"the remote configuration of {scope} is left out: {said(errors)}")
        self.report()

    async def do_without(self, reason: str) -> None:
        """Let no remote document count in this run."""
        errors = kept_errors([ConfigProblem("", reason, "")])
        self.standing = await self.run(partial(without_documents, self._own, self.standing, errors), "config.check")
        self.state = left_out(self.state, self.standing.left_out, "rolled_back", self.time)
        self.report()

    async def weigh(self, scope: Scope, layer: RemoteLayer) -> InForce:
        """Return what a document would make of the configuration.

        Raises:
            ConfigError: It is wrong, or makes the whole wrong.
        """
        call = partial(with_document, self._own, self.standing, scope, layer, tuple(self.scopes))
        return await self.run(call, "config.check")

    async def weigh_own(self, own: OwnConfig) -> InForce:
        """Return what another configuration of the owner's would make of the whole, with the documents in force.

        Raises:
            ConfigError: It is wrong.
        """
        return await self.run(partial(in_force, own, self.state, self._device_id), "config.check")

    def take_own(self, own: OwnConfig, standing: InForce) -> None:
        """Go by another configuration of the owner's."""
        self._own, self.standing = own, standing
        for scope, errors in standing.left_out.items():
            self._tell(f"the remote configuration of {scope} is left out: {said(errors)}")
        if standing.left_out:
            self.state = left_out(self.state, standing.left_out, "rejected", self.time)
        self.report()

    async def went_well(self) -> None:
        """The device has run with its configuration for a while."""
        if self.state.starts:
            await self.keep_verdict(self.state.model_copy(update={"starts": 0}))

    async def end_well(self) -> None:
        """The device ends by order, which is not held against its configuration; a slow card is not waited for."""
        if self.state.starts:
            state = self.state.model_copy(update={"starts": 0})
            with contextlib.suppress(StoreError, TimeoutError, PoolBusyError, RuntimeError):  # the pool may be closed
                async with asyncio.timeout(_KEEP_AT_END_S):
                    await self._pool.run(partial(self._revisions.save, state), kind="config.keep")
                self.state = state

    async def settle(
        self, scope: str, revision: int, digest: str, outcome: Outcome, errors: Sequence[KeptError]
    ) -> None:
        """Remember that a document is not to be tried again."""
        _log.warning("%s revision %d: %s: %s", scope, revision, outcome, said(errors))
        await self.keep_verdict(
            refused(self.state, scope, revision, digest, outcome=outcome, errors=errors, at=self.time)
        )

    def refuse(self, scope: str, revision: int | None, errors: Iterable[tuple[str, str]]) -> None:
        """Tell that a document is not taken; not remembered, since a forged one must not use up a revision."""
        kept = kept_errors(ConfigProblem(key, message, "") for key, message in errors)
        _log.warning("%s revision %s: rejected: %s", scope, revision, said(kept))
        latest = Latest(outcome="rejected", scope=scope, revision=revision, errors=kept, at=self.time)
        self.state = self.state.model_copy(update={"latest": latest})
        self.report()

    async def keep_verdict(self, state: RemoteState) -> None:
        """Write `state`; it holds in this run even where the disk does not take it."""
        self.state = state
        if (why_not := await self.keep(state)) is not None:
            self._tell(why_not)

    async def keep(self, state: RemoteState) -> str | None:
        """Write `state`, which does not hold yet; return why it can't be kept."""
        try:
            await self.run(partial(self._revisions.save, state), "config.keep", timeout_s=_KEEP_S)
        except (StoreError, JobTimeoutError, PoolBusyError) as error:
            return str(error)
        return None

    def report(self) -> None:
        """Tell what is in force and what became of the last document, where that is news."""
        reported = report(self.state, self.standing, self.scopes)
        is_new, self.reported = reported != self.reported, reported
        if is_new:
            for listener in self._listeners:
                listener(reported)

    async def run(self, call: Callable[[], T], kind: str, timeout_s: float | None = None) -> T:
        """Run `call` on the pool, and be patient with a full one.

        Raises:
            PoolBusyError: It was full for seconds.
        """
        for _ in range(_BUSY_TRIES):
            try:
                return await self._pool.run(call, kind=kind, timeout_s=timeout_s)
            except PoolBusyError:
                await asyncio.sleep(_BUSY_S)
        return await self._pool.run(call, kind=kind, timeout_s=timeout_s)


def said(errors: Iterable[KeptError]) -> str:
    """Return errors as one line."""
    return "; ".join(f"{error.key}: {error.message}" if error.key else error.message for error in errors) or "no reason"
