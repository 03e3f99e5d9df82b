"""`run`: the service. A conversation through microphone, speaker, button and light that outlives their faults."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING

from edge_agent.app.readiness import Readiness
from edge_agent.app.recorder import FlightRecorder
from edge_agent.app.remote import Means, RestartRequestedError, hold_device
from edge_agent.app.tidying import Tidying
from edge_agent.app.turn_log import TurnLog
from edge_agent.app.vitality import Watchdog
from edge_agent.errors import BadInputError, FaultError
from edge_agent.pipeline.observer import Observers
from edge_agent.runtime.metrics import Metrics
from edge_agent.runtime.notify import Notifier
from edge_agent.runtime.tasks import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from edge_agent.app.agent import Agent
    from edge_agent.app.vitality import Signs
    from edge_agent.config.load import OwnConfig
    from edge_agent.pipeline.observer import Observer
    from edge_agent.runtime.logs import LogQueue

_log = logging.getLogger(__name__)

SHUTDOWN_S = 5
"""From SIGTERM to exit at the most."""


async def serve(
    own: OwnConfig,
    observer: Observer,
    logs: LogQueue | None = None,
    set_log_level: Callable[[str], None] = lambda _: None,
    read_own: Callable[[], OwnConfig] | None = None,
) -> None:
    """Hold conversations until SIGTERM or SIGINT; then return within `SHUTDOWN_S`, or be killed by SIGALRM.

    The service manager, where there is one, is told of it, its watchdog is fed while sound makes progress, and its
    SIGHUP has the owner's configuration read again.

    Args:
        own: The owner's configuration.
        observer: Watches the conversation.
        logs: Counts log records that were lost.
        set_log_level: Logs from another level on.
        read_own: Reads the owner's configuration again.

    Raises:
        BadInputError: The configuration, a model or an intents file is wrong.
        FaultError: An engine did not start, or the service is to be started again.
    """
    config = own.under()
    recorder = FlightRecorder(config.recorder)
    service = _Service(Notifier.from_environment())
    turns = TurnLog(with_texts=config.privacy.log_text)
    means = Means(Observers(observer, turns), recorder, logs, set_log_level, service.attend, read_own, service.loaded)
    try:
        await until_stopped(
            service.accompany(_recording_crashes(hold_device(own, means), recorder)), on_stop=service.stopped
        )
    finally:
        service.close()


async def until_stopped(service: Coroutine[object, object, None], on_stop: Callable[[], None] = lambda: None) -> None:
    """Run `service` until it ends, or SIGTERM or SIGINT comes; then it has `SHUTDOWN_S` to end.

    Args:
        service: Is cancelled by the signal.
        on_stop: Is called when the signal comes.
    """
    serving = asyncio.create_task(service, name="serve")
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            # The kernel keeps the bound, whatever a native library does: SIGALRM's default action ends the process.
            signal.alarm(SHUTDOWN_S)
            on_stop()
            serving.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    try:
        await serving
    except asyncio.CancelledError:
        if not stopping:
            raise
        _log.info("stopped")


class _Service:
    """What the service manager sees of the agent."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier
        self._agent: Agent | None = None
        self._watchdog = Watchdog(notifier, self._signs)
        self._readiness = Readiness(notifier, verdict=lambda: self._watchdog.verdict)
        self._tidying = Tidying(self._signs, self._is_warm)

    def attend(self, agent: Agent, reread: Callable[[], None]) -> None:
        """The agent runs; `reread` has the owner's configuration read again."""
        self._agent = agent
        if self._notifier.is_heard:
            # A terminal that is closed sends the same signal, and means the end.
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reread)
        agent.book.watchdog = self._watchdog.describe
        self._readiness.attend(agent)

    async def accompany(self, work: Coroutine[object, object, None]) -> None:
        """Run `work`, and beside it what tells and feeds the service manager."""
        async with Supervisor(Metrics(), _log.debug) as stages:
            stages.keep("service.readiness", self._readiness.run_loop)
            stages.keep("service.watchdog", self._watchdog.feed_loop)
            stages.keep("service.tidying", self._tidying.run_loop)
            try:
                await work
            except RestartRequestedError as error:
                self._readiness.end(f"ending: {error}")
                raise
            except (BadInputError, FaultError) as error:
                self._readiness.end(f"failed: {error}")
                raise

    def loaded(self) -> None:
        """Engines are loaded, and the microphone is not open yet."""
        self._tidying.settle()

    def stopped(self) -> None:
        """A signal asks for the end."""
        self._readiness.end("ending")

    def close(self) -> None:
        """Nobody is told anything any more."""
        self._notifier.close()

    def _signs(self) -> Signs | None:
        return None if self._agent is None else self._agent.signs

    def _is_warm(self) -> bool:
        return self._agent is not None and self._agent.is_warm


async def _recording_crashes(service: Coroutine[object, object, None], recorder: FlightRecorder) -> None:
    try:
        await service
    except (BadInputError, FaultError):
        raise  # known, and told in a line: not what a flight recorder is read for
    except Exception:
        recorder.dump()
        raise
