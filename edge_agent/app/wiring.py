"""The state light and the talk button on their pins, which may change while the agent runs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from edge_agent.devices.button import ButtonEvent, TalkButton
from edge_agent.devices.light import StateLight
from edge_agent.pipeline.observer import SilentObserver

if TYPE_CHECKING:
    from gpiozero import Factory

    from edge_agent.config.audio import ButtonConfig, LightConfig
    from edge_agent.pipeline.commands import State
    from edge_agent.pipeline.ears import Ears


class Wiring(SilentObserver):
    """Shows the conversation's state on the light, and brings presses of the button to the ears."""

    def __init__(self) -> None:
        self._light: StateLight | None = None
        self._lights = AsyncExitStack()
        self._button: TalkButton | None = None
        self._buttons = AsyncExitStack()
        self._new_button = asyncio.Event()
        self._state = ("idle", False)

    async def open_light(self, config: LightConfig | None, factory: Factory | None) -> None:
        """Show the state on this light, if there is one; the one before must be closed.

        Raises:
            DeviceError: A pin can't be had.
        """
        light = await self._lights.enter_async_context(StateLight(config, factory))
        state, muted = self._state
        light.show(state, muted=muted)
        self._light = light

    async def close_light(self) -> None:
        """Switch the light off and free its pins."""
        self._light = None
        await self._lights.aclose()

    async def open_button(self, config: ButtonConfig | None, factory: Factory | None) -> None:
        """Take presses of this button, if there is one; the one before must be closed.

        Raises:
            DeviceError: The pin can't be had.
        """
        if config is not None and factory is not None:
            self._button = await self._buttons.enter_async_context(TalkButton(config, factory))
        self._new_button.set()

    async def close_button(self) -> None:
        """Free the button's pin."""
        self._button = None
        await self._buttons.aclose()

    async def close(self) -> None:
        """Free all pins."""
        await self.close_button()
        await self.close_light()

    async def press_loop(self, ears: Ears) -> None:
        """Bring what is done with the button to `ears`, whichever button there is."""
        while True:
            self._new_button.clear()
            if (button := self._button) is not None:
                await _follow(button, ears)  # until it is closed
            await self._new_button.wait()

    def state_changed(self, state: State, *, muted: bool) -> None:
        """Show the state."""
        self._state = (state.value, muted)
        if self._light is not None:
            self._light.show(state.value, muted=muted)

    def fault(self, message: str) -> None:
        """Show that there is a fault."""
        if self._light is not None:
            self._light.show_fault()


async def _follow(button: TalkButton, ears: Ears) -> None:
    async for event in button.events():
        match event:
            case ButtonEvent.PRESSED:
                ears.press()
            case ButtonEvent.RELEASED:
                await ears.release()
            case ButtonEvent.HELD:
                ears.hold()
