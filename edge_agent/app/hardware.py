"""`devices`: what this machine can hear, speak and switch with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edge_agent.devices.cards import is_numbered, read_cards, stable_name
from edge_agent.devices.pins import open_pin_factory
from edge_agent.devices.portaudio import choose_device, list_devices
from edge_agent.errors import BadInputError, DeviceError

if TYPE_CHECKING:
    from edge_agent.config.audio import GpioConfig
    from edge_agent.config.schema import Config
    from edge_agent.devices.portaudio import AudioDevice, Kind


def describe(config: Config) -> dict[str, Any]:
    """Return audio devices and GPIO as plain data for JSON; blocking.

    `inputs` and `outputs` hold `index`, `name`, `stable_name` (what to write into the configuration), `host_api`,
    `channels`, `default_rate_hz`, `is_default` and `is_chosen` (by the configuration). `gpio` holds `driver`,
    `available`, `reason` (why not, else null) and the configured pins: `button`, `light`, `outputs`. `notes` are lines
    for people: what is missing or wrong.
    """
    notes: list[str] = []
    try:
        devices = list_devices()
    except DeviceError as error:
        devices = ()
        notes.append(str(error))
    else:
        if not devices:
            notes.append("no sound hardware found: is it connected, and is this user in group audio?")
    found = {
        "inputs": _one_way(devices, "microphone", config.audio.input_device, notes),
        "outputs": _one_way(devices, "speaker", config.audio.output_device, notes),
    }
    return {**found, "gpio": _gpio(config.gpio), "notes": notes}


def _one_way(devices: tuple[AudioDevice, ...], kind: Kind, wanted: str, notes: list[str]) -> list[dict[str, Any]]:
    able = [device for device in devices if device.channels(kind)]
    cards = read_cards()
    chosen = None
    if able:
        try:
            chosen = choose_device(kind, wanted)
        except (BadInputError, DeviceError) as error:
            notes.append(str(error))
    if chosen is not None and is_numbered(wanted):
        key = "audio.input_device" if kind == "microphone" else "audio.output_device"
        better = stable_name(chosen.name, cards)
        notes.append(f'{key} = "{wanted}" names a number, which changes when devices are plugged in or out: "{better}"')
    return [
        {
            "index": device.index,
            "name": device.name,
            "stable_name": stable_name(device.name, cards),
            "host_api": device.host_api,
            "channels": device.channels(kind),
            "default_rate_hz": device.default_rate_hz,
            "is_default": device.is_default(kind),
            "is_chosen": device == chosen,
        }
        for device in able
    ]


def _gpio(config: GpioConfig) -> dict[str, Any]:
    reason = None
    try:
        # `auto` would only log why there are no pins.
        factory = open_pin_factory("simulated" if config.driver == "simulated" else "lgpio")
    except DeviceError as error:
        cause = error.__cause__  # without the advice, which is meant for who asked for `lgpio`
        reason = (cause if config.driver == "auto" and isinstance(cause, DeviceError) else error).reason
    else:
        if factory is not None:
            factory.close()
    return {
        "driver": config.driver,
        "available": reason is None,
        "reason": reason,
        "button": config.button.pin if config.button is not None else None,
        "light": config.light.model_dump() if config.light is not None else None,
        "outputs": {name: output.pin for name, output in config.outputs.items()},
    }
