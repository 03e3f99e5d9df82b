"""The agent itself, whole, for the steps that need it: what is said to it, and what becomes of that."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from edge_agent.app.agent import Agent, World
from edge_agent.errors import FaultError
from edge_agent.pipeline.commands import State
from edge_agent.pipeline.observer import SilentObserver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from edge_agent.app.places import Places
    from edge_agent.config.schema import Config
    from edge_agent.pipeline.report import TurnReport

READY_S = 180.0
"""The first start of a slow board compiles the intents' grammar."""
_MOST_KEPT = 64
_AWAKE = frozenset({State.LISTENING, State.HEARING})


class NotReadyError(FaultError):
    """The agent did not come up."""

    def __init__(self, reasons: list[str]) -> None:
        super().__init__(f"the agent does not get ready: {'; '.join(reasons)}")
        self.reasons = tuple(reasons)


class Watcher(SilentObserver):
    """Notes what the agent does. Belongs to the loop.

    Attributes:
        faults: What went wrong, the last `_MOST_KEPT`.
        woken: Set when it begins to listen.
    """

    def __init__(self) -> None:
        self._turns: asyncio.Queue[TurnReport] = asyncio.Queue(_MOST_KEPT)
        self.faults: list[str] = []
        self.woken = asyncio.Event()

    def turn_ended(self, report: TurnReport) -> None:
        """Keep the turn for whoever waits for it."""
        if self._turns.full():
            self._turns.get_nowait()
        self._turns.put_nowait(report)

    def state_changed(self, state: State, *, muted: bool) -> None:
        """Note that it listens."""
        if state in _AWAKE:
            self.woken.set()

    def fault(self, message: str) -> None:
        """Note a fault."""
        self.faults = [*self.faults, message][-_MOST_KEPT:]

    def forget(self) -> None:
        """Expect something new."""
        self.woken.clear()
        while not self._turns.empty():
            self._turns.get_nowait()

    async def next_turn(self, within_s: float) -> TurnReport | None:
        """Return the next turn that somebody's voice began; None where there is none in time."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    report = await self._turns.get()
                    if report.announced is None:
                        return report
        except TimeoutError:
            return None


def field_config(config: Config, places: Places, state: Path, mode: Literal["always", "wake_word"]) -> Config:
    """Return the device's configuration as it is tested: listening for everything or for its wake words.

    Timers and history go into `state` instead of the device's own; nothing of button, light or switched things is
    touched, and nothing is published but the result.
    """
    keys = config.gpio.model_copy(update={"driver": "simulated"})
    return config.model_copy(
        update={
            "activation": config.activation.model_copy(update={"mode": mode}),
            "directories": config.directories.model_copy(
                update={"models": places.models, "cache": places.cache, "state": state}
            ),
            "gpio": keys,
            "mqtt": config.mqtt.model_copy(update={"host": ""}),
        }
    )


@asynccontextmanager
async def open_agent(config: Config) -> AsyncIterator[tuple[Agent, Watcher]]:
    """Let the agent run on the device's own microphone and speaker; entering waits until it hears and speaks.

    Raises:
        NotReadyError: It does not hear or speak in time.
        BadInputError: The configuration, a model or an intents file is wrong.
        FaultError: An engine did not start.
    """
    watcher = Watcher()
    async with Agent.open(config, World(watcher)) as agent:
        if problems := await agent.prove(READY_S):
            raise NotReadyError([str(problem) for problem in problems])
        yield agent, watcher
