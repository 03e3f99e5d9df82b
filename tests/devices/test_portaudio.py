"""Listing and choosing audio devices, with and without hardware and libraries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from commands import CommandLine, isolated
from pulse_rig import PulseRig

from edge_agent.app import hardware
from edge_agent.cli.tables import print_devices
from edge_agent.config.schema import Config
from edge_agent.devices import portaudio
from edge_agent.devices.cards import SoundCard
from edge_agent.devices.portaudio import AudioDevice, StreamFormat, choose_device, choose_format, list_devices
from edge_agent.errors import DeviceError, UnknownDeviceError

USB, CAMERA, CARD = "USB PnP Sound Device: Audio (hw:1,0)", "USB Camera: Audio (hw:2,0)", "bcm2835 Headphones (hw:0,0)"


def device(index: int, name: str, inputs: int, outputs: int, *, default: bool = False) -> AudioDevice:
    """Return a device as PortAudio would list it."""
    return AudioDevice(index, name, "ALSA", inputs, outputs, 48_000, default and inputs > 0, default and outputs > 0)


@pytest.fixture
def three_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """A board with headphones, a USB sound card and a camera with a microphone."""
    cards = (device(0, CARD, 0, 8, default=True), device(1, USB, 1, 2, default=True), device(2, CAMERA, 2, 0))
    monkeypatch.setattr(portaudio, "list_devices", lambda: cards)
    monkeypatch.setattr(portaudio, "read_cards", tuple)


@pytest.mark.usefixtures("three_cards")
@pytest.mark.parametrize(("wanted", "index"), [("", 1), ("pnp", 1), ("CAMERA", 2), ("hw:2", 2), ("1", 1), (USB, 1)])
def test_a_microphone_is_named_by_number_or_part_of_its_name(wanted: str, index: int) -> None:
    """Case does not matter; empty is the default."""
    assert choose_device("microphone", wanted).index == index


@pytest.mark.usefixtures("three_cards")
@pytest.mark.parametrize("wanted", ["gramophone", "7", "headphones", "0"])
def test_no_match_lists_what_there_is(wanted: str) -> None:
    """A speaker is no microphone, whatever its name or number."""
    with pytest.raises(UnknownDeviceError) as caught:
        choose_device("microphone", wanted)
    assert caught.value.known == (USB, CAMERA)
    assert str(caught.value).startswith(f"no microphone matches {wanted!r}; there are: {USB!r}")


@pytest.mark.usefixtures("three_cards")
def test_more_than_one_match_lists_them() -> None:
    """Nothing is guessed."""
    with pytest.raises(UnknownDeviceError, match="'usb' matches more than one microphone") as caught:
        choose_device("microphone", "usb")
    assert caught.value.matching == (f"1: {USB}", f"2: {CAMERA}")


def test_a_whole_name_is_not_ambiguous(monkeypatch: pytest.MonkeyPatch) -> None:
    """`default` means that device although others have the word in their names."""
    monkeypatch.setattr(portaudio, "list_devices", lambda: (device(0, "sysdefault", 2, 2), device(1, "default", 2, 2)))
    assert choose_device("speaker", "Default").index == 1


def test_without_hardware_there_is_no_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """An absent device is a fault of the world; a name is the user's to mend."""
    monkeypatch.setattr(portaudio, "list_devices", lambda: ())
    with pytest.raises(DeviceError, match="speaker: none is connected"):
        choose_device("speaker", "")
    with pytest.raises(UnknownDeviceError, match="there are: none"):
        choose_device("speaker", "usb")


class _Picky:
    """sounddevice with a device that takes some formats only."""

    PortAudioError = type("PortAudioError", (Exception,), {})

    def __init__(self, *takes: StreamFormat) -> None:
        self._takes = takes

    def check_input_settings(self, index: int, channels: int, dtype: str, extra: None, rate_hz: int) -> None:
        """Refuse what the device does not take."""
        assert dtype == "int16"
        if StreamFormat(rate_hz, channels) not in self._takes:
            raise self.PortAudioError("Error checking input settings: Invalid sample rate", -9997)

    check_output_settings = check_input_settings


@pytest.mark.parametrize(
    ("takes", "chosen"),
    [
        ([StreamFormat(16_000, 1), StreamFormat(48_000, 2)], StreamFormat(16_000, 1)),
        ([StreamFormat(48_000, 1), StreamFormat(16_000, 2)], StreamFormat(16_000, 2)),
        ([StreamFormat(48_000, 1), StreamFormat(48_000, 2)], StreamFormat(48_000, 1)),
        ([StreamFormat(48_000, 6)], StreamFormat(48_000, 6)),
    ],
)
def test_format_is_the_nearest_that_the_device_takes(
    monkeypatch: pytest.MonkeyPatch, takes: list[StreamFormat], chosen: StreamFormat
) -> None:
    """The wanted rate first, then the device's own; mono first, then more channels."""
    monkeypatch.setattr(portaudio._library, "module", lambda: _Picky(*takes))
    assert choose_format("microphone", device(0, USB, 6, 0), (16_000,)) == chosen


def test_a_device_that_takes_nothing_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """PortAudio's words, without its numbers, and what to look at."""
    monkeypatch.setattr(portaudio._library, "module", _Picky)
    with pytest.raises(DeviceError) as caught:
        choose_format("speaker", device(0, USB, 0, 2), (48_000,))
    assert str(caught.value) == f"{USB}: can't be opened: Invalid sample rate; is it connected, and not in use?"


@pytest.mark.live
def test_lists_what_portaudio_finds(sound_system: PulseRig) -> None:
    """The rig's devices are there, with a default for both directions."""
    found = {entry.name: entry for entry in list_devices()}
    assert found[sound_system.microphone].input_channels > 0
    assert found[sound_system.speaker].output_channels > 0
    assert choose_device("microphone", "").is_default_input
    assert choose_device("speaker", "").is_default_output
    assert choose_device("microphone", "AGENT_M") == found[sound_system.microphone]


@pytest.mark.live
def test_devices_command_lists_and_marks_the_chosen(command_line: CommandLine, pulse_rig: PulseRig) -> None:
    """As JSON and as tables; the libraries' noise stays off stderr."""
    file = command_line.write("config.toml", '[audio]\ninput_device = "agent_m"\n')
    listed = command_line.run("devices", "--config", file, "--json", env=pulse_rig.sound_env)
    assert (listed.returncode, listed.stderr) == (0, "")
    found = json.loads(listed.stdout)
    assert [entry["name"] for entry in found["inputs"] if entry["is_chosen"]] == [pulse_rig.microphone]
    assert [entry["name"] for entry in found["outputs"] if entry["is_chosen"]] == ["default"]
    assert found["notes"] == []

    shown = command_line.run("devices", "--config", file, env=pulse_rig.sound_env)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "agent_mic" in shown.stdout
    assert "agent_speaker" in shown.stdout


@pytest.mark.live
def test_a_refused_device_makes_no_noise(pulse_rig: PulseRig) -> None:
    """An unplugged microphone is one line, not PortAudio's and ALSA's dozen."""
    pulse_rig.unload_microphone()
    script = "from edge_agent.devices.portaudio import *; d = choose_device('microphone', 'agent_mic')\n"
    script += "try: choose_format('microphone', d, (16_000,))\nexcept Exception as error: print(error)"
    done = subprocess.run(
        [sys.executable, "-c", script], env=pulse_rig.env, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1
    assert done.stdout.startswith("agent_mic: can't be opened: Input/output error")


def test_a_machine_without_hardware_is_described(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing found is no failure, and is said."""
    monkeypatch.setattr(hardware, "list_devices", lambda: ())
    found = hardware.describe(Config())
    assert (found["inputs"], found["outputs"]) == ([], [])
    assert found["notes"][0].startswith("no sound hardware found")
    print_devices(found)
    shown = capsys.readouterr().out
    assert shown.count("none found") == 2
    assert "no sound hardware found" in shown


def test_names_that_stay_are_shown_and_numbers_warned_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Below each name stands the one for the configuration; of a configured number a note has it."""
    cards = (SoundCard(0, "Headphones", "bcm2835 Headphones"), SoundCard(1, "Device", "USB PnP Sound Device"))
    monkeypatch.setattr(hardware, "read_cards", lambda: cards)
    monkeypatch.setattr(portaudio, "read_cards", lambda: cards)
    devices = (device(0, CARD, 0, 8, default=True), device(1, USB, 1, 2), device(2, "default", 2, 2, default=True))
    monkeypatch.setattr(hardware, "list_devices", lambda: devices)
    monkeypatch.setattr(portaudio, "list_devices", lambda: devices)
    found = hardware.describe(
        Config.model_validate({"audio": {"input_device": "1", "output_device": "hw:CARD=Device"}})
    )
    assert [entry["stable_name"] for entry in found["inputs"]] == ["hw:CARD=Device", "default"]
    assert [entry["stable_name"] for entry in found["outputs"]] == ["hw:CARD=Headphones", "hw:CARD=Device", "default"]
    for way in ("inputs", "outputs"):
        assert [entry["name"] for entry in found[way] if entry["is_chosen"]] == [USB]
    (note,) = found["notes"]
    assert note.startswith('audio.input_device = "1" names a number')
    assert note.endswith('"hw:CARD=Device"')
    print_devices(found)
    shown = capsys.readouterr().out
    assert "hw:CARD=Headphones" in shown
    assert note in shown


def test_configured_pins_are_listed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Button, light and outputs stand there with their pins."""
    monkeypatch.setattr(hardware, "list_devices", lambda: (device(1, USB, 1, 2, default=True),))
    gpio = {
        "driver": "simulated",
        "button": {"pin": 5},
        "light": {"rgb_pins": [6, 7, 8]},
        "outputs": {"lamp": {"pin": 17}},
    }
    found = hardware.describe(Config.model_validate({"gpio": gpio}))
    assert found["gpio"]["available"]
    print_devices(found)
    lines = capsys.readouterr().out.splitlines()
    assert {"  lamp: pin 17", "  button: pin 5", "  light: pin 6, 7, 8"} <= set(lines)


def test_devices_command_without_portaudio(tmp_path: Path) -> None:
    """A missing library is named with the package that brings it."""
    script = "import ctypes.util; ctypes.util.find_library = lambda name: None\n"
    script += "import sys; sys.argv = ['edge-agent', 'devices']; from edge_agent.__main__ import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script], env=isolated(tmp_path), capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "PortAudio is missing; install it: apt install libportaudio2" in done.stdout
