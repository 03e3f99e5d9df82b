"""The name a device goes by on MQTT."""

from __future__ import annotations

import hashlib
import re
import socket
from pathlib import Path


def default_device_id(machine_id_file: Path = Path("/etc/machine-id")) -> str:
    """Return `<hostname>-<six hex digits>`; the digits are of the machine-id's SHA-256, for the id itself is private.

    The hostname stands alone where there is no machine-id.
    """
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname()) or "device"
    try:
        machine_id = machine_id_file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return host
    return f"{host}-{hashlib.sha256(machine_id.encode()).hexdigest()[:6]}" if machine_id else host
