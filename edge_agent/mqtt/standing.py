"""How the device stands with its broker, and who is told."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from edge_agent.mqtt.failures import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.errors import EdgeAgentError

_log = logging.getLogger(__name__)

_MOST_TOLD = 16


@dataclass(frozen=True, slots=True)
class Patience:
    """How long what is waited for.

    Attributes:
        connect_s: For a name, a TCP connection and a TLS handshake together, and again for the broker's welcome.
        answer_s: For an acknowledgement; then the connection counts as lost. None: the keep-alive time.
        first_retry_s: Ceiling of the first pause after a failure.
        longest_retry_s: Ceiling of the last.
        lasting_s: A connection that lived so long makes the pauses short again.
        taken_over_s: Least pause after another client took the id. It doubles each time: both may be of this program.
        longest_taken_over_s: Its ceiling.
        farewell_s: For saying good-bye.
    """

    connect_s: float = 10.0
    answer_s: float | None = None
    first_retry_s: float = 1.0
    longest_retry_s: float = 60.0
    lasting_s: float = 30.0
    taken_over_s: float = 60.0
    longest_taken_over_s: float = 3600.0
    farewell_s: float = 1.0


PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class LinkState:
    """The link at one moment.

    Attributes:
        broker: `host:port`.
        reason: Why there is no connection, or what the broker refuses although there is one; one line, no secret.
        since_s: When `is_connected` changed last, by the monotonic clock.
        connects: Connections made so far.
        taken_over: How often another client with the same id took the session.
    """

    is_connected: bool
    broker: str
    reason: str
    since_s: float
    connects: int = 0
    taken_over: int = 0


class Standing:
    """Keeps the state, tells its changes, and logs each reason once until a connection lasted. Belongs to the loop."""

    def __init__(self, broker: str) -> None:
        self.state = LinkState(is_connected=False, broker=broker, reason="is not asked yet", since_s=time.monotonic())
        self.listeners: list[Callable[[LinkState], None]] = []
        self._told: set[str] = set()

    def connected(self, refused: str) -> None:
        """There is a connection; `refused` is what the broker does not allow, or empty."""
        if refused:
            self._tell(logging.WARNING, f"broker {self.state.broker}: {refused}")
        self._tell(logging.INFO, f"connected to the broker at {self.state.broker}")
        self._change(
            replace(
                self.state,
                is_connected=True,
                reason=refused,
                since_s=time.monotonic(),
                connects=self.state.connects + 1,
            )
        )

    def disconnected(self, failure: EdgeAgentError, *, is_told: bool = True) -> None:
        """There is none, or none any more."""
        message = str(failure).replace("\n", "; ")
        if is_told:
            self._tell(logging.WARNING, message)
        since_s = time.monotonic() if self.state.is_connected else self.state.since_s
        reason = failure.reason if isinstance(failure, BrokerError) else message
        self._change(replace(self.state, is_connected=False, reason=reason, since_s=since_s))

    def taken_over(self) -> None:
        """Another client with the same id has the session now."""
        self._change(replace(self.state, taken_over=self.state.taken_over + 1))

    def forget_told(self) -> None:
        """Log everything anew: what happens now is not the same trouble any more."""
        self._told.clear()

    def _tell(self, level: int, message: str) -> None:
        # A broker that flaps alternates between a few messages, so the last one alone is not enough to know.
        if message not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(message)
            _log.log(level, "%s", message)

    def _change(self, state: LinkState) -> None:
        if state != self.state:
            self.state = state
            for listener in self.listeners:
                listener(state)
