"""A fresh Debian root, made once by debootstrap, kept in a cache, and only ever written to through overlays.

fresh root (cache) ◀─ overlay: install.sh ran ◀─ overlay of one test
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from system.registries import SUITE, mirror, tell

OWNER = "pi"
"""Who owns the checkout in the root, and may use sudo, as on a Raspberry Pi's first user."""

CHECKOUT = Path("/home") / OWNER / "edge_agent"

DEBIAN = "12"
PYTHON = (3, 11)
"""What the suite is, and has."""

_PACKAGES = ("ca-certificates", "dbus", "libpulse0", "sudo", "systemd-sysv")
"""Beside Debian's minimum: a system that boots; what ALSA's way to PulseAudio needs, our stand-in for a sound card."""

_ALSA_PLUGINS = "libasound2-plugins"
_PREPARE = f"""
set -e
useradd --create-home --shell /bin/bash {OWNER}
echo '{OWNER} ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/{OWNER}
echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/no-fsync
rm -f /etc/machine-id && touch /etc/machine-id
# Its dependencies, all of FFmpeg, are for other plugins than the one that is needed here.
apt-get -qq update
cd /tmp && apt-get -qq download {_ALSA_PLUGINS} && dpkg-deb -x {_ALSA_PLUGINS}_*.deb / && rm *.deb
"""
_KEPT_FOR_APT = "var/cache/apt/archives"


class Cache:
    """Directory outside the tree that outlives the tests: the fresh root, downloads, compiled wheels.

    Attributes:
        pip: pip's cache for the root's own root user.
        apt: Debian packages that were downloaded.
        wheels: Wheels that were built.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.pip = directory / "pip"
        self.apt = directory / "apt"
        self.wheels = directory / "wheels"
        self._sessions = directory / "sessions"
        for path in (self.pip, self.apt, self.wheels, self._sessions):
            path.mkdir(parents=True, exist_ok=True)

    def fresh_root(self) -> Path:
        """Return the fresh root; make it where there is none yet."""
        recipe = f"{SUITE} {platform.machine()} {_PACKAGES} {_PREPARE}"
        root = self.directory / f"{SUITE}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
        with _locked(self.directory / "lock"):
            if not root.is_dir():
                unfinished = root.with_suffix(".unfinished")
                if unfinished.exists():
                    _remove(unfinished)
                _debootstrap(unfinished)
                unfinished.rename(root)
        return root

    @contextlib.contextmanager
    def session(self) -> Iterator[Path]:
        """Lend a directory for overlays; those of sessions that were killed are removed."""
        with contextlib.ExitStack() as held:
            with _locked(self.directory / "lock"):
                for old in [path for path in self._sessions.iterdir() if path.is_dir()]:
                    with contextlib.suppress(BlockingIOError), _locked(_lock_of(old), blocking=False):
                        _remove(old)
                        _lock_of(old).unlink()
                directory = Path(tempfile.mkdtemp(dir=self._sessions))
                held.enter_context(_locked(_lock_of(directory)))
            held.callback(_lock_of(directory).unlink)
            held.callback(_remove, directory)
            yield directory


class Overlay:
    """A root that can be written to, on layers that stay as they are; mounted between `mount` and `unmount`.

    Attributes:
        root: Where it is mounted.
        layers: Itself and what it lies on, for an overlay on top of it, when it is no longer mounted.
    """

    def __init__(self, directory: Path, below: Sequence[Path]) -> None:
        self._below = below
        self._upper = directory / "upper"
        self._work = directory / "work"
        self.root = directory / "root"
        self.layers = [self._upper, *below]
        for path in (self.root, self._upper, self._work):
            path.mkdir(parents=True)

    def mount(self) -> None:
        """Mount it; what is written in it need not survive this machine's power cut."""
        lower = ":".join(map(str, self._below))
        options = f"lowerdir={lower},upperdir={self._upper},workdir={self._work},volatile"
        run("mount", "-t", "overlay", "overlay", "-o", options, self.root)

    def unmount(self) -> None:
        """Unmount it; what was written stays in its layer."""
        run("umount", self.root)

    def remove(self) -> None:
        """Remove what was written."""
        _remove(self.root.parent)


def copy_checkout(tree: Path, root: Path) -> None:
    """Copy the files that git knows, or would take, into the root's checkout."""
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={tree}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=tree,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    target = root / CHECKOUT.relative_to("/")
    for name in filter(None, listed.decode().split("\0")):
        if (tree / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(tree / name, target / name)
    run("chown", "-R", f"--reference={root / 'home' / OWNER}", target)


def run(*command: object, timeout_s: float = 600) -> str:
    """Run a command of this machine; what it printed is told where it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, f"{command}: status {done.returncode}\n{done.stdout[-4000:]}"
    return done.stdout


def _debootstrap(root: Path) -> None:
    # What it mounts, and what it starts, ends with its namespaces, also where it is killed.
    apart = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
    packages = ",".join(_PACKAGES)
    run(*apart, "debootstrap", "--variant=minbase", f"--include={packages}", SUITE, root, mirror(), timeout_s=1200)
    tell(root)
    run(*apart, "chroot", root, "/bin/sh", "-c", _PREPARE)
    for package in (root / _KEPT_FOR_APT).glob("*.deb"):
        package.unlink()


def _remove(directory: Path) -> None:
    """Remove a directory; what is mounted below it is unmounted first."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    for place in reversed([place for place in mounted if place.startswith(f"{directory}/")]):
        run("umount", place)
    run("rm", "--recursive", "--one-file-system", directory)


def _lock_of(directory: Path) -> Path:
    """Return the file that is locked while a session lasts: beside what is removed under the lock."""
    return directory.with_name(f"{directory.name}.lock")


@contextlib.contextmanager
def _locked(path: Path, *, blocking: bool = True) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)
