"""Echo cancellation of the sound server: what `pactl` says, in answers made by hand, and by a real PulseAudio."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pulse_rig import PulseRig

from edge_agent.devices import echo_cancel
from edge_agent.devices.echo_cancel import EchoCancellation, SoundServer, ask_sound_server, judge
from edge_agent.errors import DeviceError

HARDWARE = "USB Audio Device: - (hw:1,0)"


def device(name: str, driver: str = "module-alsa-card.c", **more: object) -> dict[str, Any]:
    """Return a source or sink as pactl lists it, with only what is read."""
    return {"name": name, "description": f"The {name}", "driver": driver, "monitor_source": "", **more}


MICROPHONE = device("alsa_input.usb")
CANCELLED = device("alsa_input.usb.echo-cancel", "module-echo-cancel.c")
SPEAKER = device("alsa_output.usb", monitor_source="alsa_output.usb.monitor")
CANCELLED_OUT = device(
    "alsa_output.usb.echo-cancel", "module-echo-cancel.c", monitor_source="alsa_output.usb.echo-cancel.monitor"
)
MONITOR = device("alsa_output.usb.echo-cancel.monitor", "module-echo-cancel.c", monitor_source=CANCELLED_OUT["name"])
PIPEWIRE_NODE = device("quiet_mic", "PipeWire", properties={"node.group": "echo-cancel-811-31"})
PIPEWIRE_MONITOR = device("alsa_output.usb.monitor", "PipeWire")


class FakePactl:
    """A `pactl` that prints what it was told to."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.env = {"PATH": f"{directory}:/usr/bin:/bin", "XDG_RUNTIME_DIR": str(directory)}

    def script(self, body: str) -> None:
        """Let it be a shell script."""
        path = self._directory / "pactl"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def answers(
        self,
        sources: list[dict[str, Any]],
        sinks: list[dict[str, Any]],
        *,
        name: str = "pulseaudio",
        default_source: str = "",
        default_sink: str = "",
    ) -> None:
        """Let it answer as a server does."""
        info = {"server_name": name, "default_source_name": default_source, "default_sink_name": default_sink}
        for what, answer in (("info", info), ("sources", sources), ("sinks", sinks)):
            (self._directory / what).write_text(json.dumps(answer))
        self.script(
            '[ "$LC_ALL" = C ] && [ "$1" = --format=json ] || exit 3\n'
            f'for last; do :; done\ncat "{self._directory}/$last"'
        )


@pytest.fixture
def pactl(tmp_path: Path) -> FakePactl:
    """A directory for a pactl of our own, first in the PATH."""
    return FakePactl(tmp_path)


def server_of(pactl: FakePactl, sources: list[dict[str, Any]], sinks: list[dict[str, Any]], **more: str) -> SoundServer:
    """Return what is read of such an answer."""
    pactl.answers(sources, sinks, **more)
    server = ask_sound_server(pactl.env)
    assert server is not None
    return server


PLAIN, BOTH = [MICROPHONE, MONITOR], [MICROPHONE, CANCELLED, MONITOR]


@pytest.mark.parametrize(
    ("sources", "default_source", "sinks", "default_sink", "microphone", "speaker", "expected"),
    [
        (BOTH, CANCELLED, [SPEAKER, CANCELLED_OUT], CANCELLED_OUT, "default", "default", "used"),
        (BOTH, CANCELLED, [SPEAKER, CANCELLED_OUT], CANCELLED_OUT, "pulse", "pulse", "used"),
        (BOTH, CANCELLED, [SPEAKER, CANCELLED_OUT], SPEAKER, "default", "default", "speaker_beside"),
        (BOTH, CANCELLED, [SPEAKER, CANCELLED_OUT], CANCELLED_OUT, "default", HARDWARE, "speaker_beside"),
        (BOTH, MICROPHONE, [SPEAKER, CANCELLED_OUT], CANCELLED_OUT, "default", "default", "not_chosen"),
        (BOTH, MICROPHONE, [SPEAKER], SPEAKER, CANCELLED["name"], "default", "used"),
        (BOTH, MICROPHONE, [SPEAKER], SPEAKER, CANCELLED["description"], "default", "used"),
        (BOTH, CANCELLED, [SPEAKER], SPEAKER, "pipewire", "pipewire", "used"),
        (PLAIN, MICROPHONE, [SPEAKER], SPEAKER, "default", "default", "absent"),
        (PLAIN, MICROPHONE, [SPEAKER], SPEAKER, HARDWARE, HARDWARE, "server_bypassed"),
        (BOTH, CANCELLED, [SPEAKER, CANCELLED_OUT], CANCELLED_OUT, HARDWARE, HARDWARE, "server_bypassed"),
        (BOTH, CANCELLED, [SPEAKER], SPEAKER, "my_own_pcm", "default", "untold"),
        ([PIPEWIRE_NODE, PIPEWIRE_MONITOR], PIPEWIRE_NODE, [SPEAKER], SPEAKER, "default", "default", "used"),
        ([], MICROPHONE, [], SPEAKER, "default", "default", "absent"),
        (BOTH, MONITOR, [SPEAKER, CANCELLED_OUT], SPEAKER, "default", "default", "not_chosen"),
    ],
)
def test_every_constellation_is_told(  # noqa: PLR0917 - the columns of a table
    pactl: FakePactl,
    sources: list[dict[str, Any]],
    default_source: dict[str, Any],
    sinks: list[dict[str, Any]],
    default_sink: dict[str, Any],
    microphone: str,
    speaker: str,
    expected: str,
) -> None:
    """By drivers, names or nodes' groups of what is chosen; the monitor of a virtual sink is no microphone."""
    server = server_of(pactl, sources, sinks, default_source=default_source["name"], default_sink=default_sink["name"])
    assert judge(server, microphone, speaker, {}) == expected


def test_the_environment_chooses_before_the_servers_default(pactl: FakePactl) -> None:
    """PULSE_SOURCE and PULSE_SINK say what ALSA's plugin opens."""
    server = server_of(
        pactl, BOTH, [SPEAKER, CANCELLED_OUT], default_source=MICROPHONE["name"], default_sink=SPEAKER["name"]
    )
    environ = {"PULSE_SOURCE": CANCELLED["name"]}
    assert judge(server, "default", "default", environ) is EchoCancellation.SPEAKER_BESIDE
    environ["PULSE_SINK"] = CANCELLED_OUT["name"]
    assert judge(server, "default", "default", environ) is EchoCancellation.USED


def test_pipewire_is_known_by_its_name(pactl: FakePactl) -> None:
    """Its own server of PulseAudio's protocol says so."""
    assert server_of(pactl, PLAIN, [], name="PulseAudio (on PipeWire 1.4.2)").is_pipewire
    assert not server_of(pactl, PLAIN, []).is_pipewire


def test_no_server_is_none(pactl: FakePactl) -> None:
    """Nobody listens: what a board without a desktop has."""
    pactl.script('echo "Connection failure: Connection refused" >&2; exit 1')
    assert ask_sound_server(pactl.env) is None
    assert judge(None, "default", "default", {}) is EchoCancellation.NO_SERVER


def test_without_pactl_a_server_can_still_be_suspected(tmp_path: Path) -> None:
    """Its socket tells that there is one, which is then an error with the remedy."""
    environ = {"PATH": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    assert ask_sound_server(environ) is None
    assert ask_sound_server({"PATH": str(tmp_path)}) is None
    (tmp_path / "pulse").mkdir()
    (tmp_path / "pulse" / "native").touch()
    with pytest.raises(DeviceError, match="apt install pulseaudio-utils"):
        ask_sound_server(environ)
    with pytest.raises(DeviceError, match="apt install pulseaudio-utils"):
        ask_sound_server({"PATH": str(tmp_path), "PULSE_SERVER": "unix:/somewhere"})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo 'Server: x'", "pactl prints no JSON"),
        ("echo '[]'", "a form that is not known"),
        ("echo '{\"server_name\": 0}'", "a form that is not known"),
        ("echo \"pactl: unrecognized option '--format=json'\" >&2; exit 1", "unrecognized option .*16 or later"),
        ("exit 7", "status 7"),
    ],
)
def test_answers_that_are_none_are_errors(pactl: FakePactl, body: str, reason: str) -> None:
    """An old pactl, or another program: one line that says so."""
    pactl.script(body)
    with pytest.raises(DeviceError, match=reason):
        ask_sound_server(pactl.env)


def test_a_server_that_hangs_is_not_waited_for(pactl: FakePactl, monkeypatch: pytest.MonkeyPatch) -> None:
    """The question ends, and its process with it."""
    monkeypatch.setattr(echo_cancel, "_ANSWER_S", 0.05)
    pactl.script("exec sleep 60")
    with pytest.raises(DeviceError, match="does not answer"):
        ask_sound_server(pactl.env)


@pytest.mark.live
def test_a_real_server_is_asked(pulse_rig: PulseRig) -> None:
    """PulseAudio with its module: absent, loaded, chosen; and gone."""
    if shutil.which("pactl") is None:
        pytest.skip("pactl is not installed (apt install pulseaudio-utils)")

    def configure(*arguments: str) -> None:
        subprocess.run(["pactl", *arguments], env=pulse_rig.env, check=True, capture_output=True, timeout=20)

    def state() -> EchoCancellation:
        return judge(ask_sound_server(pulse_rig.env), "default", "default", {})

    configure("load-module", "module-null-sink", "sink_name=room")
    configure("load-module", "module-remap-source", "master=room.monitor", "source_name=microphone")
    configure("set-default-source", "microphone")
    assert state() is EchoCancellation.ABSENT
    configure(
        "load-module",
        "module-echo-cancel",
        "aec_method=webrtc",
        "source_name=echo_cancelled",
        "sink_name=echo_cancelled_out",
        "source_master=microphone",
        "sink_master=room",
    )
    assert state() is EchoCancellation.NOT_CHOSEN
    configure("set-default-source", "echo_cancelled")
    configure("set-default-sink", "room")
    assert state() is EchoCancellation.SPEAKER_BESIDE
    configure("set-default-sink", "echo_cancelled_out")
    assert state() is EchoCancellation.USED
    pulse_rig.stop()
    assert state() is EchoCancellation.NO_SERVER
