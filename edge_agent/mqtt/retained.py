"""One retained document, published whenever it is another one."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, NoReturn

from edge_agent.errors import FaultError
from edge_agent.mqtt.failures import NotConnectedError
from edge_agent.mqtt.sending import Connected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from edge_agent.mqtt.sending import Link

_log = logging.getLogger(__name__)

_PUBLISH_S = 30.0
_AGAIN_S = 5.0


class RetainedDocument:
    """Keeps what the broker has of a document up to date. Belongs to the loop.

    Args:
        link: To the broker.
        topic: Where it is retained.
        current: Returns what it is to be.
    """

    def __init__(self, link: Link, topic: str, current: Callable[[], Mapping[str, Any]]) -> None:
        self._link = link
        self._topic = topic
        self._current = current
        self._changed = asyncio.Event()
        self._changed.set()
        self._published = asyncio.Event()
        self._connected = Connected(link)
        self._connected.on_connect = self._changed.set

    def changed(self) -> None:
        """It is another one, or may be."""
        self._changed.set()

    async def published(self) -> None:
        """Wait until the broker has had it once."""
        await self._published.wait()

    async def run_loop(self) -> NoReturn:
        """Publish it at each connection and after each change, the latest one, until cancelled."""
        while True:
            await self._changed.wait()
            await self._connected.up()
            self._changed.clear()
            payload = json.dumps(self._current(), ensure_ascii=False, separators=(",", ":")).encode()
            try:
                async with asyncio.timeout(_PUBLISH_S):
                    await self._link.publish(self._topic, payload, qos=1, retain=True)
            except (FaultError, TimeoutError) as error:
                if not isinstance(error, NotConnectedError):
                    _log.warning("%s: %s; trying again", self._topic, str(error) or "the broker does not answer")
                self._changed.set()
                await asyncio.sleep(_AGAIN_S)
            else:
                self._published.set()
