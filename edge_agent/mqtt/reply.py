"""Where a command's result goes, what it looks like, and the way there."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from edge_agent.errors import FaultError
from edge_agent.mqtt.controls import CommandError
from edge_agent.mqtt.failures import NotConnectedError
from edge_agent.mqtt.topics import FLEET_ROOT, ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.mqtt.controls import Data, ErrorCode
    from edge_agent.mqtt.sending import Connected, Link

_log = logging.getLogger(__name__)

_MOST_TOPIC_BYTES = 256
_MOST_CORRELATION_BYTES = 1024
_MOST_RESULT_BYTES = 65_536
_CONTROL_LEVELS = frozenset(("command", "config"))
_WAITING = 64
_PATIENCE_S = 300.0
"""Whoever has waited longer for a result asks again."""
_PUBLISH_S = 30.0
_ATTEMPTS = 3
_AGAIN_S = 0.5


@dataclass(frozen=True, slots=True)
class ReplyAddress:
    """Where a result goes, and what it carries so that who asked knows it again."""

    topic: str
    correlation: bytes | None = None


def reply_address(
    default: str, response_topic: str | None, correlation: bytes | None, discovery_prefix: str
) -> ReplyAddress:
    """Return the MQTT 5 response topic with its correlation data, or `default` where none was given.

    Raises:
        CommandError: The response topic is one at which a result could be taken for a command, a configuration, a
            discovery or something else that an agent says.
    """
    if correlation is not None and len(correlation) > _MOST_CORRELATION_BYTES:
        raise CommandError("bad_request", f"the correlation data is longer than {_MOST_CORRELATION_BYTES} bytes")
    if response_topic is None or response_topic == default:
        return ReplyAddress(default, correlation)
    if reason := _why_not(response_topic, discovery_prefix):
        raise CommandError("bad_request", f"the response topic {reason}; choose one such as replies/<your name>")
    return ReplyAddress(response_topic, correlation)


def _why_not(topic: str, discovery_prefix: str) -> str:
    if not topic or len(topic.encode("utf-8", "replace")) > _MOST_TOPIC_BYTES:
        return f"has not 1 to {_MOST_TOPIC_BYTES} bytes"
    if not topic.isprintable() or any(mark in topic for mark in "+#"):
        return "holds a wildcard or a character that can't be printed"
    if topic.startswith("$"):
        return "belongs to the broker"
    for root in (ROOT, FLEET_ROOT, discovery_prefix):
        if topic == root or topic.startswith(f"{root}/"):
            return f"is below {root}, where a result could be taken for something else"
    is_control = not _CONTROL_LEVELS.isdisjoint(topic.lower().split("/"))
    return 'has a level "command" or "config"' if is_control else ""


def result_of(request_id: str | None, data: Data) -> bytes:
    """Return the result of a command that was carried out."""
    payload = _encode({"id": request_id, "ok": True, "error": None, "data": data})
    if len(payload) > _MOST_RESULT_BYTES:
        return refusal(request_id, "failed", f"it was done, but the result is longer than {_MOST_RESULT_BYTES} bytes")
    return payload


def refusal(request_id: str | None, code: ErrorCode, message: str) -> bytes:
    """Return the result of a command that was not carried out, or only in part."""
    return _encode({"id": request_id, "ok": False, "error": {"code": code, "message": message}, "data": None})


def _encode(result: dict[str, Any]) -> bytes:
    text = json.dumps(result, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


@dataclass(slots=True)
class Reply:
    """One result on its way.

    Attributes:
        settled: Is set when the broker has it, or it is given up.
        was_sent: Whether the broker has it.
    """

    address: ReplyAddress
    payload: bytes
    at_s: float
    attempts: int = 0
    was_sent: bool = False
    settled: asyncio.Event = field(default_factory=asyncio.Event)


class Replies:
    """Sends results in order; those that the broker can't take now wait a while. Belongs to the loop.

    At most 64 wait; beyond that the oldest is given up. Who misses one sends the command again, under the same id.
    """

    def __init__(self, link: Link, connected: Connected, clock: Callable[[], float] = time.monotonic) -> None:
        self._link = link
        self._connected = connected
        self._clock = clock
        self._waiting: deque[Reply] = deque()
        self._more = asyncio.Event()
        self.lost = 0

    def send(self, address: ReplyAddress, payload: bytes) -> Reply:
        """Queue a result; never waits."""
        reply = Reply(address, payload, self._clock())
        if len(self._waiting) >= _WAITING:
            self._give_up(self._waiting.popleft(), "too many wait")
        self._waiting.append(reply)
        self._more.set()
        return reply

    async def send_loop(self) -> NoReturn:
        """Send until cancelled."""
        while True:
            while not self._waiting:
                self._more.clear()
                await self._more.wait()
            await self._connected.up()
            reply = self._waiting.popleft()
            if self._clock() - reply.at_s > _PATIENCE_S:
                self._give_up(reply, f"it has waited for {_PATIENCE_S:.0f} s")
                continue
            try:
                async with asyncio.timeout(_PUBLISH_S):
                    await self._link.publish(
                        reply.address.topic,
                        reply.payload,
                        qos=1,
                        correlation_data=reply.address.correlation,
                        expiry_s=int(_PATIENCE_S),
                    )
            except NotConnectedError:
                self._waiting.appendleft(reply)
                await asyncio.sleep(_AGAIN_S)
            except (FaultError, TimeoutError) as error:
                reply.attempts += 1
                if reply.attempts < _ATTEMPTS:
                    self._waiting.appendleft(reply)
                    await asyncio.sleep(_AGAIN_S)
                else:
                    self._give_up(reply, str(error) or "the broker does not answer")
            else:
                reply.was_sent = True
                reply.settled.set()

    def _give_up(self, reply: Reply, reason: str) -> None:
        self.lost += 1
        _log.warning("the result of a command is not sent: %s", reason)
        reply.settled.set()
