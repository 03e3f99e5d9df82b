"""Remote configuration as transactions: judged, tried, proved, then kept, or rolled back; whatever happens meanwhile.

    offered ─▶ judged ─▶ staged ─▶ applied ─▶ proved ─▶ kept
                 │         │          │         │        │
                 ▼         ▼          ▼         ▼        ▼
              rejected  rejected   rolled back: the configuration before

On disk a document counts from `kept` on; before that there is only the note that it is being tried. So a device that
stops at any moment begins with the old configuration or with the new one, never with one that did not prove itself.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from edge_agent.app.change import Applier, ChangeError, RollBackFailedError, go_back, prove, try_out
from edge_agent.app.remote_book import RemoteBook
from edge_agent.app.remote_report import kept_errors, plain, written
from edge_agent.app.remote_verdicts import accepted, begun, known_already
from edge_agent.app.rereading import reread
from edge_agent.errors import ConfigError, PoolBusyError
from edge_agent.mqtt.desired import MOST_BYTES, Addressee, DocumentError, read_desired
from edge_agent.mqtt.signing import KeyFormError, SigningUnavailableError
from edge_agent.store.revisions import KeptError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.app.remote_layers import InForce, Scope
    from edge_agent.config.load import OwnConfig
    from edge_agent.config.schema import Config
    from edge_agent.mqtt.desired import Desired
    from edge_agent.runtime.pool import Pool
    from edge_agent.store.revisions import RevisionStore

__all__ = ["Applier", "ChangeError", "Reconfiguration", "RollBackFailedError"]

_log = logging.getLogger(__name__)

_DEBOUNCE_S = 0.3
"""At a connect the documents of all layers arrive within this, and are taken in order."""
_CLOCK_S = 10.0
"""How often it is looked whether the clock was set, while a signed document waits for that."""
_SURVIVED_S = 60.0
"""After so long a start counts as one that went well."""
_LONGEST_REASON = 240
EARLIEST = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""A clock that says less was not set: boards without a battery begin in the past."""


class Reconfiguration:
    """Takes desired documents, changes the running agent, and says what became of it. Its methods belong to the loop.

    Args:
        own: The owner's configuration.
        revisions: What is kept.
        pool: For files and for reading documents.
        device_id: Whose documents the device layer is.
        tell: Is told of faults in one line.
        now: The wall clock.
        read_own: Reads the owner's configuration again; None: it is never read again.
        debounce_s: How long it is waited for further documents before the first is judged.
    """

    def __init__(
        self,
        own: OwnConfig,
        revisions: RevisionStore,
        pool: Pool,
        *,
        device_id: str,
        tell: Callable[[str], None] = _log.error,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        read_own: Callable[[], OwnConfig] | None = None,
        debounce_s: float = _DEBOUNCE_S,
    ) -> None:
        self._book = RemoteBook(own, revisions, pool, device_id=device_id, tell=tell, now=now)
        self._tell = tell
        self._now = now
        self._debounce_s = debounce_s
        self._read_own = read_own
        self._is_reread_due = False
        self._pending: dict[str, bytes] = {}
        self._too_early: dict[str, bytes] = {}
        """Signed documents that can't be judged before the clock is set."""
        self._noticed: dict[str, bytes] = {}
        """By topic the hash of what was refused without being remembered on disk: it is not refused twice aloud."""
        self._arrived = asyncio.Event()
        self._is_off_course = False
        """The agent may be running something else than `config`."""

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._book.standing.config

    @property
    def reported(self) -> dict[str, Any]:
        """What config/reported holds."""
        return self._book.reported

    @property
    def topics(self) -> tuple[str, ...]:
        """What is to be subscribed to; nothing where `remote.configuration` is off."""
        return tuple(self._book.topics)

    def watch(self, listener: Callable[[dict[str, Any]], None]) -> None:
        """Have `listener` called each time `reported` changes."""
        self._book.watch(listener)

    async def boot(self) -> Config:
        """Read what was kept and return the configuration to begin with. Damaged files are a fault, and no obstacle.

        Raises:
            ConfigError: The owner's own configuration is wrong.
        """
        await self._book.open()
        return self.config

    async def fall_back(self, reason: str) -> Config:
        """Return the owner's own configuration: the agent does not start with the remote documents over it.

        They count again at the next start, since what is missing may be back by then.
        """
        await self._book.do_without(f"the device does not start with it: {reason}")
        self._tell(f"without remote configuration: {plain(reason, _LONGEST_REASON)}")
        return self.config

    async def end_well(self) -> None:
        """The device ends by order: that is held against no document but one that is being tried."""
        if not self._is_off_course:
            await self._book.end_well()

    def offer(self, topic: str, payload: bytes) -> None:
        """Take a document that arrived. While one is being tried the latest of each topic waits; returns at once."""
        if topic not in self._book.topics:
            _log.debug("no layer has the topic %s", topic[:200])
            return
        if topic in self._too_early and self._too_early[topic] == payload:
            return
        self._too_early.pop(topic, None)
        # Cut off, a document that is too large is still too large, and takes no memory.
        self._pending[topic] = payload[: MOST_BYTES + 1]
        self._arrived.set()

    def reread(self) -> None:
        """Read the owner's file again as soon as no document is being tried; returns at once."""
        self._is_reread_due = self._read_own is not None
        self._arrived.set()

    async def run_loop(self, applier: Applier) -> None:
        """Try one document at a time until cancelled. Begun again after it failed, it first returns to `config`.

        Raises:
            RollBackFailedError: The agent does not return to the configuration before a failed change.
            PoolBusyError: The pool takes nothing for seconds; the document waits for the next run.
        """
        survived_at_s = asyncio.get_running_loop().time() + _SURVIVED_S
        try:
            if self._is_off_course:
                await self._settle_interrupted(applier)
            while True:
                await self._wait(survived_at_s)
                if self._is_reread_due and self._read_own is not None:
                    self._is_reread_due = False
                    self._is_off_course = True
                    await reread(self._read_own, self._book, applier, self._tell)
                    self._is_off_course = False
                for topic in self._book.topics:
                    if (payload := self._pending.pop(topic, None)) is not None:
                        await self._take(topic, payload, applier)
        except asyncio.CancelledError:
            await self.end_well()
            raise

    async def _wait(self, survived_at_s: float) -> None:
        """Return when documents are there, and a moment later, for more may follow."""
        clock_s = asyncio.get_running_loop().time
        while not self._pending and not self._is_reread_due:
            self._arrived.clear()
            waits_s = [_CLOCK_S] if self._too_early else []
            if self._book.state.starts:
                waits_s.append(max(0.0, survived_at_s - clock_s()))
            try:
                async with asyncio.timeout(min(waits_s, default=None)):
                    await self._arrived.wait()
            except TimeoutError:
                if clock_s() >= survived_at_s:
                    await self._book.went_well()
                if self._too_early and self._is_clock_set():
                    self._pending, self._too_early = {**self._too_early, **self._pending}, {}
        await asyncio.sleep(self._debounce_s)

    async def _take(self, topic: str, payload: bytes, applier: Applier) -> None:
        if not payload:
            return  # nothing is desired any more: what is in force stays
        name = self._book.topics[topic]
        content = hashlib.sha256(payload).digest()
        if self._noticed.get(topic) == content:
            return

        def refuse(key: str, message: str, revision: int | None) -> None:
            self._book.refuse(name, revision, [(key, message)])

        try:
            desired = await self._read(name, payload)
            if desired is None:
                return
            if desired.expires_at is not None and not self._is_clock_set():
                self._too_early[topic] = payload
                refuse(
                    "expires_at", "can't be judged before the device's clock is set; it will be then", desired.revision
                )
                return
            self._check_expiry(desired)
            why_not = await self._judge(name, desired, applier)
        except DocumentError as error:
            self._noticed[topic] = content
            refuse(error.key, error.message, error.revision)
        except PoolBusyError:
            self._pending.setdefault(topic, payload)
            raise
        else:
            self._noticed.pop(topic, None)
            if why_not is not None:
                refuse("", why_not, desired.revision)

    async def _read(self, name: str, payload: bytes) -> Desired | None:
        """Return a document that is to be judged; None for one that was.

        Raises:
            DocumentError: It does not count here.
        """
        scope = self._book.scopes[name]
        addressee = Addressee(scope.layer, scope.name, self.config.remote.public_key)
        try:
            desired = await self._book.run(partial(read_desired, payload, addressee), "config.read")
        except (KeyFormError, SigningUnavailableError) as error:
            raise DocumentError("signature", str(error)) from error
        why_not = known_already(self._book.state.record(name), desired)
        if why_not:
            raise DocumentError("revision", why_not, desired.revision)
        return desired if why_not is None else None

    def _check_expiry(self, desired: Desired) -> None:
        now = self._now()
        if desired.expires_at is not None and now >= desired.expires_at:
            why_not = f"it expired at {written(desired.expires_at)}, and it is {written(now)}; sign it anew"
            raise DocumentError("expires_at", why_not, desired.revision)

    async def _judge(self, name: str, desired: Desired, applier: Applier) -> str | None:
        """Settle a document, for good; return why that can't be done now, and it may be delivered again."""
        scope = self._book.scopes[name]
        layer = scope.document(desired.revision, desired.patch)
        try:
            new = await self._book.weigh(scope, layer)
        except ConfigError as error:
            errors = kept_errors(error.problems, str(layer))
            await self._book.settle(name, desired.revision, desired.digest, "rejected", errors)
            self._book.report()
            return None
        if new.config != self.config:
            staged = self._book.state.model_copy(update={"trial": begun(self._book.state, name, desired)})
            if (why_not := await self._book.keep(staged)) is not None:
                return why_not
            self._book.state = staged
            self._is_off_course = True
            _log.info("trying %s", layer)
            if problems := await try_out(applier, new.config):
                # Before anything else: if the device does not survive going back, it must not try this again.
                errors = kept_errors(problems, str(layer))
                await self._book.settle(name, desired.revision, desired.digest, "rolled_back", errors)
                await self._return(applier)
                return None
        return await self._accept(scope, desired, new, applier)

    async def _accept(self, scope: Scope, desired: Desired, new: InForce, applier: Applier) -> str | None:
        """Put a document in force, or return why it can't be kept."""
        signed_by = self.config.remote.public_key if desired.is_signed else ""
        kept = accepted(self._book.state, str(scope), desired, signed_by, self._book.time)
        if desired.is_signed:
            kept = kept.model_copy(update={"not_before": self._now().timestamp()})
        if (why_not := await self._book.keep(kept)) is not None:
            self._book.state = self._book.state.model_copy(update={"trial": None})
            if self._is_off_course:
                await self._return(applier)
            return why_not
        self._book.state, self._book.standing = kept, new
        self._is_off_course = False
        _log.info("%s revision %d is in force", scope, desired.revision)
        self._book.report()
        return None

    async def _return(self, applier: Applier) -> None:
        """Run the configuration in force again and report, then see whether the device is well with it."""
        try:
            await go_back(applier, self.config)
        except RollBackFailedError as error:
            self._tell(str(error))
            raise
        self._is_off_course = False
        self._book.report()
        for problem in await prove(applier, self.config):
            self._tell(f"after a remote change was rolled back: {plain(str(problem), _LONGEST_REASON)}")

    async def _settle_interrupted(self, applier: Applier) -> None:
        """A try ended in a way that nobody foresaw: it counts as failed."""
        trial = self._book.state.trial
        if trial is not None:
            errors: Sequence[KeptError] = [
                KeptError(key="", message="trying it failed in an unforeseen way; see the device's journal")
            ]
            await self._book.settle(trial.scope, trial.revision, trial.digest, "rolled_back", errors)
        await self._return(applier)

    def _is_clock_set(self) -> bool:
        return self._now().timestamp() >= max(EARLIEST, self._book.state.not_before)
