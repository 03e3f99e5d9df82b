"""A host for install.sh without a system: a fake root, a small checkout, and commands that only note what is asked.

What is real: install.sh with all its parts, the file system, tar, the renames. What is not: the Python packages (a
release's `edge-agent` is a shell script), users, and systemd, whose unit is in the state that the test says.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

_ROOT = Path(__file__).parents[1]

_AGENT = """\
#!/bin/sh
release=$(cd "$(dirname "$0")/../.." && pwd)
case "$1 $2" in
  "--version "*) test ! -e "$release/edge_agent/broken" && echo "edge-agent $(cat "$release/edge_agent/content")" ;;
  "config check") if grep -q refused "$3"; then echo "$3: refused: unknown key" >&2; exit 2; fi ;;
  "models --help") ;;
  "models pull")
    echo "pull by ${AS:-root} at home in $HOME from $PWD" >>"$CALLS"
    test ! -e "$CALLS.no-network" || { echo "No network" >&2; exit 1; } ;;
  *) exit 2 ;;
esac
"""

_SHIMS = {
    "systemctl": """\
case "$1" in
  show)
    for argument; do case $argument in --property=*) property=${argument#*=} ;; esac; done
    content=$(cat "$UNIT_DIRECTORY/../../../opt/edge-agent/current/edge_agent/content" 2>/dev/null)
    if [ -e "$CALLS.running" ]; then state=active sub=running; else state=inactive sub=dead; fi
    status="listening: $content" restarts=0 looks=0
    case $content in dies*) state=failed sub=failed ;; esac
    case $content in
      brief*|late*)
        if [ "$property" = ActiveState ]; then echo >>"$CALLS.looks"; fi
        looks=$(wc -l <"$CALLS.looks") ;;
    esac
    case $content in
      brief*) if [ "$looks" -gt 9 ]; then restarts=1; fi ;;
      deaf*) status="deaf: no microphone" ;;
      late*) if [ "$looks" -lt 25 ]; then status="changing the configuration: x; deaf: no microphone"; fi ;;
    esac
    case $property in
      ActiveState) echo $state ;;
      SubState) echo $sub ;;
      StatusText) echo "$status" ;;
      NRestarts) echo "$restarts" ;;
      Result) echo exit-code ;;
      ExecMainStatus) echo 1 ;;
    esac
    exit 0 ;;
esac
echo "systemctl $*" >>"$CALLS"
case "$1 $2" in
  "restart "*) touch "$CALLS.running" ;;
  "enable "*)
    mkdir -p "$UNIT_DIRECTORY/multi-user.target.wants"
    ln -sfn "/etc/systemd/system/$2" "$UNIT_DIRECTORY/multi-user.target.wants/$2" ;;
  "disable --now") rm -f "$CALLS.running" ;;
  "--user "*) exit 1 ;;
esac
""",
    "journalctl": 'echo "Traceback: it died"',
    "systemd-tmpfiles": 'echo "systemd-tmpfiles $*" >>"$CALLS"',
    "dpkg-query": "printf installed",
    "getent": 'grep "^$2:" "$CALLS.$1"',
    "id": "echo users",
    "groupadd": 'for name; do :; done; echo "$name:x:999:" >>"$CALLS.group"',
    "useradd": 'for name; do :; done; echo "$name:x:999:999::/var/lib/edge-agent:/usr/sbin/nologin" >>"$CALLS.passwd"',
    "usermod": 'echo "usermod $*" >>"$CALLS"',
    "userdel": 'sed -i "/^$1:/d" "$CALLS.passwd"',
    "groupdel": 'sed -i "/^$1:/d" "$CALLS.group"',
    "chown": 'echo "chown $*" >>"$CALLS"',
    "runuser": 'export AS="$2"; while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
    "env": 'if [ "$1" = -i ]; then shift; exec /usr/bin/env -i CALLS="$CALLS" "$@"; fi; exec /usr/bin/env "$@"',
}

_STAND_INS = """\
source ./install.sh
virtual_time() {
  settle_s=$real_settle_s
  unset EPOCHSECONDS # it is a variable like others from then on
  EPOCHSECONDS=1000
  sleep() { EPOCHSECONDS=$((EPOCHSECONDS + $1)); }
}
real_settle_s=$settle_s settle_s=0
check_machine() { begin 'This machine' 'a fake one'; finish 'good enough'; }
processor() { echo abcdef; }
make_environment() {
  begin 'Virtual environment' 'a fake one'
  mkdir -p "$venv/bin"
  printf '#!/bin/sh\\nexit 0\\n' >"$venv/bin/python"
  cp "$CALLS.agent" "$venv/bin/edge-agent"
  chmod 755 "$venv"/bin/*
}
install_extras() { outcome=installed; if [[ $1 == llm && -e $CALLS.no-engine ]]; then return 1; fi; }
dies_before() { eval "$1() { kill -KILL \\$\\$; }"; }
dies_after() { eval "real_$(declare -f "$1")"; eval "$1() { real_$1 \\"\\$@\\"; kill -KILL \\$\\$; }"; }
"""


class Host:
    """A fake root with a checkout beside it.

    Attributes:
        root: The fake root.
        checkout: Where install.sh is run.
        opt: The program's place in the fake root.
    """

    def __init__(self, directory: Path) -> None:
        self.root = directory / "root"
        self.checkout = directory / "checkout"
        self.opt = self.root / "opt/edge-agent"
        self.config = self.root / "etc/edge-agent/config.toml"
        self.units = self.root / "etc/systemd/system"
        self._calls = directory / "calls"
        self._shims = directory / "shims"
        (self.root / "run/systemd/system").mkdir(parents=True)
        self._shims.mkdir()
        for name, code in _SHIMS.items():
            (self._shims / name).write_text(f"#!/bin/sh\n{code}\n")
            (self._shims / name).chmod(0o755)
        self.note("agent", _AGENT)
        self.note("passwd", "ann:x:1000:1000::/home/ann:/bin/bash\n")
        self.note("group", "audio:x:29:\nspi:x:30:\nusers:x:100:\n")
        self._calls.touch()
        for name in ("pyproject.toml", "README.md", "LICENSE", "install.sh"):
            (self.checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(_ROOT / name, self.checkout)
        shutil.copytree(_ROOT / "systemd", self.checkout / "systemd")
        for name in ("docs", "models", "edge_agent"):
            (self.checkout / name).mkdir()
        (self.checkout / "models/README.md").touch()
        self.release("one")

    def note(self, suffix: str, text: str = "") -> None:
        """Leave something for the commands: users, groups, or that something is to fail."""
        Path(f"{self._calls}.{suffix}").write_text(text)

    def forget(self, suffix: str) -> None:
        """Take back what was noted."""
        Path(f"{self._calls}.{suffix}").unlink()

    def known(self, suffix: str) -> list[str]:
        """Return the names among the users or groups."""
        return [line.split(":")[0] for line in Path(f"{self._calls}.{suffix}").read_text().splitlines()]

    def watch(self) -> None:
        """Note from now on who changes files, for `watched`."""
        for name in ("mkdir", "rm", "rmdir", "mv", "cp", "chmod", "chown", "ln", "tar", "touch"):
            code = f'echo "${{AS:-root}} {name} $*" >>"$CALLS.watched"\nPATH=/usr/bin:/bin exec {name} "$@"'
            if name == "chown":
                code = code.splitlines()[0]
            (self._shims / name).write_text(f"#!/bin/sh\n{code}\n")
            (self._shims / name).chmod(0o755)

    def watched(self) -> list[str]:
        """Return who changed files with what command: "USER COMMAND ARGUMENT..."."""
        return Path(f"{self._calls}.watched").read_text().splitlines()

    def release(self, content: str, version: str = "0.1.0") -> None:
        """Change the checkout.

        The content's first word says how its service fares: "dies" does not come up, "brief" ends after a few
        seconds, "deaf" has no microphone, "late" has one only after a while; any other hears.
        """
        (self.checkout / "edge_agent/__init__.py").write_text(f'__version__ = "{version}"\n')
        (self.checkout / "edge_agent/content").write_text(content)

    def run(self, *arguments: str, before: str = "", stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run install.sh with these arguments; `before` is bash that runs once it is read."""
        return subprocess.run(
            ["/bin/bash", "-c", f'{_STAND_INS}\n{before}\nmain "$@"', "install.sh", *arguments],
            cwd=self.checkout,
            env={
                "PATH": f"{self._shims}:/usr/sbin:/usr/bin:/sbin:/bin",
                "DESTDIR": str(self.root),
                "CALLS": str(self._calls),
                "UNIT_DIRECTORY": str(self.units),
            },
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )

    def install(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it, and insist that it worked."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def calls(self) -> list[str]:
        """Return what the commands were asked to do since the last time."""
        calls = self._calls.read_text().splitlines()
        self._calls.write_text("")
        return calls

    def in_use(self, link: str = "current") -> str:
        """Return the content of the release in use, or of the one before; empty where there is none."""
        content = self.opt / link / "edge_agent/content"
        return content.read_text() if content.exists() else ""

    @property
    def releases(self) -> list[str]:
        """Names of all releases, whole or not."""
        return sorted(path.name for path in self.opt.glob("releases/*"))

    def picture(self) -> dict[str, str]:
        """Return every path of the fake root with its kind, mode and content."""
        picture = {}
        for path in sorted(self.root.rglob("*")):
            name = str(path.relative_to(self.root))
            if path.is_symlink():
                picture[name] = f"-> {path.readlink()}"
            elif path.is_dir():
                picture[name] = f"{path.stat().st_mode:o}"
            else:
                picture[name] = f"{path.stat().st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        return picture
