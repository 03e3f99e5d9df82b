"""`run`: the service. A conversation through microphone, speaker, button and light that outlives their faults."""

from __future__ import annotations

import asyncio
import logging
import signal
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from edge_agent.app.brain import open_brain
from edge_agent.app.lanes import open_lanes
from edge_agent.app.mouth import Mouth
from edge_agent.app.places import find_places
from edge_agent.app.publishing import open_publisher
from edge_agent.app.ringing import Ringing
from edge_agent.app.voice import open_voice
from edge_agent.devices.button import ButtonEvent, TalkButton
from edge_agent.devices.light import StateLight
from edge_agent.devices.microphone import Microphone
from edge_agent.devices.portaudio import refresh_devices
from edge_agent.errors import DeviceError, UnknownDeviceError
from edge_agent.pipeline.observer import Observers, SilentObserver

if TYPE_CHECKING:
    from edge_agent.app.voice import Voice
    from edge_agent.config.schema import Config
    from edge_agent.pipeline.ears import Ears
    from edge_agent.pipeline.observer import Observer
    from edge_agent.pipeline.turn import State
    from edge_agent.runtime.lane import Lane

_log = logging.getLogger(__name__)

_FIRST_RETRY_S = 1.0
_LONGEST_RETRY_S = 30.0
SHUTDOWN_S = 5
"""From SIGTERM to exit at the most."""


class _LightObserver(SilentObserver):
    """Shows the state on the light."""

    def __init__(self, light: StateLight) -> None:
        self._light = light

    def state_changed(self, state: State, *, muted: bool) -> None:
        self._light.show(state.value, muted=muted)

    def fault(self, message: str) -> None:
        self._light.show_fault()


async def serve(config: Config, observer: Observer) -> None:
    """Hold conversations until SIGTERM or SIGINT; then return within `SHUTDOWN_S`, or be killed by SIGALRM.

    Raises:
        BadInputError: The configuration, a model or an intents file is wrong.
        EngineError: An engine did not start.
    """
    serving = asyncio.create_task(_serve(config, observer), name="serve")
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


async def _serve(config: Config, observer: Observer) -> None:
    places = find_places(config.directories)
    mouth = Mouth(config.audio)
    with open_lanes() as lanes:
        async with AsyncExitStack() as stack:
            publisher = await stack.enter_async_context(open_publisher(config))
            brain = await stack.enter_async_context(
                open_brain(config, places, lanes, volume=mouth, publisher=publisher)
            )
            stack.push_async_callback(mouth.close)
            light = await stack.enter_async_context(StateLight(config.gpio.light, brain.pin_factory))
            ringing = Ringing(brain)
            observers = Observers(observer, _LightObserver(light), ringing)
            voice = await stack.enter_async_context(
                open_voice(config, places, lanes, brain, observer=observers, open_speaker=mouth.for_turn)
            )
            _log.info("hears with %s, speaks with %s", voice.recognizer_name, voice.synthesizer_name)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(
                    _hear_loop(config.audio.input_device, voice, observers, lanes.capture), name="hear.capture"
                )
                tasks.create_task(ringing.ring_loop(voice.runner), name="timers.ring")
                if config.gpio.button is not None and brain.pin_factory is not None:
                    button = await stack.enter_async_context(TalkButton(config.gpio.button, brain.pin_factory))
                    tasks.create_task(_button_loop(button, voice.ears), name="button")


async def _hear_loop(device: str, voice: Voice, observer: Observer, lane: Lane) -> None:
    """Listen to the microphone for ever; reopen it, with a growing pause, when it is absent or lost."""
    retry_s = _FIRST_RETRY_S
    while True:
        try:
            async with Microphone(device) as microphone:
                _log.info("listening to %s", microphone.name)
                retry_s = _FIRST_RETRY_S
                await voice.ears.listen(microphone, patient=False)
        except (DeviceError, UnknownDeviceError) as error:
            voice.ears.abandon()
            message = f"{error}; trying again in {retry_s:.0f} s"
            _log.warning("%s", message)
            observer.fault(message)
        await asyncio.sleep(retry_s)
        retry_s = min(2 * retry_s, _LONGEST_RETRY_S)
        await lane.run(refresh_devices)


async def _button_loop(button: TalkButton, ears: Ears) -> None:
    async for event in button.events():
        match event:
            case ButtonEvent.PRESSED:
                ears.press()
            case ButtonEvent.RELEASED:
                await ears.release()
            case ButtonEvent.HELD:
                ears.hold()
