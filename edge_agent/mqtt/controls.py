"""What commands act on, and how one that can't be carried out says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Protocol

from edge_agent.errors import FaultError

if TYPE_CHECKING:
    from collections.abc import Mapping

ErrorCode = Literal[
    "bad_request",
    "retained",
    "expired",
    "rate_limited",
    "unknown_command",
    "busy",
    "unavailable",
    "failed",
    "interrupted",
    "timeout",
]
"""Why a command was not carried out; docs/commands.md says what each means."""

Data = dict[str, Any]
"""What a command returns; plain values for JSON."""


class CommandError(FaultError):
    """A command is not carried out; `code` is for programs and `message` for people."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code: ErrorCode = code
        self.message = message


class Controls(Protocol):
    """The agent, as commands see it. Called on the loop; every method can be cancelled.

    Any of them may raise CommandError, or another FaultError, whose message is then told to who sent the command.
    """

    async def say(self, text: str) -> Data:
        """Say `text`; returns when it was said, or cut off.

        Raises:
            CommandError: Too much waits to be said (busy), or it could not be played (failed).
        """
        ...

    async def ask(self, text: str) -> Data:
        """Answer typed text, through intents and language model, without a word aloud.

        Raises:
            CommandError: Somebody is being answered by voice (busy).
        """
        ...

    async def listen(self) -> Data:
        """Listen as if the button had been pressed.

        Raises:
            CommandError: The microphone is muted or absent (unavailable), or an answer may not be cut off (busy).
        """
        ...

    async def stop(self) -> Data:
        """Fall silent, and let nothing ring any more."""
        ...

    async def mute(self, *, muted: bool) -> Data:
        """Mute or unmute the microphone."""
        ...

    async def set_volume(self, percent: int) -> Data:
        """Set the speaker's volume, 0 to 100."""
        ...

    async def set_timer(self, seconds: float, name: str) -> Data:
        """Set a timer; returns when it is on disk.

        Raises:
            CommandError: There are too many (busy).
        """
        ...

    async def cancel_timers(self, *, name: str, seconds: float | None, everything: bool) -> Data:
        """Cancel the timers of that name and length, or all.

        Raises:
            CommandError: There is none (failed).
        """
        ...

    async def list_timers(self) -> Data:
        """Return the timers."""
        ...

    async def pull_model(self, name: str) -> Data:
        """Download a model by its name in the catalogue; returns when it is in place.

        Raises:
            CommandError: The device can't afford it now (unavailable).
        """
        ...

    def restart(self) -> None:
        """End the service so that systemd starts it again. Returns at once."""
        ...

    def check_restart(self) -> Mapping[str, Any]:
        """Return what is told of a restart before it begins.

        Raises:
            CommandError: Nobody would start the service again (unavailable).
        """
        ...
