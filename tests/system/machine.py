"""A booted machine: systemd as process 1 in a container, on a root of its own and this machine's network.

How a container boots where process 1 of this machine is not systemd, found out by trying:

- `--register=no`: there is no machined to register with. `--keep-unit`: nor a manager that would give it a scope; it
  stays in the control group that it is started in, so it is started in one of its own, which is removed afterwards.
- `SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1`: control groups version 2, as on Debian 12, also where this machine mounts
  version 1 beside it. Controllers that version 1 has taken, memory among them, are then missing inside: limits are
  read, not felt.
- `--system-call-filter=bpf`: without it systemd can't enforce `DevicePolicy=` inside, and says so to nobody.
- Nobody logs in: commands enter the namespaces of process 1 (`nsenter`), and `systemctl` talks to its private socket.
- `systemctl reboot` ends nspawn with status 133 where it keeps its unit, and whoever started it starts it again.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_BOOT_S = 60
_PLUG_S = 10
_REBOOTED = 133
_SERVICE_MANAGER = Path("/run/systemd/system")
_HIERARCHIES = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup"))


class Machine:
    """A container that boots and shuts down like a computer; leaving the context pulls its plug.

    Args:
        root: Of its file system.
        seen: Directories of this machine that it sees at the same place, and may not write to.
        shared: Those of this machine, by the place at which it may write to them.
    """

    def __init__(self, root: Path, seen: Sequence[Path] = (), shared: dict[Path, Path] | None = None) -> None:
        self.root = root
        self._seen = seen
        self._shared = shared or {}
        self._name = f"edge-{os.getpid()}-{os.urandom(2).hex()}"
        self._nspawn: subprocess.Popen[str] | None = None
        self._leader = 0

    def __enter__(self) -> Self:
        try:
            self._boot()
        except BaseException:
            self.pull_the_plug()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pull_the_plug()

    def run(
        self, command: str, *, user: str = "root", timeout_s: float = 120, may_fail: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command in it; its status must be 0 unless it may fail."""
        login = ["runuser", "-l", user, "-c", command] if user != "root" else ["sh", "-c", command]
        done = subprocess.run(
            self._entered(*login),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=_ENVIRONMENT,
        )
        if not may_fail:
            assert done.returncode == 0, f"{command}: status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def start(self, command: str) -> subprocess.Popen[str]:
        """Start a shell command in it and let it run."""
        return subprocess.Popen(
            self._entered("sh", "-c", command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env=_ENVIRONMENT,
        )

    def says(self, command: str) -> str:
        """Run a shell command in it and return what it printed, without the line's end."""
        return self.run(command).stdout.strip()

    def place(self, path: str) -> Path:
        """Return where this machine finds one of its files, mounts and links of its own included."""
        return Path(f"/proc/{self._leader}/root/{path.lstrip('/')}")

    def write(self, path: str, text: str, *, append: bool = False) -> None:
        """Write a file in it, as root; rights of one that exists stay."""
        place = self.place(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("a" if append else "w", encoding="utf-8") as file:
            file.write(text)

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Return properties of a unit; of one that is a list, which is printed item by item, a line an item."""
        found: dict[str, str] = {}
        for line in self.says(f"systemctl show {unit} --property={','.join(properties)}").splitlines():
            name, _, value = line.partition("=")
            found[name] = f"{found[name]}\n{value}" if name in found else value
        return found

    def journal(self, unit: str, *, since: str = "") -> list[dict[str, Any]]:
        """Return the journal's entries of and about a unit, oldest first, from behind the cursor `since`."""
        # Not --after-cursor: where the entry at the cursor isn't the unit's, systemd 252 skips the unit's next one.
        start = f"--cursor={shlex.quote(since)}" if since else ""
        lines = self.says(f"journalctl --quiet --output=json --all --unit={unit} {start}").splitlines()
        return [entry for line in lines if (entry := json.loads(line))["__CURSOR"] != since]

    def cursor(self) -> str:
        """Return the place in the journal that later entries come behind."""
        return str(json.loads(self.says("journalctl --quiet --output=json --lines=1"))["__CURSOR"])

    def wait_for(self, condition: Callable[[], bool], what: str, timeout_s: float, *, poll_s: float = 0.2) -> float:
        """Wait until a condition holds; return how long that took."""
        began = time.monotonic()
        while not condition():
            waited_s = time.monotonic() - began
            assert waited_s < timeout_s, f"{what} did not come within {timeout_s} s"
            time.sleep(poll_s)
        return time.monotonic() - began

    def reboot(self) -> None:
        """Shut it down in an orderly way and boot it again."""
        if _SERVICE_MANAGER.is_dir():  # nspawn, in a scope of its own, would boot it again where nobody sees it
            self.power_off()
        else:
            assert self._ended("systemctl reboot") == _REBOOTED
        self._boot()

    def power_off(self) -> None:
        """Shut it down in an orderly way."""
        assert self._ended("systemctl poweroff") == 0

    def pull_the_plug(self) -> None:
        """End it at once, whatever it is doing, and remove what it had of this machine."""
        if self._nspawn is not None:
            # Process 1 first, and with it all others: nspawn alone would leave them behind.
            if leader := self._leader or _leader(self._nspawn.pid):
                os.kill(leader, signal.SIGKILL)
            try:
                self._nspawn.wait(timeout=_PLUG_S)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()
            self._nspawn = None
            self._forget()

    def _boot(self) -> None:
        command: list[str] = []
        environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        arguments = [
            f"--directory={self.root}",
            f"--machine={self._name}",
            "--boot",
            "--register=no",
            "--link-journal=no",
            "--resolv-conf=off",
            "--timezone=off",
            "--console=pipe",
            "--system-call-filter=bpf",
            *(f"--bind-ro={path}" for path in self._seen),
            *(f"--bind={host}:{inside}" for inside, host in self._shared.items()),
        ]
        if not _SERVICE_MANAGER.is_dir():
            arguments.append("--keep-unit")
            for hierarchy in _hierarchies():
                group = hierarchy / self._name
                group.mkdir(exist_ok=True)
                command.append(f"echo $$ >{group}/cgroup.procs;")
        # Where the tests are killed it is told so, and shuts the machine down.
        command.append(f"exec setpriv --pdeathsig TERM systemd-nspawn {shlex.join(arguments)}")
        with tempfile.TemporaryFile() as console:
            self._nspawn = subprocess.Popen(
                ["/bin/sh", "-c", " ".join(command)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                text=True,
                env=environment,
            )
            try:
                self.wait_for(self._has_booted, "a booted system", _BOOT_S)
            except AssertionError as error:
                console.seek(0)
                error.add_note(console.read().decode(errors="replace")[-4000:])
                raise

    def _has_booted(self) -> bool:
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, "systemd-nspawn ended"
        self._leader = _leader(self._nspawn.pid)
        if not self._leader:
            return False
        # Users may log in. Not all has started then: what is tested may still be at it.
        state = self.run(
            "systemctl is-active systemd-user-sessions.service", may_fail=True, timeout_s=20
        ).stdout.strip()
        return state == "active"

    def _ended(self, command: str) -> int:
        assert self._nspawn is not None
        self.run(command, may_fail=True)
        status = self._nspawn.wait(timeout=_BOOT_S)
        self._nspawn = None
        self._forget()
        return status

    def _forget(self) -> None:
        self._leader = 0
        for hierarchy in _hierarchies():
            _remove_group(hierarchy / self._name)

    def _entered(self, *command: str) -> list[str]:
        assert self._leader, "the machine is not running"
        namespaces = ("--mount", "--uts", "--ipc", "--pid", "--cgroup", "--root", "--wd")
        return ["nsenter", f"--target={self._leader}", *namespaces, *command]


_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
}


def _leader(nspawn: int) -> int:
    """Return this machine's number for the container's process 1; 0 where it has none yet."""
    try:
        children = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text(encoding="ascii").split()
        for child in children:
            if Path(f"/proc/{child}/comm").read_text(encoding="utf-8").strip() == "systemd":
                return int(child)
    except FileNotFoundError:
        pass
    return 0


def sweep() -> None:
    """Remove control groups of machines whose tests were killed, where they have shut down."""
    for hierarchy in _hierarchies():
        for group in hierarchy.glob("edge-*-*"):
            is_killed = not Path(f"/proc/{group.name.split('-')[1]}").is_dir()
            if is_killed and not any(file.read_text("ascii") for file in group.glob("**/cgroup.procs")):
                _remove_group(group)


def _hierarchies() -> list[Path]:
    """Return where control groups of systemd's are, version 2 or 1."""
    return [path for path in _HIERARCHIES if (path / "cgroup.procs").exists()]


def _remove_group(group: Path) -> None:
    """Remove a control group and those in it; its last processes may take a moment to be gone."""
    end = time.monotonic() + 10
    while group.is_dir():
        try:
            for directory, _, _ in os.walk(group, topdown=False):
                Path(directory).rmdir()
        except OSError:
            assert time.monotonic() < end, f"{group} is in use"
            time.sleep(0.05)
