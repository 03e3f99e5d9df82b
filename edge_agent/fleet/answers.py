"""What devices make of a revision: who has answered, and how."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from edge_agent.fleet.device import Device, Report
    from edge_agent.fleet.target import Target


class Answer(Enum):
    """How a device took a revision."""

    WAITING = "waiting"
    APPLIED = "applied"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"
    OFFLINE = "offline"
    SILENT = "silent"

    @property
    def is_failure(self) -> bool:
        """Whether the device did not take it though it was there."""
        return self in {Answer.REJECTED, Answer.ROLLED_BACK, Answer.SILENT}


def answer_of(report: Report | None, before: Report | None, target: Target, revision: int) -> Answer:
    """Tell what a report says of a layer's revision; `before` is what the device said before it was published."""
    if report is None:
        return Answer.WAITING
    if report.refused_revision(target) >= revision:
        is_told = report.outcome == "rolled_back" and report.is_about(target, report.refused_revision(target))
        return Answer.ROLLED_BACK if is_told else Answer.REJECTED
    if report.revision(target) >= revision:
        return Answer.APPLIED
    if report.outcome not in {"rejected", "rolled_back"}:
        return Answer.WAITING
    if report.about is not None:
        # What was rolled back and does not stand among the refused will be tried once more.
        is_ours = report.outcome == "rejected" and report.is_about(target, revision)
    else:
        # A device that does not say which revision it means can only mean ours if it says so anew.
        is_ours = not report.refused and report != before
    return Answer(report.outcome) if is_ours else Answer.WAITING


@dataclass(slots=True)
class Answers:
    """Waits for the devices that take a document.

    Attributes:
        target: The layer.
        revision: Of the document; it may grow while we wait.
        before: What each device reported before.
    """

    target: Target
    revision: int
    before: Mapping[str, Report | None]
    by_device: dict[str, Answer] = field(default_factory=dict)

    @classmethod
    def begin(cls, target: Target, revision: int, devices: Iterable[Device]) -> Answers:
        """Begin to wait, for those that are offline too."""
        found = list(devices)
        answers = cls(target, revision, {device.id: device.report for device in found})
        for device in found:
            answers.hear(device)
        return answers

    def hear(self, device: Device) -> Answer:
        """Look at a device again."""
        if device.id not in self.before:
            return Answer.OFFLINE
        answer = answer_of(device.report, self.before[device.id], self.target, self.revision)
        if answer is Answer.WAITING and not device.online:
            answer = Answer.OFFLINE
        self.by_device[device.id] = answer
        return answer

    def revise(self, revision: int, devices: Iterable[Device]) -> None:
        """Wait for this revision instead, and look at all devices again."""
        self.revision = revision
        for device in devices:
            self.hear(device)

    @property
    def waiting(self) -> list[str]:
        """Devices that are online and have not answered."""
        return [device for device, answer in self.by_device.items() if answer is Answer.WAITING]

    @property
    def failed(self) -> list[str]:
        """Devices that did not take it."""
        return [device for device, answer in self.by_device.items() if answer.is_failure]

    def give_up(self) -> None:
        """Count those that still wait as silent."""
        for device in self.waiting:
            self.by_device[device] = Answer.SILENT

    def count(self, answer: Answer) -> int:
        """Count devices by their answer."""
        return sum(one is answer for one in self.by_device.values())
