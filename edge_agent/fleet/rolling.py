"""Carries a rollout out: everything that it must know again after an interruption is retained at the broker.

The canaries are the devices whose own documents hold the settings; the change is everybody's when the wide layer's
document holds them. So the same command again goes on where the last one stopped, and `undo` takes the settings out of
the canaries' documents again.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from edge_agent.fleet.answers import Answers
from edge_agent.fleet.canaries import choose
from edge_agent.fleet.changing import TELLING
from edge_agent.fleet.document import UNSET, Edit
from edge_agent.fleet.rollout import Rollout, Stage, Terms
from edge_agent.fleet.target import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.fleet.canaries import Share
    from edge_agent.fleet.document import Difference
    from edge_agent.fleet.editing import Editing
    from edge_agent.fleet.registry import Change
    from edge_agent.fleet.writing import Operator

_TICK_S = 0.2
_CLOCKS_S = 60.0
"""By as much the clocks of an operator's machine and a device may differ."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted.

    Attributes:
        edits: Keys to set; none to take out, for a device's document can't hide what a group's sets.
        target: Who gets it in the end.
        share: How many canaries; None: just the named ones.
        named: Canaries by id.
    """

    edits: Sequence[Edit]
    target: Target
    share: Share | None
    named: Sequence[str] = ()
    terms: Terms = field(default_factory=Terms)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What will happen, nothing of it published yet.

    Attributes:
        canaries: Who begins.
        changes: Of the canaries' own documents; empty where an earlier run has written them.
        widening: Of the wide layer's.
        resumed: Canaries that an earlier run has chosen.
        at_s: When, in seconds since 1970.
    """

    request: Request
    canaries: list[str]
    changes: dict[Target, Editing]
    widening: Editing
    resumed: frozenset[str]
    at_s: float = field(default_factory=time.time)

    @property
    def differences(self) -> list[Difference]:
        """What changes for everybody."""
        return self.widening.before.differences(self.widening.document)


@dataclass(frozen=True, slots=True)
class Result:
    """How a rollout ended.

    Attributes:
        paused_in: Where it paused; None where it is done.
        failures: Why, by device.
        cleaned: Canaries whose own documents no longer hold the settings.
        kept: Canaries whose own documents still do.
    """

    prepared: Prepared
    paused_in: Stage | None
    failures: dict[str, str]
    cleaned: list[str]
    kept: list[str]
    wide: Answers | None

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        wide = self.wide
        return {
            "done": self.paused_in is None,
            "paused_in": self.paused_in.value if self.paused_in else None,
            "failures": self.failures,
            "canaries": self.prepared.canaries,
            "cleaned": self.cleaned,
            "kept": self.kept,
            "devices": {device: one.value for device, one in sorted(wide.by_device.items())} if wide else None,
        }


async def prepare(operator: Operator, request: Request) -> Prepared:
    """Read the fleet and choose the canaries.

    Raises:
        CanaryError: There are not so many devices.
        BadInputError: The change can't be made.
        UnusableDocumentError: A document can't be added to.
    """
    await read_fleet(operator, request.target, request.edits)
    view = operator.view
    members = view.registry.members(request.target)
    canaries = choose(
        members,
        request.share,
        request.named,
        request.edits,
        under_way=view.holding,
        overriding=view.overriding,
    )
    targets = [Target("device", canary) for canary in canaries]
    resumed = frozenset(canary for canary in canaries if canary in view.holding)
    await operator.read(targets)
    changes = {target: operator.plan(request.edits, target) for target in targets if target.name not in resumed}
    return Prepared(request, canaries, changes, operator.plan(request.edits, request.target), resumed)


async def carry_out(
    operator: Operator, prepared: Prepared, rollout: Rollout, progress: Callable[[Rollout, float], None]
) -> Result:
    """Go on with a rollout that has begun, and return when it is done or has paused itself.

    Args:
        operator: Does it.
        prepared: What.
        rollout: Where it stands.
        progress: Is told that, several times a second.

    Raises:
        BrokerError: The connection is lost; go on with another one.
        NotTakenError: The broker does not hand a document back.
        OverwrittenError: Somebody else changes the same document.
    """
    request = prepared.request
    loop = asyncio.get_running_loop()
    told = operator.changed

    def hear(change: Change) -> None:
        rollout.hear(change.device, loop.time())
        if change.event == "fault" and change.is_news and not _is_older(change, prepared.at_s):
            rollout.fault(change.device.id, change.text)
        told(change)

    operator.changed = hear
    cleaned: list[str] = []
    try:
        while (stage := rollout.step(loop.time())) not in {Stage.DONE, Stage.PAUSED}:
            progress(rollout, loop.time())
            if stage is Stage.WIDEN:
                rollout.widened(await _widen(operator, request), loop.time())
            elif stage is Stage.CLEAN:
                cleaned = await _clean(operator, rollout.cleanable(), request.edits)
                rollout.cleaned()
            else:
                await operator.hear(_TICK_S)
    finally:
        operator.changed = told
    progress(rollout, loop.time())
    kept = [canary for canary in prepared.canaries if canary not in cleaned]
    paused_in = rollout.paused_in if stage is Stage.PAUSED else None
    return Result(prepared, paused_in, dict(rollout.failures), cleaned, kept, rollout.wide)


async def begin(operator: Operator, prepared: Prepared) -> Rollout:
    """Write the canaries' documents, and return the rollout that waits for them."""
    registry = operator.view.registry
    before = {canary: registry.get(canary) for canary in prepared.canaries}
    answers = {
        canary: Answers.begin(
            target := Target("device", canary), operator.view.document(target).revision, [device] if device else []
        )
        for canary, device in before.items()
    }
    for target, editing in prepared.changes.items():
        answers[target.name].revision = editing.document.revision
    rollout = Rollout(answers, prepared.request.terms, asyncio.get_running_loop().time())
    told = operator.changed

    def hear(change: Change) -> None:
        rollout.hear(change.device, asyncio.get_running_loop().time())
        told(change)

    operator.changed = hear
    try:
        for target, document in (await operator.write(prepared.changes)).items():
            answers[target.name].revision = document.revision
    finally:
        operator.changed = told
    for canary in prepared.canaries:
        device = registry.get(canary)
        if device is not None:
            rollout.hear(device, asyncio.get_running_loop().time())
    return rollout


async def undo(operator: Operator, target: Target, edits: Sequence[Edit]) -> dict[Target, Editing]:
    """Return the changes that take the settings out of the canaries' documents again, not published yet."""
    await read_fleet(operator, target, edits)
    members = {device.id for device in operator.view.registry.members(target)}
    canaries = [Target("device", canary) for canary in sorted(operator.view.holding & members)]
    await operator.read(canaries)
    return {canary: operator.plan(_taken_out(edits), canary) for canary in canaries}


async def read_fleet(operator: Operator, target: Target, edits: Sequence[Edit]) -> None:
    """Read all devices and the documents that matter, and hear of events from now on."""
    operator.view.look_for(edits)
    kinds = [*TELLING, "config/desired"]
    await operator.session.read_devices(kinds, operator.take, operator.timeout_s, live=["event/+"])
    await operator.read([target])


async def _widen(operator: Operator, request: Request) -> Answers:
    editing = operator.plan(request.edits, request.target)
    members = operator.view.registry.members(request.target)
    if not editing.is_change:
        return Answers.begin(request.target, editing.before.revision, members)
    answers = Answers.begin(request.target, editing.document.revision, members)
    told = operator.changed

    def hear(change: Change) -> None:
        answers.hear(change.device)
        told(change)

    operator.changed = hear
    try:
        document = (await operator.write({request.target: editing}))[request.target]
    finally:
        operator.changed = told
    answers.revise(document.revision, operator.view.registry.members(request.target))
    return answers


async def _clean(operator: Operator, canaries: Sequence[str], edits: Sequence[Edit]) -> list[str]:
    targets = [Target("device", canary) for canary in canaries]
    await operator.read(targets)  # hours have passed
    changes = {target: operator.plan(_taken_out(edits), target) for target in targets}
    await operator.write({target: editing for target, editing in changes.items() if editing.is_change})
    return list(canaries)


def _is_older(change: Change, at_s: float) -> bool:
    """Tell whether an event is from before: a device's outbox may bring what happened while it was away."""
    at = (change.data or {}).get("at")
    try:
        moment = datetime.fromisoformat(at) if isinstance(at, str) else None
    except ValueError:
        return False
    return moment is not None and moment.tzinfo is not None and moment.timestamp() < at_s - _CLOCKS_S


def _taken_out(edits: Sequence[Edit]) -> list[Edit]:
    return [Edit(edit.key, UNSET) for edit in edits]
