"""`run`: the service. A conversation through microphone, speaker, button and light that outlives their faults."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING

from edge_agent.app.recorder import FlightRecorder
from edge_agent.app.remote import Means, hold_device
from edge_agent.errors import BadInputError, FaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

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
) -> None:
    """Hold conversations until SIGTERM or SIGINT; then return within `SHUTDOWN_S`, or be killed by SIGALRM.

    Raises:
        BadInputError: The configuration, a model or an intents file is wrong.
        FaultError: An engine did not start, or the service is to be started again.
    """
    recorder = FlightRecorder(own.under().recorder)
    means = Means(observer, recorder, logs, set_log_level)
    await until_stopped(_recording_crashes(hold_device(own, means), recorder))


async def until_stopped(service: Coroutine[object, object, None]) -> None:
    """Run `service` until it ends, or SIGTERM or SIGINT comes; then it has `SHUTDOWN_S` to end."""
    serving = asyncio.create_task(service, name="serve")
    stopping = False

    def stop() -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            # The kernel keeps the bound, whatever a native library does: SIGALRM's default action ends the process.
            signal.alarm(SHUTDOWN_S)
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


async def _recording_crashes(service: Coroutine[object, object, None], recorder: FlightRecorder) -> None:
    try:
        await service
    except (BadInputError, FaultError):
        raise  # known, and told in a line: not what a flight recorder is read for
    except Exception:
        recorder.dump()
        raise
