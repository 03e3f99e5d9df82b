"""Which file is set up, who may change it, and where the broker's password goes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.app.setup.errors import NotAllowedError
from edge_agent.app.setup.replacing import Ownership
from edge_agent.config.load import ENVIRONMENT_PREFIX, SYSTEM_FILE
from edge_agent.mqtt.credentials import CREDENTIAL

if TYPE_CHECKING:
    from collections.abc import Mapping

_SERVICE_GROUP = "edge-agent"
_PASSWORD_NAME = "mqtt-password"  # noqa: S105 - a file's name
_CONFIG_MODE, _SECRET_MODE = 0o640, 0o600


@dataclass(frozen=True, slots=True)
class Target:
    """What is written to.

    Attributes:
        file: The configuration, links followed; it need not exist.
        is_installed: It is the installed service's.
        password: Where the broker's password is kept.
        password_key: What `mqtt.password_file` is then; None where systemd hands the password on.
    """

    file: Path
    is_installed: bool
    password: Path
    password_key: str | None

    @property
    def ownership(self) -> Ownership:
        """Whose a new configuration is: the installed one may be read by the service, and by nobody else."""
        if self.is_installed and os.geteuid() == 0:
            return Ownership(_CONFIG_MODE, 0, _group())
        return Ownership(_CONFIG_MODE)

    @property
    def secret_ownership(self) -> Ownership:
        """Whose the password is: root's where systemd hands it on, else the configuration's owner's."""
        if os.geteuid() != 0:
            return Ownership(_SECRET_MODE)
        if self.is_installed:
            return Ownership(_SECRET_MODE, 0, 0)
        owner = next(path for path in (self.file, *self.file.parents) if path.exists()).stat()
        return Ownership(_SECRET_MODE, owner.st_uid, owner.st_gid)


def find_target(named: Path | None, environ: Mapping[str, str] = os.environ, system: Path = SYSTEM_FILE) -> Target:
    """Return the file that `edge-agent config show` reads, or would if it were there.

    Raises:
        NotAllowedError: This user may not change it.
    """
    if named is None and (variable := environ.get(f"{ENVIRONMENT_PREFIX}CONFIG")):
        named = Path(variable)
    if named is None:
        own = Path(environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "edge-agent", "config.toml")
        named = system if system.parent.is_dir() else own
    file = Path(os.path.realpath(named))
    is_installed = file == Path(os.path.realpath(system))
    if not _may_replace(file):
        # Which options were given is not repeated: the line is for whoever typed the bare command.
        raise NotAllowedError(file, "sudo edge-agent setup" + ("" if is_installed else f" --config {named}"))
    if is_installed:
        return Target(file, is_installed, file.parent / "credentials" / CREDENTIAL, None)
    return Target(file, is_installed, file.parent / _PASSWORD_NAME, _PASSWORD_NAME)


def _may_replace(file: Path) -> bool:
    try:
        directory = next(path for path in file.parents if path.is_dir())
        return os.access(directory, os.W_OK | os.X_OK) and (not file.exists() or os.access(file, os.R_OK))
    except PermissionError:
        return False


def _group() -> int:
    import grp

    try:
        return grp.getgrnam(_SERVICE_GROUP).gr_gid
    except KeyError:
        return 0
