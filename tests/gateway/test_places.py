"""Where the socket is."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent.gateway.places import SocketPlace, socket_to_serve, sockets_to_ask


def test_installed_it_is_the_group_s(tmp_path: Path) -> None:
    """In the system's directory, which the unit makes."""
    system = tmp_path / "system"
    system.mkdir()
    place = socket_to_serve({"XDG_RUNTIME_DIR": str(tmp_path)}, system)
    assert place == SocketPlace(system / "edge-agent.sock", 0o660, "edge-agent")


@pytest.mark.parametrize(
    ("environ", "directory"),
    [
        ({"XDG_RUNTIME_DIR": "/run/user/7", "XDG_CACHE_HOME": "/c"}, Path("/run/user/7/edge-agent")),
        ({"XDG_CACHE_HOME": "/c"}, Path("/c/edge-agent")),
        ({"XDG_RUNTIME_DIR": ""}, Path.home() / ".cache" / "edge-agent"),
    ],
)
def test_in_a_checkout_it_is_the_user_s_own(tmp_path: Path, environ: dict[str, str], directory: Path) -> None:
    """Below XDG's directories, and nobody else may use it."""
    nowhere = tmp_path / "nowhere"
    assert socket_to_serve(environ, nowhere) == SocketPlace(directory / "edge-agent.sock", 0o600, None)
    assert sockets_to_ask(environ, nowhere) == (directory / "edge-agent.sock", nowhere / "edge-agent.sock")
