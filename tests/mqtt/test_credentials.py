"""Passwords, certificates and keys: read where they are private, refused with the key's name where not."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from certificates import Authority, write_key
from cryptography.hazmat.primitives.asymmetric import ec

from edge_agent.config.mqtt import MqttConfig, MqttTlsConfig
from edge_agent.errors import ConfigError
from edge_agent.mqtt.credentials import load_credentials, read_password
from edge_agent.mqtt.tls import load_context


def private(path: Path, content: bytes) -> Path:
    """Write a file of mode 0600."""
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def test_a_password_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """The error names the file and the remedy, and not the password."""
    path = private(tmp_path / "password", b"hunter2\n")
    assert read_password(path) == "hunter2"
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600") as caught:
        read_password(path)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"mqtt\.password_file: can't be read: No such file"):
        read_password(tmp_path / "absent")


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines\n", b"\xff\xfe", b"nul\0", b"x" * 5000])
def test_what_is_no_password_is_refused(tmp_path: Path, content: bytes) -> None:
    """In a line that does not quote it."""
    with pytest.raises(ConfigError, match=r"mqtt\.password_file") as caught:
        read_password(private(tmp_path / "password", content))
    assert "two" not in str(caught.value)


def test_a_fifo_does_not_hang_the_start(tmp_path: Path) -> None:
    """Nor does a directory."""
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(ConfigError, match="is not a regular file"):
        read_password(tmp_path / "fifo")
    with pytest.raises(ConfigError, match=r"regular file|directory"):
        read_password(tmp_path)


def test_systemds_credential_stands_in_for_the_file(tmp_path: Path) -> None:
    """The file goes first where both are there; neither is no password."""
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert load_credentials(MqttConfig(username="kitchen"), environ).password is None
    (tmp_path / "mqtt-password").write_text("from systemd\n")
    found = load_credentials(MqttConfig(username="kitchen"), environ)
    assert (found.username, found.password) == ("kitchen", "from systemd")
    assert "systemd" not in repr(found)
    path = private(tmp_path / "password", b"from the file")
    assert load_credentials(MqttConfig(username="kitchen", password_file=path), environ).password == "from the file"


def test_an_empty_credential_is_none(tmp_path: Path) -> None:
    """The unit hands one over where its owner has put none in place; then even a user name may be missing."""
    (tmp_path / "mqtt-password").write_text("\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert load_credentials(MqttConfig(), environ).password is None
    assert load_credentials(MqttConfig(username="kitchen"), environ).password is None


def test_a_password_without_a_user_name_is_refused(tmp_path: Path) -> None:
    """The broker would not get it."""
    path = private(tmp_path / "password", b"hunter2")
    with pytest.raises(ConfigError, match=r"mqtt\.username: is empty"):
        load_credentials(MqttConfig(password_file=path), {})


def test_the_context_checks_certificate_and_host(tmp_path: Path) -> None:
    """Whatever authority is trusted, and never below TLS 1.2."""
    authority = Authority(tmp_path)
    for context in (load_context(MqttTlsConfig()), load_context(MqttTlsConfig(ca_file=authority.file))):
        assert context.verify_mode == ssl.CERT_REQUIRED
        assert context.check_hostname
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert len(context.get_ca_certs()) == 1  # and not the system's as well


def test_wrong_tls_files_are_named(tmp_path: Path) -> None:
    """By their keys, with the remedy."""
    authority = Authority(tmp_path)
    certificate, key = authority.issue("kitchen")
    _, other_key = authority.issue("bath")
    encrypted = tmp_path / "encrypted.key"
    write_key(encrypted, ec.generate_private_key(ec.SECP256R1()), b"secret")
    text = private(tmp_path / "text.pem", b"hello\n")
    cases = [
        (MqttTlsConfig(ca_file=tmp_path / "absent"), r"mqtt\.tls\.ca_file: can't be read: No such file"),
        (MqttTlsConfig(ca_file=text), r"mqtt\.tls\.ca_file: holds no certificate"),
        (MqttTlsConfig(ca_file=certificate), r"mqtt\.tls\.ca_file: holds no certificate of an authority"),
        (MqttTlsConfig(certificate_file=certificate, key_file=other_key), r"mqtt\.tls\.key_file: does not belong to"),
        (MqttTlsConfig(certificate_file=certificate, key_file=encrypted), r"mqtt\.tls\.key_file: is encrypted"),
        (MqttTlsConfig(certificate_file=text, key_file=key), r"mqtt\.tls\.certificate_file: can't be used"),
    ]
    for config, message in cases:
        with pytest.raises(ConfigError, match=message):
            load_context(config)
    key.chmod(0o640)
    with pytest.raises(ConfigError, match=r"mqtt\.tls\.key_file: others may read it"):
        load_context(MqttTlsConfig(certificate_file=certificate, key_file=key))
