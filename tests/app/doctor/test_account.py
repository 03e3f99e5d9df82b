"""What doctor says of the service's user, and of the way to a desktop's sound server."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from boards import Board
from doctor_rig import paper

from edge_agent.app.doctor.account import check_user, find_account
from edge_agent.app.doctor.desktop import check_desktop_audio
from edge_agent.config.audio import ButtonConfig, GpioConfig
from edge_agent.config.schema import Config

_DROP_IN = "etc/systemd/system/edge-agent.service.d/20-desktop-audio.conf"


def machine(root: Path, *groups: str, uid: int | None = None, gid: int = 990) -> Board:
    """A machine with the service's user, who is in these groups."""
    board = Board(root)
    uid = 990 if uid is None else uid
    board.write("etc/passwd", f"root:x:0:0::/root:/bin/sh\nedge-agent:x:{uid}:{gid}::/var/lib/edge-agent:/bin/false")
    lines = [
        f"{name}:x:{30 + at}:pi{',edge-agent' if name in groups else ''}" for at, name in enumerate(("audio", "gpio"))
    ]
    board.write("etc/group", "\n".join(["root:x:0:", f"edge-agent:x:{gid}:", *lines]))
    return board


def test_a_user_in_all_groups(tmp_path: Path) -> None:
    """By the file of groups, or by what its unit adds."""
    machine(tmp_path, "audio", "gpio")
    found = check_user(Config(), paper(tmp_path))
    assert (found.verdict, found.message) == ("ok", "edge-agent is in groups audio, edge-agent, gpio")
    machine(tmp_path)
    added = {"systemctl show": "SupplementaryGroups=audio gpio"}
    assert check_user(Config(), paper(tmp_path, added)).verdict == "ok"


def test_a_user_who_lacks_a_group(tmp_path: Path) -> None:
    """Without audio nothing is heard; without gpio only pins that are configured are missed."""
    machine(tmp_path, "gpio")
    deaf = check_user(Config(), paper(tmp_path))
    assert deaf.verdict == "fault"
    assert "usermod -aG audio edge-agent" in deaf.remedy
    machine(tmp_path, "audio")
    assert check_user(Config(), paper(tmp_path)).verdict == "warning"
    pins = Config(gpio=GpioConfig(button=ButtonConfig(pin=23)))
    assert check_user(pins, paper(tmp_path)).verdict == "fault"


def test_without_the_service(tmp_path: Path) -> None:
    """There is nobody to be in groups."""
    Board(tmp_path).write("etc/group", "root:x:0:")
    assert find_account(paper(tmp_path)) is None
    assert "not installed" in check_user(Config(), paper(tmp_path)).message


def test_desktop_audio_that_is_not_set_up(tmp_path: Path) -> None:
    """Not needed, unless somebody's sound server has the card."""
    machine(tmp_path, "audio")
    assert check_desktop_audio(paper(tmp_path)).verdict == "ok"
    (tmp_path / "run/user/1000/pulse").mkdir(parents=True)
    (tmp_path / "run/user/1000/pulse/native").touch()
    found = check_desktop_audio(paper(tmp_path))
    assert found.verdict == "warning"
    assert "install.sh --desktop-audio" in found.remedy


@pytest.fixture
def desktop(tmp_path: Path) -> Path:
    """A sound server's socket and cookie that the drop-in names; return the socket's directory."""
    board = machine(tmp_path, "audio", uid=os.getuid() + 1, gid=os.getgid() + 1)
    directory = tmp_path / "run/pulse"
    directory.mkdir(parents=True)
    for part in (tmp_path / "run", directory):
        part.chmod(0o755)
    here = os.open(directory, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as server:  # a path through the descriptor is short enough
            server.bind(f"/proc/self/fd/{here}/native")
    finally:
        os.close(here)
    (directory / "native").chmod(0o666)
    (directory / "cookie").write_bytes(b"x")
    (directory / "cookie").chmod(0o644)
    board.write(
        _DROP_IN,
        "[Service]\nEnvironment=PULSE_SERVER=unix:/run/pulse/native\nEnvironment=PULSE_COOKIE=/run/pulse/cookie",
    )
    return directory


def test_desktop_audio_that_works(tmp_path: Path, desktop: Path) -> None:
    """The service's user may pass, use the socket, and read the cookie."""
    found = check_desktop_audio(paper(tmp_path))
    assert (found.verdict, found.message) == ("ok", "edge-agent may use /run/pulse/native")


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [
        (".", 0o700, "may not pass through /run/pulse"),
        ("native", 0o600, "may not use /run/pulse/native"),
        ("cookie", 0o600, "may not read /run/pulse/cookie"),
    ],
)
def test_desktop_audio_that_is_closed(tmp_path: Path, desktop: Path, name: str, mode: int, message: str) -> None:
    """Each obstacle is named."""
    (desktop / name).chmod(mode)
    found = check_desktop_audio(paper(tmp_path))
    assert found.verdict == "fault"
    assert message in found.message
    assert "--desktop-audio" in found.remedy


def test_desktop_audio_whose_server_is_gone(tmp_path: Path, desktop: Path) -> None:
    """Nobody is logged in."""
    (desktop / "native").unlink()
    found = check_desktop_audio(paper(tmp_path))
    assert found.verdict == "fault"
    assert "does the desktop's session run?" in found.message
