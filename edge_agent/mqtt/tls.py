"""TLS to the broker: always with its certificate and host name checked."""

from __future__ import annotations

import os
import shlex
import ssl
import stat
from typing import TYPE_CHECKING

from edge_agent.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.config.mqtt import MqttTlsConfig


def load_context(config: MqttTlsConfig) -> ssl.SSLContext:
    """Return a context of TLS 1.2 or later that trusts `ca_file`, or else the system's authorities. Blocking.

    Raises:
        ConfigError: A file can't be read or holds something else; others may read the key; key and certificate do not
            belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks certificate and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if config.ca_file is None:
        context.load_default_certs()
    else:
        _load_authority(context, config.ca_file)
    if config.certificate_file is not None and config.key_file is not None:
        _load_own(context, config.certificate_file, config.key_file)
    return context


def _load_authority(context: ssl.SSLContext, path: Path) -> None:
    key = "mqtt.tls.ca_file"
    _check_readable(key, path)
    try:
        context.load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError, ValueError) as error:
        raise _refuse(key, "holds no certificate in PEM form", path) from error
    if not context.get_ca_certs():
        raise _refuse(key, "holds no certificate of an authority (CA:TRUE); give that which signed the broker's", path)


def _load_own(context: ssl.SSLContext, certificate: Path, private: Path) -> None:
    _check_readable("mqtt.tls.certificate_file", certificate)
    _check_readable("mqtt.tls.key_file", private, is_private=True)

    def ask() -> bytes:
        # OpenSSL itself would ask at the terminal, and wait.
        raise _refuse("mqtt.tls.key_file", "is encrypted; store it without a passphrase, mode 0600", private)

    try:
        context.load_cert_chain(certificate, private, password=ask)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise _refuse("mqtt.tls.key_file", f"does not belong to {certificate}", private) from error
        raise _refuse(
            "mqtt.tls.certificate_file",
            f"can't be used with {private}: one of them is not in PEM form, or too weak ({error.reason})",
            certificate,
        ) from error


def _check_readable(key: str, path: Path, *, is_private: bool = False) -> None:
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _refuse(key, f"can't be read: {error.strerror}; correct the path", path) from error
    try:
        mode = os.fstat(opened).st_mode
    finally:
        os.close(opened)
    if not stat.S_ISREG(mode):
        raise _refuse(key, "is not a regular file", path)
    if is_private and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise _refuse(key, f"others may read it; run: chmod 600 {shlex.quote(str(path))}", path)


def _refuse(key: str, message: str, path: Path) -> ConfigError:
    return ConfigError([ConfigProblem(key, message, str(path))])
