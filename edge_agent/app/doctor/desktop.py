"""The way to a desktop's sound server: its socket and cookie, as the service's user sees them."""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from edge_agent.app.doctor.account import find_account
from edge_agent.app.doctor.result import USER, CheckResult

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edge_agent.app.doctor.account import Account
    from edge_agent.app.doctor.result import Surroundings

_DROP_IN = "etc/systemd/system/edge-agent.service.d/20-desktop-audio.conf"
_NAME = "desktop_audio"
_SETTING = re.compile(r'\b(PULSE_SERVER|PULSE_COOKIE)=(?:unix:)?([^\s"\']+)')
_AGAIN = "set it up again: sudo ./install.sh --desktop-audio"


def check_desktop_audio(around: Surroundings) -> CheckResult:
    """Look whether the service may use a desktop's sound server, where it was set up to, or where one runs."""
    text = around.files.read(_DROP_IN)
    if text is None:
        return _not_set_up(around)
    settings = dict(_SETTING.findall(text))
    figures = {"server": settings.get("PULSE_SERVER"), "cookie": settings.get("PULSE_COOKIE")}
    if "PULSE_SERVER" not in settings:
        return CheckResult(_NAME, "fault", f"/{_DROP_IN} names no PULSE_SERVER", _AGAIN, figures)
    account = find_account(around)
    if account is None:
        return CheckResult(_NAME, "warning", f"set up, but there is no user {USER}", "sudo ./install.sh", figures)
    for setting, path in settings.items():
        if why := _why_not(around, account, path, is_socket=setting == "PULSE_SERVER"):
            return CheckResult(_NAME, "fault", why, _AGAIN, figures)
    is_tried = os.geteuid() == 0 and str(around.root) == "/"
    if is_tried and not _is_answered(around, account, settings):
        reason = f"{account.name} asked the sound server at {settings['PULSE_SERVER']} and was not answered"
        remedy = f"log in at the desktop, so that its sound server runs; {_AGAIN}"
        return CheckResult(_NAME, "fault", reason, remedy, figures)
    may = "is answered at" if is_tried else "may use"
    return CheckResult(_NAME, "ok", f"{account.name} {may} {settings['PULSE_SERVER']}", figures=figures)


def _is_answered(around: Surroundings, account: Account, settings: Mapping[str, str]) -> bool:
    """Ask the sound server as that user, which root may become."""
    variables = [f"PULSE_SERVER=unix:{settings['PULSE_SERVER']}"]
    if "PULSE_COOKIE" in settings:
        variables.append(f"PULSE_COOKIE={settings['PULSE_COOKIE']}")
    return around.run(("runuser", "-u", account.name, "--", "env", *variables, "pactl", "info")) is not None


def _not_set_up(around: Surroundings) -> CheckResult:
    servers = around.files.find("run/user/*/pulse/native")
    own = [path for path in servers if _uid_of(around, path) != "0"]
    if own and find_account(around) is not None:
        return CheckResult(
            _NAME,
            "warning",
            f"user {_uid_of(around, own[0])}'s sound server runs, and the service does not go through it: one of the "
            "two finds the card busy",
            "sudo ./install.sh --desktop-audio",
        )
    return CheckResult(_NAME, "ok", "not set up, and not needed: the service uses ALSA itself")


def _uid_of(around: Surroundings, path: Path) -> str:
    return path.relative_to(around.root / "run/user").parts[0]


def _why_not(around: Surroundings, account: Account, path: str, *, is_socket: bool) -> str:
    """Say why a user can't use a socket or a file; empty where it can. Follows the permission bits, no ACLs."""
    full = around.root / path.lstrip("/")
    at = around.root
    try:
        for part in full.parent.relative_to(around.root).parts:
            at /= part
            if not _may(at.stat(), account, 1) and not _has_acl(at):
                return f"{account.name} may not pass through {_shown(around, at)}"
        found = full.stat()
    except PermissionError:
        return ""  # we may not look ourselves; as root it is told
    except OSError:
        what = "sound server's socket" if is_socket else "cookie"
        return f"the {what} {path} is not there: does the desktop's session run?"
    if is_socket and not stat.S_ISSOCK(found.st_mode):
        return f"{path} is no socket"
    if not _may(found, account, 2 if is_socket else 4) and not _has_acl(full):
        return f"{account.name} may not {'use' if is_socket else 'read'} {path}"
    return ""


def _may(found: os.stat_result, account: Account, bit: int) -> bool:
    shift = 6 if found.st_uid == account.uid else 3 if found.st_gid in account.gids else 0
    return bool(found.st_mode >> shift & bit)


def _has_acl(path: Path) -> bool:
    """Tell whether there are permissions beyond the bits, which are not read here."""
    try:
        return "system.posix_acl_access" in os.listxattr(path)
    except OSError:
        return False


def _shown(around: Surroundings, path: Path) -> str:
    return f"/{path.relative_to(around.root)}"
