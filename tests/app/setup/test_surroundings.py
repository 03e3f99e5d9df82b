"""The real broker, the real sound system, as setup asks them."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from certificates import Authority
from mosquitto_broker import BrokerTls, MakeBroker
from pulse_rig import PulseRig

from edge_agent.app import readiness
from edge_agent.app.setup.surroundings import RealService, RealSound, check_broker
from edge_agent.config.schema import Config


def config(tmp_path: Path, **mqtt: object) -> Config:
    """Return a configuration with a broker, and a directory without a password."""
    return Config.model_validate(
        {"mqtt": {"host": "127.0.0.1", **mqtt}, "directories": {"state": str(tmp_path)}, "device_id": "hall"}
    )


@pytest.mark.parametrize(
    ("password", "outcome"),
    [("geheim42", ("ok", "answers")), ("wrong-one", ("fault", "check mqtt.username, mqtt.password_file"))],
    ids=["right", "wrong"],
)
def test_a_password_is_tried_before_it_is_written(
    password: str, outcome: tuple[str, str], make_broker: MakeBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in a private file for as long as that takes, and nowhere else afterwards."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    broker = make_broker(users={"kitchen": "geheim42"})
    broker.start()
    found = check_broker(config(tmp_path, port=broker.port, username="kitchen"), password)
    verdict, words = outcome
    assert (found.verdict, words in found.message) == (verdict, True), found
    assert password not in repr(found)
    assert not list(tmp_path.glob("edge-agent-setup-*"))


def test_an_absent_broker_is_told_in_words(make_broker: MakeBroker, tmp_path: Path) -> None:
    """Nobody listens there."""
    found = check_broker(config(tmp_path, port=make_broker().port), None)
    assert found.verdict == "fault"
    assert "no broker listens there" in found.message


def test_a_certificate_of_another_authority_is_told_in_words(make_broker: MakeBroker, tmp_path: Path) -> None:
    """The system's authorities did not sign it; its own did."""
    authority = Authority(tmp_path)
    broker = make_broker(tls=BrokerTls(authority.file, *authority.issue("broker", address="127.0.0.1")))
    broker.start()
    found = check_broker(config(tmp_path, port=broker.tls_port, tls={"enabled": True}), None)
    assert "not signed by the authority that is trusted" in found.message
    trusted = config(tmp_path, port=broker.tls_port, tls={"enabled": True, "ca_file": str(authority.file)})
    assert check_broker(trusted, None).verdict == "ok"


def test_a_service_that_starts_slowly_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow board may load for as long as the agent itself asks systemd to wait, after the old one has ended."""
    asked: list[tuple[list[str], float]] = []

    def run(command: list[str], *, timeout: float, **_: object) -> None:
        asked.append((command, timeout))

    monkeypatch.setattr(subprocess, "run", run)
    RealService().control("restart")
    ((command, timeout_s),) = asked
    assert command == ["systemctl", "restart", "edge-agent"]
    unit = (Path(__file__).parents[3] / "systemd/edge-agent.service").read_text()
    stop_s = int(next(line.split("=")[1] for line in unit.splitlines() if line.startswith("TimeoutStopSec=")))
    assert timeout_s >= readiness._LONGEST_START_S + stop_s


@pytest.mark.live
def test_devices_are_found_again_by_their_settings(sound_system: PulseRig) -> None:
    """Each setting means the device that it was listed for, and the microphone hears."""
    sound = RealSound()
    for kind, name in (("microphone", sound_system.microphone), ("speaker", sound_system.speaker)):
        devices = {device.name: device.setting for device in sound.devices(kind)}  # type: ignore[arg-type]
        assert sound.find(kind, devices[name]) == name  # type: ignore[arg-type]
    levels: list[object] = []
    assert sound.listen(sound_system.microphone, 0.3, levels.append).name == sound_system.microphone
    assert len(levels) == 3
    assert sound.play(sound_system.speaker, 50) == sound_system.speaker
