"""Sets keys in one layer, and waits for what the devices make of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edge_agent.fleet.answers import Answer, Answers
from edge_agent.fleet.errors import UnknownFleetDeviceError, UnusableDocumentError
from edge_agent.mqtt.topics import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.fleet.document import Document, Edit
    from edge_agent.fleet.editing import Editing
    from edge_agent.fleet.registry import Change
    from edge_agent.fleet.session import FleetSession, Heard
    from edge_agent.fleet.target import Target
    from edge_agent.fleet.writing import Operator

TELLING = ("status", "config/reported")
"""What devices have retained about themselves, beside their availability."""
_TICK_S = 0.2


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a change.

    Attributes:
        document: What is retained now.
        answers: Of the devices that take it.
        overwritten_by: Revision of somebody else's document that stands by now without these settings; 0: none.
    """

    document: Document
    answers: Answers
    overwritten_by: int = 0

    @property
    def is_success(self) -> bool:
        """Whether every device that is there has taken it."""
        return not self.answers.failed and not self.overwritten_by

    def as_json(self, target: Target) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "layer": target.layer,
            "name": target.name or None,
            "revision": self.document.revision,
            "ok": self.is_success,
            "devices": {device: answer.value for device, answer in sorted(self.answers.by_device.items())},
            "overwritten_by": self.overwritten_by or None,
        }


async def read_members(session: FleetSession, target: Target, take: Callable[[Heard], None], timeout_s: float) -> bool:
    """Read what is retained of the devices which take a layer's document; tell whether that was all."""
    if target.layer != "device":
        return await session.read_devices(TELLING, take, timeout_s)
    topics = [f"{ROOT}/{target.name}/{topic}" for topic in ("availability", *TELLING)]
    return await session.read_retained(topics, take, timeout_s)


async def prepare(operator: Operator, target: Target, edits: Sequence[Edit], *, replace: bool) -> Editing:
    """Read what there is, and return the change, not published yet.

    Args:
        operator: Does it.
        target: The layer.
        edits: What is to be set and taken out.
        replace: Begin a new document with nothing else in it.

    Raises:
        BadInputError: There is no such device, or the change can't be made.
        UnusableDocumentError: What is retained can't be added to.
    """
    await read_members(operator.session, target, operator.take, operator.timeout_s)
    await operator.read([target])
    if target.layer == "device" and operator.view.registry.get(target.name) is None:
        raise UnknownFleetDeviceError(target.name, "")
    if replace:
        operator.view.forget(target)
    return operator.plan(edits, target)


async def carry_out(
    operator: Operator, target: Target, editing: Editing, *, progress: Callable[[Answers], None], wait_s: float
) -> Outcome:
    """Publish a change, and wait until every device that is online has answered, or the time is over.

    Raises:
        NotTakenError: The broker does not hand the document back.
        OverwrittenError: Somebody else's document stands instead.
    """
    loop = asyncio.get_running_loop()
    until_s = loop.time() + wait_s
    answers = Answers.begin(target, editing.document.revision, operator.view.registry.members(target))
    progress(answers)
    changed = operator.changed

    def hear(change: Change) -> None:
        answers.hear(change.device)
        changed(change)

    operator.changed = hear
    try:
        document = (await operator.write({target: editing}))[target]
        answers.revise(document.revision, operator.view.registry.members(target))
        while answers.waiting and loop.time() < until_s:
            progress(answers)
            await operator.hear(_TICK_S)
            document = _latest(operator, target, document)
            if document.holds(editing.edits) and document.revision > answers.revision:
                answers.revise(document.revision, operator.view.registry.members(target))
        if answers.waiting:  # a report may have been lost where the broker had too much for us at once
            await operator.session.read_again(answers.waiting, ["config/reported"], operator.take, operator.timeout_s)
    finally:
        operator.changed = changed
    answers.give_up()
    progress(answers)
    return Outcome(document, answers, 0 if document.holds(editing.edits) else document.revision)


def _latest(operator: Operator, target: Target, known: Document) -> Document:
    try:
        return operator.view.document(target)
    except UnusableDocumentError:  # somebody else's; the devices say what they make of it
        return known


def shown_answer(answer: Answer) -> str:
    """Return an answer in words."""
    return {
        Answer.WAITING: "waiting",
        Answer.APPLIED: "applied",
        Answer.REJECTED: "rejected",
        Answer.ROLLED_BACK: "rolled back",
        Answer.OFFLINE: "offline; takes it when it is back",
        Answer.SILENT: "no answer",
    }[answer]
