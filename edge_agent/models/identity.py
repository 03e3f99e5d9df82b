"""Whose a models directory is. Root becomes that user before it touches anything there.

Whoever owns a directory can put links into it, at any moment: what root wrote there could end up anywhere. Blocking.
"""

from __future__ import annotations

import os
import pwd
import stat
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.errors import FaultError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

_OF_ROOT = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME")
"""Name directories of the user that one was."""


@dataclass(frozen=True, slots=True)
class Owner:
    """A user who is not root."""

    uid: int
    gid: int
    name: str
    home: str


class IdentityError(FaultError):
    """Root can't go on as the owner of the models directory."""

    def __init__(self, root: Path, owner: str, reason: str) -> None:
        super().__init__(f"{root} belongs to {owner}, and nothing is done there as root: {reason}")
        self.root = root
        self.owner = owner


def owner_of(root: Path, lstat: Callable[[Path], os.stat_result] = os.lstat) -> Owner | None:
    """Return who has the say in a directory, which need not exist; None where that is root alone.

    A link made by somebody else is theirs, wherever it leads; links made by root are followed. Else it is the owner of
    the directory itself, or of the nearest one above it that is not root's.
    """
    path = root.absolute()
    chain = _there((*reversed(path.parents), path), lstat)
    for found in chain:
        if stat.S_ISLNK(found.st_mode) and found.st_uid:
            return _owner(found)
    resolved = Path(os.path.realpath(path))
    followed = _there((*reversed(resolved.parents), resolved), lstat)
    return next((_owner(found) for found in (*reversed(followed), *reversed(chain)) if found.st_uid), None)


def become_owner(root: Path, environ: MutableMapping[str, str] = os.environ) -> Owner | None:
    """Where this is root and the directory is somebody else's, be that user from now on, for good; return who it is.

    Raises:
        IdentityError: The system does not allow it, or that user can't read this program.
    """
    if os.geteuid() != 0 or (owner := owner_of(root)) is None:
        return None
    try:
        os.initgroups(owner.name, owner.gid)
        os.setresgid(owner.gid, owner.gid, owner.gid)
        os.setresuid(owner.uid, owner.uid, owner.uid)
    except OSError as error:
        raise IdentityError(root, owner.name, f"becoming that user fails ({error.strerror})") from error
    for name in _OF_ROOT:
        environ.pop(name, None)
    environ.update(HOME=owner.home, USER=owner.name, LOGNAME=owner.name)
    for place in (sys.executable, str(Path(__file__).parent)):
        if not os.access(place, os.R_OK | os.X_OK):
            raise IdentityError(root, owner.name, f"that user can't read {place}")
    return owner


def user_name() -> str:
    """Return the name of the user that this process is."""
    return _name(os.geteuid())


def as_typed(root: Path, command: str, environ: Mapping[str, str] = os.environ) -> str:
    """Return an `edge-agent` command that changes a models directory as the person has to type it, maybe with sudo."""
    told = environ.get("SUDO_UID", "")
    person = int(told) if told.isdecimal() else os.getuid()
    return f"edge-agent {command}" if _nearest_owner(root.absolute()) == person else f"sudo edge-agent {command}"


def _there(paths: tuple[Path, ...], lstat: Callable[[Path], os.stat_result]) -> list[os.stat_result]:
    """Return what is there of a chain of directories, from the top down to the first that is not."""
    found: list[os.stat_result] = []
    for path in paths:
        try:
            found.append(lstat(path))
        except OSError:
            break
    return found


def _nearest_owner(path: Path) -> int | None:
    for place in (path, *path.parents):
        try:
            return place.stat().st_uid
        except PermissionError:
            return None
        except OSError:
            continue
    return None


def _owner(found: os.stat_result) -> Owner:
    try:
        known = pwd.getpwuid(found.st_uid)
    except KeyError:  # a disk from another machine
        return Owner(found.st_uid, found.st_gid, str(found.st_uid), "/")
    return Owner(known.pw_uid, known.pw_gid, known.pw_name, known.pw_dir)


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
