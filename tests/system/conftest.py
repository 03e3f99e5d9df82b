"""Booted machines with the service installed. Not part of the normal run: `-m system` asks for them."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from system.debian_root import CHECKOUT, DEBIAN, OWNER, PYTHON, Cache, Overlay, copy_checkout, run
from system.machine import Machine, sweep
from system.registries import tell
from system.service import OPTIONS, WHEELHOUSE, Service
from system.sound import Room, room

_HERE = Path(__file__).parent
_TREE = _HERE.parents[1]
_INSTALL_S = 1500
_SAID = "root/install.txt"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave them out where nobody asks for them by their marker."""
    if "system" in config.option.markexpr:
        return
    unasked = [item for item in items if item.path.is_relative_to(_HERE) and item.get_closest_marker("system")]
    if unasked:
        config.hook.pytest_deselected(items=unasked)
        items[:] = [item for item in items if item not in set(unasked)]


@dataclass(frozen=True, slots=True)
class Installed:
    """A root in which install.sh ran.

    Attributes:
        layers: Of the root.
        said: What install.sh printed.
        took_s: How long it took.
    """

    layers: list[Path]
    said: str
    took_s: float


class Computers:
    """Makes machines: fresh ones, or with the service installed.

    Attributes:
        cache: What outlives the tests.
    """

    def __init__(self, cache: Cache, session: Path, place: Room) -> None:
        self.cache = cache
        self._session = session
        self._room = place
        self._made = 0
        self._seen: list[Path] = []

    def overlay(self, below: list[Path] | None = None) -> Overlay:
        """Return a mounted root: a fresh one, with the checkout in it, where there is nothing below."""
        self._made += 1
        overlay = Overlay(self._session / str(self._made), below or [self.cache.fresh_root()])
        overlay.mount()
        self._seen = tell(overlay.root)
        if below is None:
            copy_checkout(_TREE, overlay.root)
        (overlay.root / "etc/asound.conf").write_text(self._room.alsa, encoding="utf-8")
        return overlay

    def machine(self, overlay: Overlay) -> Machine:
        """Return a machine that boots from it."""
        shared = {
            Path("/root/.cache/pip"): self.cache.pip,
            Path("/var/cache/apt/archives"): self.cache.apt,
            Path(WHEELHOUSE): self.cache.wheels,
            self._room.directory: self._room.directory,
        }
        return Machine(overlay.root, self._seen, shared)


@pytest.fixture(scope="session")
def system_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """A microphone, a speaker, and somebody who speaks."""
    with room(tmp_path_factory.mktemp("room")) as place:
        yield place


@pytest.fixture(scope="session")
def computers(system_room: Room) -> Iterator[Computers]:
    """A maker of machines; at its end nothing of them is left but the cache."""
    if os.geteuid() != 0:
        pytest.skip("booting a container needs root: sudo .venv/bin/pytest tests/system -m system")
    missing = [name for name in ("debootstrap", "systemd-nspawn", "nsenter", "setpriv") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed (apt install debootstrap systemd-container)")
    sweep()
    cache = Cache(_cache_directory())
    _adopt_wheels(cache)
    with cache.session() as session:
        yield Computers(cache, session, system_room)


@pytest.fixture(scope="session")
def installed(computers: Computers) -> Installed:
    """A root in which `sudo ./install.sh` ran from a checkout, and its machine was shut down.

    While tests are written: `EDGE_AGENT_SYSTEM_INSTALLED` names a directory in which it is kept for the next time.
    """
    kept = os.environ.get("EDGE_AGENT_SYSTEM_INSTALLED")
    if kept and Path(kept).is_dir():
        return Installed([Path(kept), computers.cache.fresh_root()], (Path(kept) / _SAID).read_text("utf-8"), 0.0)
    overlay = computers.overlay()
    with computers.machine(overlay) as machine:
        began = time.monotonic()
        done = machine.run(
            f"cd {CHECKOUT} && sudo ./install.sh {OPTIONS}",
            user=OWNER,
            timeout_s=_INSTALL_S,
            may_fail=True,
        )
        took_s = time.monotonic() - began
        said = done.stdout + done.stderr
        assert done.returncode == 0, f"install.sh: status {done.returncode}\n{said}\n{_log_of(machine)}"
        machine.power_off()
    (overlay.root / _SAID).write_text(said, "utf-8")
    overlay.unmount()
    if kept:
        run("cp", "--archive", overlay.layers[0], kept)
    return Installed(overlay.layers, said, took_s)


@pytest.fixture(scope="module")
def service(computers: Computers, installed: Installed, system_room: Room) -> Iterator[Service]:
    """The service on a booted machine that the tests of a module share."""
    yield from _booted(computers, installed, system_room)


@pytest.fixture
def own_service(computers: Computers, installed: Installed, system_room: Room) -> Iterator[Service]:
    """The service on a booted machine of this test's own."""
    yield from _booted(computers, installed, system_room)


def _booted(computers: Computers, installed: Installed, place: Room) -> Iterator[Service]:
    assert not place.is_taken, "two services in one room: own_service needs a module without service"
    place.is_taken = True
    overlay = computers.overlay(installed.layers)
    try:
        with computers.machine(overlay) as machine:
            yield Service(machine, place)
    finally:
        place.is_taken = False
        overlay.unmount()
        overlay.remove()


def _cache_directory() -> Path:
    """Return where roots and downloads are kept: it needs a file system that can carry an overlay."""
    chosen = os.environ.get("EDGE_AGENT_SYSTEM_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "edge-agent-tests"


def _adopt_wheels(cache: Cache) -> None:
    """Take into the wheelhouse what install.sh compiled on this machine: pip has kept it."""
    command = [sys.executable, "-m", "pip", "cache", "dir"]
    directories = {Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())}
    if user := os.environ.get("SUDO_USER"):
        directories.add(Path(f"~{user}").expanduser() / ".cache/pip")
    if platform.freedesktop_os_release().get("VERSION_ID") != DEBIAN or sys.version_info[:2] != PYTHON:
        return
    for directory in directories:
        for wheel in directory.glob("**/systemd_python-*.whl"):
            _adopt(wheel, cache.wheels)
        # The directory's name tells what processor it is for.
        for kept in directory.glob("edge-agent-*"):
            native = f"native-{platform.machine()}-debian{DEBIAN}-{kept.name.removeprefix('edge-agent-')}"
            for wheel in kept.glob("**/llama_cpp_python-*.whl"):
                _adopt(wheel, cache.wheels / native)


def _adopt(wheel: Path, directory: Path) -> None:
    if not any(directory.glob(f"{wheel.name.partition('-')[0]}-*.whl")):
        directory.mkdir(exist_ok=True)
        shutil.copyfile(wheel, directory / wheel.name)


def _log_of(machine: Machine) -> str:
    return machine.run("tail -n 60 /var/log/edge-agent-install.log", may_fail=True).stdout
