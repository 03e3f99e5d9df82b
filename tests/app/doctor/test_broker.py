"""What doctor says of the broker, with real ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from doctor_rig import paper
from mosquitto_broker import Broker, MakeBroker

from edge_agent.app.doctor.broker import check_broker, with_password
from edge_agent.config.mqtt import MqttConfig
from edge_agent.config.schema import Config


def config_of(port: int, **mqtt: object) -> Config:
    """Return a configuration with a broker on this machine."""
    return Config(device_id="tested", mqtt=MqttConfig.model_validate({"host": "127.0.0.1", "port": port, **mqtt}))


def test_none_is_configured(tmp_path: Path) -> None:
    """That is all right."""
    assert check_broker(Config(), paper(tmp_path)).verdict == "ok"


def test_a_broker_that_lets_us_in(broker: Broker, tmp_path: Path) -> None:
    """Subscribing and publishing were tried."""
    broker.start()
    found = check_broker(config_of(broker.port), paper(tmp_path))
    assert found.verdict == "ok", found
    assert "subscribing and publishing are allowed" in found.message


def test_a_broker_that_is_not_there(broker: Broker, tmp_path: Path) -> None:
    """The reason is in words, and the remedy is a command."""
    found = check_broker(config_of(broker.port), paper(tmp_path))
    assert found.verdict == "fault"
    assert "no broker listens there" in found.message
    assert f"nc -vz 127.0.0.1 {broker.port}" in found.remedy


def test_a_wrong_password(make_broker: MakeBroker, tmp_path: Path) -> None:
    """The broker says so; the secret is in no line."""
    broker = make_broker(users={"agent": "right"})
    broker.start()
    password = tmp_path / "password"
    password.write_text("wrong-secret")
    password.chmod(0o600)
    found = check_broker(config_of(broker.port, username="agent", password_file=password), paper(tmp_path))
    assert found.verdict == "fault"
    assert "password" in found.message
    assert "wrong-secret" not in str(found)
    password.write_text("right")
    assert (
        check_broker(config_of(broker.port, username="agent", password_file=password), paper(tmp_path)).verdict == "ok"
    )


def test_a_broker_that_does_not_let_us_publish(make_broker: MakeBroker, tmp_path: Path) -> None:
    """Connected is not enough."""
    broker = make_broker(acl=["topic read #"])
    broker.start()
    found = check_broker(config_of(broker.port), paper(tmp_path))
    assert found.verdict == "fault"
    assert "lets us in, but" in found.message
    assert "edge-agent/tested/#" in found.remedy


def test_a_file_that_is_wrong(broker: Broker, tmp_path: Path) -> None:
    """The key is named."""
    found = check_broker(config_of(broker.port, username="x", password_file=tmp_path / "absent"), paper(tmp_path))
    assert found.verdict == "fault"
    assert "mqtt.password_file" in found.message


def test_the_password_that_systemd_hands_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is read where it is kept, by who may."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    kept = tmp_path / "etc/edge-agent/credentials/mqtt-password"
    kept.parent.mkdir(parents=True)
    kept.write_text("secret")
    mqtt, hidden = with_password(MqttConfig(host="x", username="y"), paper(tmp_path))
    assert (mqtt.password_file, hidden) == (kept, "")
    encrypted = kept.rename(kept.with_name("mqtt-password.cred"))
    assert with_password(MqttConfig(host="x", username="y"), paper(tmp_path))[1] == str(encrypted)


def test_a_password_that_is_kept_from_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The running service is asked instead; without one, root has to look."""
    secret = tmp_path / "password"
    secret.write_text("secret")
    monkeypatch.setattr(os, "access", lambda path, mode: path != secret)
    config = config_of(1883, username="agent", password_file=secret)
    assert "sudo edge-agent doctor" in check_broker(config, paper(tmp_path)).remedy
    served: dict[str, object] = {"broker": {"connected": True}}
    assert check_broker(config, paper(tmp_path, status=served)).verdict == "ok"
    served = {"broker": {"connected": False, "reason": "refuses the connection"}}
    lost = check_broker(config, paper(tmp_path, status=served))
    assert lost.verdict == "fault"
    assert "refuses the connection" in lost.message
