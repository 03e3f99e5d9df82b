"""What `doctor` finds, with null sinks for devices."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commands import CommandLine
from pulse_rig import PulseRig
from sounds import save, tone

from edge_agent.app import doctor
from edge_agent.app.doctor import (
    CHECKS,
    CheckResult,
    check_echo_cancellation,
    check_microphone,
    check_speaker,
    examine,
)
from edge_agent.config.audio import AudioConfig
from edge_agent.config.schema import Config
from edge_agent.devices.echo_cancel import ServerDevice, SoundServer
from edge_agent.devices.portaudio import AudioDevice, Kind


def config_of(**audio: object) -> Config:
    """Return a configuration of microphone and speaker."""
    return Config(audio=AudioConfig.model_validate(audio))


@pytest.mark.live
def test_devices_that_work(sound_system: PulseRig, tmp_path: Path) -> None:
    """A microphone that hears something and a speaker that takes something are all right."""
    hum = np.frombuffer(tone(20, 16_000, 440).pcm, "<i2")
    config = config_of(input_device=sound_system.microphone, output_device=sound_system.speaker)
    with sound_system.playing(save(tmp_path / "hum.wav", hum, 16_000)):
        heard = check_microphone(config)
    assert heard == CheckResult("microphone", "ok", "agent_mic delivers sound")
    assert check_speaker(config) == CheckResult("speaker", "ok", "agent_speaker takes sound")


@pytest.mark.live
def test_devices_that_work_and_are_not_heard(sound_system: PulseRig) -> None:
    """Nothing but zeros, and volume 0, are warnings with a remedy."""
    config = config_of(input_device=sound_system.microphone, output_device=sound_system.speaker, volume=0)
    zeros, mute = check_microphone(config), check_speaker(config)
    assert (zeros.verdict, mute.verdict) == ("warning", "warning")
    assert "nothing but zeros" in zeros.message
    assert "muted" in zeros.remedy
    assert "audio.volume" in mute.remedy


@pytest.mark.live
def test_devices_that_are_not_there(sound_system: PulseRig) -> None:
    """Each is a fault that names the setting; the others are checked all the same."""
    config = config_of(input_device="gramophone", output_device="trumpet")
    found = {result.name: result for result in examine(config)}
    assert list(found) == ["microphone", "speaker", "echo cancellation"]
    assert found["microphone"].verdict == found["speaker"].verdict == "fault"
    assert "no microphone matches 'gramophone'" in found["microphone"].message
    assert "audio.input_device" in found["microphone"].remedy
    assert "audio.output_device" in found["speaker"].remedy
    assert found["echo cancellation"].verdict == "warning"


@pytest.mark.live
def test_a_device_that_the_service_holds_is_no_fault(sound_system: PulseRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the service answers, a microphone that can't be opened is only not tried."""
    sound_system.stop()
    config = config_of(input_device=sound_system.microphone)
    assert check_microphone(config).verdict == "fault"
    monkeypatch.setattr(doctor, "ask_service", lambda *_, **__: {})
    held = check_microphone(config)
    assert held.verdict == "warning"
    assert "the running service may hold it" in held.message


@pytest.mark.live
def test_echo_cancellation_that_is_used_is_seen(sound_system: PulseRig) -> None:
    """The system's default device leads to the server's default source: before and after its module is chosen."""
    before = check_echo_cancellation(config_of())
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
    after = check_echo_cancellation(config_of())
    assert after.verdict == "ok", after
    assert after.remedy == ""


def advice(monkeypatch: pytest.MonkeyPatch, server: SoundServer | None, microphone: str = "default") -> CheckResult:
    """Return what is said about a server and a microphone."""

    def choose(kind: Kind, wanted: str) -> AudioDevice:
        name = microphone if kind == "microphone" else "default"
        return AudioDevice(0, name, "ALSA", 1, 1, 48_000, is_default_input=True, is_default_output=True)

    monkeypatch.setattr(doctor, "choose_device", choose)
    monkeypatch.setattr(doctor, "ask_sound_server", lambda: server)
    return check_echo_cancellation(config_of())


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


def test_checks_are_a_list_that_grows() -> None:
    """What is added is made, in order, with the configuration."""
    config = config_of()
    seen: list[Config] = []

    def check_disk(config: Config) -> CheckResult:
        seen.append(config)
        return CheckResult("disk", "ok", "there is room")

    assert [result.name for result in examine(config, [check_disk, check_disk])] == ["disk", "disk"]
    assert seen == [config, config]
    assert len(CHECKS) == 3


@pytest.mark.live
def test_the_command_prints_a_table_or_json_and_tells_by_its_status(
    pulse_rig: PulseRig, command_line: CommandLine
) -> None:
    """0 without a fault, 1 with one; JSON alone on standard output, in the table the remedies as lines to copy."""
    env = {**pulse_rig.sound_env, "HOME": str(command_line.home)}
    done = command_line.run("doctor", "--json", env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert [result["name"] for result in found] == ["microphone", "speaker", "echo cancellation"]
    assert set(found[0]) == {"name", "verdict", "message", "remedy"}
    assert done.stderr == ""

    table = command_line.run("doctor", env=env)
    assert table.returncode == 0
    assert "✓ speaker" in table.stdout
    module = "load-module module-echo-cancel aec_method=webrtc source_name=echo_cancelled sink_name=echo_cancelled_out"
    assert f"    {module}\n" in table.stdout

    file = command_line.write("config.toml", '[audio]\ninput_device = "gramophone"\n')
    faulty = command_line.run("doctor", "--config", file, env=env)
    assert faulty.returncode == 1
    assert "✗ microphone" in faulty.stdout
