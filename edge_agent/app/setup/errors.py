"""What can go wrong while a device is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.errors import BadInputError, FaultError

if TYPE_CHECKING:
    from pathlib import Path


class BadAnswerError(BadInputError):
    """An answer can't be taken; it is asked for again, or refused where it came by a flag."""


class NotAllowedError(BadInputError):
    """The file that the service reads is somebody else's."""

    def __init__(self, path: Path, command: str) -> None:
        super().__init__(f"{path} may not be changed by you; run: {command}")
        self.path = path


class NotEditableError(BadInputError):
    """A file's way of writing something can't be changed in place."""

    def __init__(self, path: Path, key: str) -> None:
        super().__init__(f"{path}: {key} can't be changed as it is written there; change it by hand, then try again")
        self.path = path
        self.key = key


class NotSavedError(FaultError):
    """A file could not be written; what was there before is still there."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: can't be written: {reason}; nothing was changed")
        self.path = path
        self.reason = reason


class ServiceControlError(FaultError):
    """systemd did not do what was asked of it, or has not done it yet."""

    def __init__(self, verb: str, reason: str = "failed") -> None:
        super().__init__(f"systemctl {verb} edge-agent {reason}; see: journalctl -u edge-agent -n 50")
        self.verb = verb
