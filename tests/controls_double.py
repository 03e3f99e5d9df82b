"""An agent that only notes what it is commanded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from edge_agent.mqtt.controls import Data


class ControlsDouble:
    """Notes every call.

    Attributes:
        raises: Is raised by the next call.
        gate: Calls wait while it is clear.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, object]] = []
        self.raises: BaseException | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.restarts = 0
        self.cancelled = 0

    async def _note(self, name: str, argument: object = None, data: Data | None = None) -> Data:
        self.calls.append((name, argument))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.raises is not None:
            raises, self.raises = self.raises, None
            raise raises
        return data or {}

    async def say(self, text: str) -> Data:
        """Note it."""
        return await self._note("say", text, {"interrupted": False})

    async def ask(self, text: str) -> Data:
        """Note it."""
        return await self._note("ask", text, {"reply": "yes", "intent": None, "slots": {}, "source": "llm"})

    async def listen(self) -> Data:
        """Note it."""
        return await self._note("listen")

    async def stop(self) -> Data:
        """Note it."""
        return await self._note("stop", None, {"silenced": True, "rang": False})

    async def mute(self, *, muted: bool) -> Data:
        """Note it."""
        return await self._note("mute", muted, {"muted": muted})

    async def set_volume(self, percent: int) -> Data:
        """Note it."""
        return await self._note("volume", percent, {"percent": percent})

    async def set_timer(self, seconds: float, name: str) -> Data:
        """Note it."""
        return await self._note("set_timer", (seconds, name), {"timers": []})

    async def cancel_timers(self, *, name: str, seconds: float | None, everything: bool) -> Data:
        """Note it."""
        return await self._note("cancel_timers", (name, seconds, everything), {"timers": []})

    async def list_timers(self) -> Data:
        """Note it."""
        return await self._note("list_timers", None, {"timers": []})

    async def pull_model(self, name: str) -> Data:
        """Note it."""
        return await self._note("pull_model", name)

    def check_restart(self) -> Mapping[str, Any]:
        """Note it."""
        self.calls.append(("check_restart", None))
        return {}

    def restart(self) -> None:
        """Note it."""
        self.restarts += 1
