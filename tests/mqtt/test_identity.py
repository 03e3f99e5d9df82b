"""The name a device goes by."""

from __future__ import annotations

import hashlib
import re
import socket
from pathlib import Path

from edge_agent.mqtt.identity import default_device_id


def test_the_device_id_hides_the_machine_id(tmp_path: Path) -> None:
    """Host name and six digits of a hash; the host name alone where there is no machine-id."""
    path = tmp_path / "machine-id"
    path.write_text("0123456789abcdef0123456789abcdef\n")
    digits = hashlib.sha256(b"0123456789abcdef0123456789abcdef").hexdigest()[:6]
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())
    assert default_device_id(path) == f"{host}-{digits}"
    assert default_device_id(tmp_path / "absent") == host
