"""What can go wrong between an operator and a fleet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.errors import BadInputError, FaultError

if TYPE_CHECKING:
    from collections.abc import Sequence


class UnknownFleetDeviceError(BadInputError):
    """Nothing is retained under that device's topics."""

    def __init__(self, device: str, hint: str) -> None:
        super().__init__(f"device {device!r} is not known to the broker{hint}; see `edge-agent fleet list`")
        self.device = device


class UnusableDocumentError(FaultError):
    """What is retained as a layer's document can't be added to; `revision` is its number, 0 where it has none."""

    def __init__(self, topic: str, reason: str, revision: int = 0) -> None:
        super().__init__(f"{topic}: holds what can't be added to: {reason}; begin a new document with --replace")
        self.topic = topic
        self.reason = reason
        self.revision = revision


class NotTakenError(FaultError):
    """A document was published, and the broker does not give it back."""

    def __init__(self, topic: str, waited_s: float) -> None:
        super().__init__(
            f"{topic}: the broker did not hand the document back within {waited_s:g} s; "
            "do its access rules let this user write and read there?"
        )
        self.topic = topic


class OverwrittenError(FaultError):
    """Somebody else wrote the same layer's document at the same time, and theirs stands."""

    def __init__(self, topic: str, revision: int) -> None:
        super().__init__(
            f"{topic}: somebody else published revision {revision} at the same time, without these settings; "
            "nothing of yours stands: run the command again"
        )
        self.topic = topic
        self.revision = revision


class CanaryError(BadInputError):
    """There are not the devices that a rollout should begin with."""


class SettingsError(BadInputError):
    """Settings that no device would take; `problems` holds one line for each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
