"""The password for the broker: from a private file, or from systemd."""

from __future__ import annotations

import os
import shlex
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.config.mqtt import MqttConfig

CREDENTIAL = "mqtt-password"
"""Name for systemd's LoadCredential= and LoadCredentialEncrypted=."""
_MOST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who the device is to the broker; without a user name it is anonymous."""

    username: str | None
    password: str | None = field(repr=False)


def load_credentials(config: MqttConfig, environ: Mapping[str, str] = os.environ) -> Credentials:
    """Read user name and password. Blocking.

    The password is `mqtt.password_file`'s, or else systemd's credential `mqtt-password`, or else there is none.

    Raises:
        ConfigError: The file can't be read, others may read it, it is empty, or there is no user name with it.
    """
    password = None
    key, path = "mqtt.password_file", config.password_file
    if path is not None:
        password = read_password(path)
    elif directory := environ.get("CREDENTIALS_DIRECTORY"):
        key, path = f"systemd's credential {CREDENTIAL}", Path(directory, CREDENTIAL)
        if path.exists() and _readable(key, path):
            content = path.read_bytes()[: _MOST_BYTES + 1]
            # The unit gives an empty one where the owner has put none in place.
            password = _one_line(key, path, content) if content.strip() else None
    if password is not None and not config.username:
        raise _refuse("mqtt.username", "is empty, and there is a password; say whose it is", str(path))
    return Credentials(config.username or None, password)


def read_password(path: Path) -> str:
    """Read a password file, one line, that nobody else may read. Blocking.

    Raises:
        ConfigError: It can't be read, others may read it, or it holds no line or several.
    """
    key = "mqtt.password_file"
    try:
        with open(path, "rb", opener=_open_regular) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise _refuse(key, "is not a regular file", str(path))
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise _refuse(key, f"others may read it; run: chmod 600 {shlex.quote(str(path))}", str(path))
            content = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise _refuse(key, f"can't be read: {error.strerror}; correct the path", str(path)) from error
    return _one_line(key, path, content)


def parse_password(source: Path, content: bytes) -> str:
    """Return the password that `source` holds, one line.

    Raises:
        ConfigError: It is no line or several.
    """
    return _one_line("mqtt.password_file", source, content)


def _readable(key: str, path: Path) -> bool:
    if not os.access(path, os.R_OK):
        raise _refuse(key, "can't be read; check the unit's LoadCredential=", str(path))
    return True


def _one_line(key: str, path: Path, content: bytes) -> str:
    try:
        text = content.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise _refuse(key, "can't be read: it is not UTF-8 text; correct the path", str(path)) from None
    if not text or "\n" in text or "\0" in text or len(content) > _MOST_BYTES:
        raise _refuse(key, "should hold the password and nothing else, on one line", str(path))
    return text


def _open_regular(path: str, flags: int) -> int:
    # Without it opening a FIFO would wait for a writer for ever.
    return os.open(path, flags | os.O_NONBLOCK | os.O_CLOEXEC)


def _refuse(key: str, message: str, source: str) -> ConfigError:
    return ConfigError([ConfigProblem(key, message, source)])
