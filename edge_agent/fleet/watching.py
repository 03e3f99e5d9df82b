"""Follows a fleet for as long as wanted, through interruptions."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, NoReturn

from edge_agent.fleet.changing import TELLING
from edge_agent.fleet.session import connect
from edge_agent.fleet.view import FleetView
from edge_agent.mqtt.failures import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.config.mqtt import MqttConfig
    from edge_agent.fleet.registry import Change
    from edge_agent.fleet.session import Heard

FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 30.0
_DRAW_S = 0.25


def jittered_s(retry_s: float) -> float:
    """Return about `retry_s`: many that lost one broker must not come back at one moment."""
    return retry_s * random.uniform(0.5, 1.5)  # noqa: S311 - jitter, not a secret


async def watch_loop(
    config: MqttConfig,
    changed: Callable[[Change], None],
    draw: Callable[[FleetView], None],
    say: Callable[[str], None],
    *,
    connect_s: float,
) -> NoReturn:
    """Tell what devices say from now on; what was retained before is only in the view.

    Args:
        config: The broker.
        changed: Is told.
        draw: Is called several times a second with all that is known.
        say: Is told when the connection is lost and comes back.
        connect_s: What the broker may take to answer.

    Raises:
        BrokerError: The first connection does not come about.
    """
    view = FleetView(time.time)
    was_connected = False
    retry_s = FIRST_RETRY_S

    def take(heard: Heard) -> None:
        change = view.hear(heard)
        # After an interruption what is retained is news too, where it differs.
        if change is not None and (change.is_news or was_connected):
            changed(change)

    while True:
        try:
            async with connect(config, timeout_s=connect_s) as session:
                await session.read_devices(TELLING, take, connect_s, live=["event/+"])
                if was_connected:
                    say("connected again; events of the time between are missing")
                was_connected, retry_s = True, FIRST_RETRY_S
                while True:
                    draw(view)
                    until_s = asyncio.get_running_loop().time() + _DRAW_S
                    while (left_s := until_s - asyncio.get_running_loop().time()) > 0:
                        heard = await session.next(left_s)
                        if heard is not None:
                            take(heard)
        except BrokerError as error:
            if not was_connected:
                raise
            say(f"{error}; trying again")
        await asyncio.sleep(jittered_s(retry_s))
        retry_s = min(2 * retry_s, LONGEST_RETRY_S)
