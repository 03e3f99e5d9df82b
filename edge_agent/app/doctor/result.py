"""What a check finds, and what it is given to look at."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from edge_agent.errors import ServiceError
from edge_agent.gateway.client import ask_service
from edge_agent.gateway.places import sockets_to_ask
from edge_agent.runtime.topology import KernelFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.app.doctor.levels import Level
    from edge_agent.config.schema import Config

Verdict = Literal["ok", "warning", "fault"]
Figure = str | int | float | bool | None
UNIT = "edge-agent"
USER = "edge-agent"
_COMMAND_S = 4.0
_ANSWER_S = 3.0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What one check found.

    Attributes:
        name: Stable, in lower case with underscores; programs go by it.
        verdict: fault: the agent can't do its work; warning: it can, and could better, or it could not be told.
        remedy: What to do, with the exact lines; empty where there is nothing to do.
        figures: What was measured, by names with units; None for what this machine does not tell.
    """

    name: str
    verdict: Verdict
    message: str
    remedy: str = ""
    figures: Mapping[str, Figure] = field(default_factory=dict)


class Check(Protocol):
    """One thing to look at. Blocking, in seconds at most; what is wrong is its result, never an error."""

    def __call__(self, config: Config) -> CheckResult:
        """Look."""
        ...


def run_command(command: Sequence[str], timeout_s: float = _COMMAND_S) -> str | None:
    """Return what a command prints; None where it is missing, fails, or takes too long. Blocking, bounded."""
    program = shutil.which(command[0])
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, no shell
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except (subprocess.TimeoutExpired, OSError):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


@dataclass(frozen=True)
class Surroundings:
    """The machine that is looked at, and how.

    Attributes:
        root: Where `sys`, `proc`, `etc`, `run` and `var` are.
        run: Runs a command and returns what it prints; None where it is missing, fails or takes too long.
        ask: Asks the running service; raises ServiceError where none answers.
        on_level: Is told how loud the microphone is while it is listened to.
        on_prompt: Is told what the person is asked to do; None where nobody is there to do it.
        listen_s: How long the microphone is listened to.
    """

    root: Path = Path("/")
    run: Callable[[Sequence[str]], str | None] = run_command
    ask: Callable[[Mapping[str, object]], Any] = lambda request: ask_service(
        sockets_to_ask(), request, timeout_s=_ANSWER_S
    )
    on_level: Callable[[Level], None] = lambda _: None
    on_prompt: Callable[[str], None] | None = None
    listen_s: float = 3.0

    @cached_property
    def files(self) -> KernelFiles:
        """Small files below the root."""
        return KernelFiles(self.root)

    @cached_property
    def status(self) -> Mapping[str, Any] | None:
        """What the running service says of itself, asked once; None where none answers."""
        try:
            found = self.ask({"get": "status"})
        except ServiceError:
            return None
        return found if isinstance(found, Mapping) else {}

    @property
    def is_served(self) -> bool:
        """Whether a service runs, and so may hold the devices; also where this user may not ask it."""
        return self.status is not None or (self.unit or {}).get("ActiveState") == "active"

    @cached_property
    def unit(self) -> Mapping[str, str] | None:
        """What systemd says of the unit, asked once; None where systemd does not answer."""
        wanted = (
            "LoadState,ActiveState,SubState,NRestarts,Result,WatchdogUSec,Type,StatusText,UnitFileState,User,"
            "SupplementaryGroups,ExecMainStartTimestampMonotonic,ExecMainStatus,DropInPaths"
        )
        told = self.run(("systemctl", "show", UNIT, "-p", wanted))
        if not told:
            return None
        pairs = (line.partition("=") for line in told.splitlines())
        return {name: value for name, _, value in pairs if name}
