"""A rollout from connection to connection: hours of soaking outlast no single one."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from edge_agent.fleet.rolling import begin, carry_out, prepare, read_fleet
from edge_agent.fleet.session import connect
from edge_agent.fleet.view import FleetView
from edge_agent.fleet.watching import FIRST_RETRY_S, LONGEST_RETRY_S, jittered_s
from edge_agent.fleet.writing import Operator
from edge_agent.mqtt.failures import BrokerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_agent.config.mqtt import MqttConfig
    from edge_agent.fleet.registry import Change
    from edge_agent.fleet.rolling import Prepared, Request, Result
    from edge_agent.fleet.rollout import Rollout
    from edge_agent.fleet.sealing import Sealer

MOST_AWAY_S = 900.0
"""Without a broker for longer, a rollout ends; the same command goes on with it."""


async def roll_out(
    config: MqttConfig,
    request: Request,
    sealer: Sealer,
    *,
    agree: Callable[[Prepared], Awaitable[bool]],
    progress: Callable[[Rollout, float], None],
    say: Callable[[str], None],
    connect_s: float,
) -> Result | None:
    """Do it; None where nobody agreed.

    Args:
        config: The broker.
        request: What.
        sealer: Writes documents.
        agree: Is asked before anything is published.
        progress: Is told where it stands.
        say: Is told when the connection is lost and comes back.
        connect_s: What the broker may take to answer.

    Raises:
        BrokerError: There is no connection to begin with, or none for a quarter of an hour.
        CanaryError: There are not the devices to begin with.
        BadInputError: The change can't be made.
        NotTakenError: The broker does not hand a document back.
        OverwrittenError: Somebody else changes the same document.
    """
    loop = asyncio.get_running_loop()
    prepared: Prepared | None = None
    rollout: Rollout | None = None
    retry_s = FIRST_RETRY_S
    away_since_s: float | None = None
    while True:
        try:
            async with connect(config, timeout_s=connect_s) as session:
                operator = Operator(session, FleetView(time.time, sealer), sealer, connect_s)
                if prepared is None:
                    prepared = await prepare(operator, request)
                    if not await agree(prepared):
                        return None
                if rollout is None:
                    rollout = await begin(operator, prepared)
                else:
                    going = rollout

                    def hear(change: Change, going: Rollout = going) -> None:
                        going.hear(change.device, loop.time())

                    operator.changed = hear
                    await read_fleet(operator, request.target, request.edits)
                    operator.changed = lambda _change: None
                    rollout.gap(loop.time())
                    say("connected again")
                retry_s, away_since_s = FIRST_RETRY_S, None
                return await carry_out(operator, prepared, rollout, progress)
        except BrokerError as error:
            away_since_s = away_since_s or loop.time()
            if rollout is None or loop.time() > away_since_s + MOST_AWAY_S:
                raise
            say(f"{error}; trying again")
        await asyncio.sleep(jittered_s(retry_s))
        retry_s = min(2 * retry_s, LONGEST_RETRY_S)
