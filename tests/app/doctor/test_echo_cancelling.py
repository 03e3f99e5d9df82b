"""What doctor says of echo cancellation."""

from __future__ import annotations

import subprocess

import pytest
from pulse_rig import PulseRig

from edge_agent.app.doctor import CheckResult, echo_cancelling
from edge_agent.app.doctor.echo_cancelling import check_echo_cancellation
from edge_agent.config.schema import Config
from edge_agent.devices.echo_cancel import ServerDevice, SoundServer
from edge_agent.devices.portaudio import AudioDevice, Kind


@pytest.mark.live
def test_echo_cancellation_that_is_used_is_seen(sound_system: PulseRig) -> None:
    """The system's default device leads to the server's default source: before and after its module is chosen."""
    before = check_echo_cancellation(Config())
    assert before.verdict == "warning"
    assert "load-module module-echo-cancel aec_method=webrtc" in before.remedy
    assert "set-default-source echo_cancelled" in before.remedy
    module = next(line for line in before.remedy.splitlines() if line.startswith("load-module "))
    masters = ("source_master=room.monitor", "sink_master=speaker_out")
    for command in (
        ("load-module", "module-null-sink", "sink_name=room"),
        (*module.split(), *masters),
        *(line.split() for line in before.remedy.splitlines() if line.startswith("set-default-")),
    ):
        subprocess.run(["pactl", *command], env=sound_system.env, check=True, capture_output=True, timeout=20)
    after = check_echo_cancellation(Config())
    assert after.verdict == "ok", after
    assert after.remedy == ""


def advice(monkeypatch: pytest.MonkeyPatch, server: SoundServer | None, microphone: str = "default") -> CheckResult:
    """Return what is said about a server and a microphone."""

    def choose(kind: Kind, wanted: str) -> AudioDevice:
        name = microphone if kind == "microphone" else "default"
        return AudioDevice(0, name, "ALSA", 1, 1, 48_000, is_default_input=True, is_default_output=True)

    monkeypatch.setattr(echo_cancelling, "choose_device", choose)
    monkeypatch.setattr(echo_cancelling, "ask_sound_server", lambda: server)
    return check_echo_cancellation(Config())


def test_every_advice_names_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The right server's lines, the right names; where nothing runs, a device that needs no server."""
    mic, out = ServerDevice("mic", "", cancels_echo=False), ServerDevice("out", "", cancels_echo=False)
    aec_mic, aec_out = ServerDevice("aec_mic", "", cancels_echo=True), ServerDevice("aec_out", "", cancels_echo=True)
    pipewire = "PulseAudio (on PipeWire 1.4.2)"

    none = advice(monkeypatch, None)
    assert "USB speakerphone" in none.remedy
    absent = advice(monkeypatch, SoundServer(pipewire, "mic", "out", (mic,), (out,)))
    assert "libpipewire-module-echo-cancel" in absent.remedy
    assert "pipewire.conf.d" in absent.remedy
    not_chosen = advice(monkeypatch, SoundServer(pipewire, "mic", "out", (mic, aec_mic), (out, aec_out)))
    assert "set-default-source aec_mic" in not_chosen.remedy
    assert "set-default-sink aec_out" in not_chosen.remedy
    beside = advice(monkeypatch, SoundServer(pipewire, "aec_mic", "out", (mic, aec_mic), (out, aec_out)))
    assert "set-default-sink aec_out" in beside.remedy
    bypassed = advice(monkeypatch, SoundServer("pulseaudio", "mic", "out", (mic,), (out,)), "USB Audio (hw:1,0)")
    assert 'audio.input_device and output_device to "default"' in bypassed.remedy
    assert "load-module module-echo-cancel" in bypassed.remedy
    untold = advice(monkeypatch, SoundServer("pulseaudio", "mic", "out", (mic,), (out,)), "my_own")
    assert "my_own" in untold.message
    results = [none, absent, not_chosen, beside, bypassed, untold]
    assert {result.verdict for result in results} == {"warning"}
    assert len({result.message for result in results}) == len(results)
    used = advice(monkeypatch, SoundServer("pulseaudio", "aec_mic", "aec_out", (mic, aec_mic), (out, aec_out)))
    assert used.verdict == "ok"
