"""Changes layers' documents at the broker, several at a time, and sees to it that they stand."""

from __future__ import annotations

import asyncio
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.errors import BadInputError
from edge_agent.fleet.document import MOST_TRUSTED_REVISION
from edge_agent.fleet.editing import Editing, Standing
from edge_agent.fleet.errors import NotTakenError, OverwrittenError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edge_agent.fleet.document import Document, Edit
    from edge_agent.fleet.registry import Change
    from edge_agent.fleet.sealing import Sealer
    from edge_agent.fleet.session import FleetSession, Heard
    from edge_agent.fleet.target import Target
    from edge_agent.fleet.view import FleetView

_TICK_S = 0.1
_MOST_AT_ONCE = 20
"""Documents published before what comes back is looked at."""


def _ignored(_change: Change) -> None:
    """Nobody wants to know."""


@dataclass(slots=True)
class Operator:
    """What a change is made with.

    Attributes:
        timeout_s: Within which the broker has to hand a document back.
        changed: Is told of everything that devices say meanwhile.
    """

    session: FleetSession
    view: FleetView
    sealer: Sealer
    timeout_s: float = 30.0
    changed: Callable[[Change], None] = _ignored

    async def read(self, targets: Sequence[Target]) -> None:
        """Read the documents of these layers, and follow them from now on."""
        for target in targets:
            self.view.follow(target)
        await self.session.read_retained([target.topic for target in targets], self.take, self.timeout_s)

    async def hear(self, timeout_s: float) -> None:
        """Take in what comes within this time."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + timeout_s
        while (left_s := until_s - loop.time()) > 0:
            heard = await self.session.next(left_s)
            if heard is not None:
                self.take(heard)

    def plan(self, edits: Sequence[Edit], target: Target) -> Editing:
        """Return the change of a followed layer's document, not published yet.

        Raises:
            BadInputError: Its devices want signed documents, and there is no key.
            UnusableDocumentError: What is retained can't be added to.
        """
        before = self.view.document(target)
        if before.is_signed and not self.sealer.private_key:
            raise BadInputError(f"{target.topic}: the document is signed; give the same key with --sign-key")
        members = self.view.registry.members(target)
        # A device refuses what is no higher than what it has refused, too.
        told = [
            revision
            for one in members
            if one.report is not None
            for revision in (one.report.revision(target), one.report.refused_revision(target))
            if revision <= MOST_TRUSTED_REVISION
        ]
        return Editing(edits, before, floor=max(told, default=0))

    async def write(self, changes: Mapping[Target, Editing]) -> dict[Target, Document]:
        """Publish each layer's change and wait until it stands; return the documents.

        Raises:
            BadInputError: A document can't be published as it is.
            NotTakenError: The broker does not hand one back.
            OverwrittenError: Somebody else's document stands instead.
        """
        # All are sealed before the first is published: what can't be written stops everything.
        sealed = [(target, editing, self.sealer.seal(editing.document, target)) for target, editing in changes.items()]
        for at in range(0, len(sealed), _MOST_AT_ONCE):
            await self._write_some(sealed[at : at + _MOST_AT_ONCE])
        return {target: editing.document for target, editing in changes.items()}

    async def _write_some(self, sealed: Sequence[tuple[Target, Editing, bytes]]) -> None:
        again: list[tuple[Target, Editing, Document]] = []
        try:
            for target, editing, payload in sealed:
                self.view.listen(target, functools.partial(self._came_back, target, editing, again))
                editing.published(_now_s())
                await self.session.publish(target.topic, payload)
            until_s = _now_s() + self.timeout_s
            while open_ones := [one for one in sealed if not one[1].is_over(_now_s())]:
                if _now_s() > until_s:
                    raise NotTakenError(open_ones[0][0].topic, self.timeout_s)
                await self.hear(_TICK_S)
                while again:
                    target, editing, document = again.pop()
                    editing.published(_now_s())
                    await self.session.publish(target.topic, self.sealer.seal(document, target))
        finally:
            for target, _, _ in sealed:
                self.view.listen(target, None)
        for target, editing, _ in sealed:
            if editing.standing is not Standing.STANDS:
                raise OverwrittenError(target.topic, editing.theirs.revision if editing.theirs else 0)

    def _came_back(
        self,
        target: Target,
        editing: Editing,
        again: list[tuple[Target, Editing, Document]],
        document: Document,
    ) -> None:
        if (mended := editing.hear(document, _now_s())) is not None:
            again.append((target, editing, mended))

    def take(self, heard: Heard) -> None:
        """Take a message in."""
        change = self.view.hear(heard)
        if change is not None:
            self.changed(change)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
