"""A desktop's sound server owns the sound card: the service hears and speaks through it."""

from __future__ import annotations

import shlex
import wave
from pathlib import Path

import pytest
from system.debian_root import OWNER
from system.service import ANSWER, COMMAND, UNIT, Service
from system.test_releases import install

pytestmark = [pytest.mark.system, pytest.mark.timeout(2400)]

_RUNTIME = "/run/user/1000"
_AS_OWNER = f"runuser -u {OWNER} -- env XDG_RUNTIME_DIR={_RUNTIME}"
_RATE_HZ = 48_000
_SERVER = (
    f"systemd-run --quiet --unit=desktop --uid={OWNER} --setenv=XDG_RUNTIME_DIR={_RUNTIME} --setenv=HOME=/home/{OWNER}"
    " pulseaudio --daemonize=no --exit-idle-time=-1 --realtime=no --high-priority=no"
)


@pytest.fixture
def desktop(own_service: Service) -> Service:
    """The service on a machine whose owner's PulseAudio has the only microphone and speaker."""
    own_service.wait_until_active()
    machine = own_service.machine
    machine.run(
        "apt-get -qq update && apt-get -qq install --no-install-recommends pulseaudio pulseaudio-utils", timeout_s=300
    )
    machine.run("rm /etc/asound.conf")
    install(own_service, f"install --desktop-audio {OWNER}")
    machine.run(f"install -d -m 700 -o {OWNER} -g {OWNER} {_RUNTIME} && {_SERVER}")
    for name in ("desk_mic", "desk_out"):
        machine.wait_for(lambda: _pactl(own_service, "info") == 0, "a sound server", 30)
        assert _pactl(own_service, f"load-module module-null-sink sink_name={name} rate={_RATE_HZ} channels=2") == 0
    assert _pactl(own_service, "set-default-source desk_mic.monitor") == 0
    assert _pactl(own_service, "set-default-sink desk_out") == 0
    machine.run(f"systemctl restart {UNIT}", timeout_s=180)
    return own_service


def test_the_service_shares_a_desktops_sound(desktop: Service, tmp_path: Path) -> None:
    """Spoken to through the desktop's microphone, it answers through the desktop's speaker; others have no way in."""
    machine, said, heard = desktop.machine, "/home/question.wav", "/home/answer.raw"
    since = machine.cursor()
    machine.run(f"flite -voice slt -t '{COMMAND}' -o {said}")
    listen = f"parec --device=desk_out.monitor --rate={_RATE_HZ} --channels=1 --format=s16le"
    recorder = machine.start(f"exec timeout 60 {_AS_OWNER} {listen} >{heard}")
    try:
        machine.wait_for(lambda: machine.place(heard).exists() and machine.place(heard).stat().st_size > 0, "sound", 20)
        machine.run(f"{_AS_OWNER} paplay --device=desk_mic {said}")
        desktop.wait_for_turns(1, 30, since)
    finally:
        machine.run("pkill -x parec", may_fail=True)
        recorder.wait(timeout=70)
    answer = tmp_path / "answer.wav"
    with wave.open(str(answer), "wb") as file:
        file.setparams((1, 2, _RATE_HZ, 0, "NONE", ""))
        file.writeframes(machine.place(heard).read_bytes())
    assert desktop.room.recognized(answer) == ANSWER, desktop.log(since)
    machine.run("useradd --create-home stranger")
    socket = "unix:/run/edge-agent-audio/pulse"
    assert machine.run(f"pactl --server={socket} info", user="stranger", may_fail=True).returncode != 0


def _pactl(service: Service, command: str) -> int:
    words = shlex.join(shlex.split(command))
    return service.machine.run(f"{_AS_OWNER} pactl {words}", may_fail=True).returncode
