"""Publishes the events of custom intents to an MQTT broker."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import stat
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.errors import ConfigError, ConfigProblem
from edge_agent.runtime.channel import Channel, ChannelClosedError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_agent.config.engines import MqttConfig

_log = logging.getLogger(__name__)

_WAITING_EVENTS = 1000
_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 60.0


@dataclass(frozen=True, slots=True)
class _Event:
    topic: str
    payload: str


class MqttPublisher:
    """Sends events at QoS 1, in order, to `edge-agent/<device_id>/event/<name>`.

    While the broker is away events wait in memory, the oldest dropped and counted beyond 1000; an event is taken from
    the queue when the broker has acknowledged it.
    """

    def __init__(self, config: MqttConfig, device_id: str) -> None:
        self._config = config
        self._root = f"edge-agent/{device_id}"
        self._password = read_password(config.password_file) if config.password_file else None
        self._unsent: _Event | None = None
        self._events: Channel[_Event] = Channel(_WAITING_EVENTS, on_full="drop_oldest")

    @property
    def dropped(self) -> int:
        """Events lost because too many waited."""
        return self._events.dropped

    @property
    def waiting(self) -> int:
        """Events that the broker has not acknowledged."""
        return len(self._events) + (self._unsent is not None)

    def close(self) -> None:
        """Take no further events; `send_loop` ends when those that wait are sent."""
        self._events.close()

    def publish(self, name: str, slots: Mapping[str, str | int | float]) -> None:
        """Queue one event; never waits."""
        payload = json.dumps({"id": uuid.uuid4().hex, "slots": dict(slots)}, ensure_ascii=False)
        self._events.offer(_Event(f"{self._root}/event/{name}", payload))

    async def send_loop(self) -> None:
        """Send what is queued until closed and empty, or cancelled; reconnect with a jittered back-off."""
        import aiomqtt

        retry_s = _FIRST_RETRY_S
        while True:
            try:
                async with aiomqtt.Client(
                    self._config.host,
                    self._config.port,
                    username=self._config.username or None,
                    password=self._password,
                    protocol=aiomqtt.ProtocolVersion.V5,
                ) as client:
                    _log.info("connected to the broker at %s:%d", self._config.host, self._config.port)
                    retry_s = _FIRST_RETRY_S
                    while True:
                        self._unsent = self._unsent or await self._events.get()
                        await client.publish(self._unsent.topic, self._unsent.payload, qos=1)
                        self._unsent = None
            except ChannelClosedError:
                return
            except aiomqtt.MqttError as error:
                _log.warning("broker %s:%d: %s; trying again", self._config.host, self._config.port, error)
            await asyncio.sleep(retry_s * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret
            retry_s = min(2 * retry_s, _LONGEST_RETRY_S)


class LogPublisher:
    """Stands in where no broker is configured: says in the log that the event went nowhere."""

    def publish(self, name: str, slots: Mapping[str, str | int | float]) -> None:
        """Log the event."""
        _log.warning("event %r %s is not sent: mqtt.host is not configured", name, dict(slots))


def read_password(path: Path) -> str:
    """Read a password file, one line, that nobody else may read.

    Raises:
        ConfigError: It can't be read, or others may read it.
    """

    def refuse(message: str) -> ConfigError:
        return ConfigError([ConfigProblem("mqtt.password_file", message, str(path))])

    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise refuse("others may read it; run: chmod 600 on it")
        return path.read_text(encoding="utf-8").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise refuse(f"can't be read: {reason}; correct the path") from error
