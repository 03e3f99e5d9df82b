"""An arm64 Debian root on this machine: made by debootstrap, its programs run by qemu-user through binfmt_misc.

No systemd runs in it, and nothing needs one: it is entered with chroot, in namespaces that vanish with the command.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from system.debian_root import OWNER, Cache, _locked, run
from system.registries import SUITE, mirror, tell

QEMU = "/usr/bin/qemu-aarch64-static"
BOARDS = {
    "cortex-a53": "Raspberry Pi 3 and Zero 2 W",
    "cortex-a72": "Raspberry Pi 4",
    "cortex-a76": "Raspberry Pi 5",
}
"""Processors that qemu knows; one that lacks an instruction ends the process that uses it, as the board would."""

_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_ENTRY = "edge-agent-aarch64"
_MAGIC = r"\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
_PREPARE = f"""
set -e
useradd --create-home --shell /bin/bash {OWNER}
echo force-unsafe-io >/etc/dpkg/dpkg.cfg.d/no-fsync
"""
_BOOTSTRAP_S = 3600


@contextlib.contextmanager
def arm64_programs() -> Iterator[None]:
    """Let the kernel run arm64 programs, in every root, for as long as the context lasts; as before afterwards."""
    mounted = not (_BINFMT / "register").exists()
    if mounted:
        run("mount", "-t", "binfmt_misc", "binfmt_misc", _BINFMT)
    try:
        if any(_runs_arm64(entry) for entry in _BINFMT.iterdir()):
            yield
            return
        # F: the interpreter is opened now, so that roots which do not have it can use it.
        (_BINFMT / "register").write_text(f":{_ENTRY}:M::{_MAGIC}:{_MASK}:{QEMU}:F", encoding="ascii")
        try:
            yield
        finally:
            (_BINFMT / _ENTRY).write_text("-1", encoding="ascii")
    finally:
        if mounted:
            run("umount", _BINFMT)


def _runs_arm64(entry: Path) -> bool:
    if entry.name in {"register", "status"}:
        return False
    told = entry.read_text(encoding="utf-8")
    flags = next((line for line in told.splitlines() if line.startswith("flags:")), "")
    magic = _MAGIC.replace(r"\x", "")
    return told.startswith("enabled") and f"magic {magic}" in told and "F" in flags.partition(":")[2]


def fresh_arm64_root(cache: Cache) -> Path:
    """Return a fresh root; make it where there is none yet, which takes some minutes."""
    recipe = f"{SUITE} arm64 {_PREPARE}"
    root = cache.directory / f"{SUITE}-arm64-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    with _locked(cache.directory / "lock-arm64"):
        if not root.is_dir():
            unfinished = root.with_suffix(".unfinished")
            if unfinished.exists():
                shutil.rmtree(unfinished)
            arguments = ("--arch=arm64", "--variant=minbase", "--include=ca-certificates,sudo")
            run("debootstrap", *arguments, SUITE, unfinished, mirror(), timeout_s=_BOOTSTRAP_S)
            run("chroot", unfinished, "/bin/sh", "-c", _PREPARE)
            for package in (unfinished / "var/cache/apt/archives").glob("*.deb"):
                package.unlink()
            unfinished.rename(root)
    return root


@dataclass(slots=True)
class Arm64Computer:
    """A root that commands are run in.

    Attributes:
        seen: Directories of this machine that it sees at a place of its own, and may not write to.
        shared: Those that it may write to.
    """

    root: Path
    seen: Mapping[Path, Path] = field(default_factory=dict)
    shared: Mapping[Path, Path] = field(default_factory=dict)

    def run(
        self, command: str, *, processor: str = "max", timeout_s: float = 600, may_fail: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root; its status must be 0 unless it may fail.

        Args:
            command: What the root's shell runs.
            processor: One of `BOARDS`, or what qemu has in all.
            timeout_s: After it everything that was started is killed.
            may_fail: Whether another status is none of a fault.
        """
        lines = [
            "set -e",
            *self._mounts(),
            f"exec chroot {shlex.quote(str(self.root))} /bin/sh -c {shlex.quote(command)}",
        ]
        # A process space of its own: with its first process all others end.
        inside = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "/bin/sh", "-c", "\n".join(lines)]
        process = subprocess.Popen(
            inside,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment(processor),
        )
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        done = subprocess.CompletedProcess(command, process.returncode, stdout, stderr)
        if not may_fail:
            assert done.returncode == 0, f"{command}: status {done.returncode}\n{stdout[-4000:]}\n{stderr[-4000:]}"
        return done

    def _mounts(self) -> Iterator[str]:
        yield f"mount -t proc proc {shlex.quote(str(self.root / 'proc'))}"
        yield f"mount --rbind /dev {shlex.quote(str(self.root / 'dev'))}"
        for places, options in ((self.shared, ""), (self.seen, "ro,")):
            for inside, outside in places.items():
                target = self.root / inside.relative_to("/")
                target.mkdir(parents=True, exist_ok=True)
                source, at = shlex.quote(str(outside)), shlex.quote(str(target))
                yield f"mount --bind {source} {at}"
                if options:
                    yield f"mount -o remount,bind,{options.rstrip(',')} {at}"

    @staticmethod
    def _environment(processor: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")}
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return {**kept, "PATH": path, "HOME": "/root", "LC_ALL": "C.UTF-8", "QEMU_CPU": processor}


def tell_arm64(root: Path) -> dict[Path, Path]:
    """Write this machine's way to the registries into the root; return what it has to see of this machine."""
    return {directory: directory for directory in tell(root)}
