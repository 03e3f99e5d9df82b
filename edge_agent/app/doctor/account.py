"""The service's user: who it is, and which devices its groups let it use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.app.doctor.result import UNIT, USER, CheckResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.app.doctor.result import Surroundings
    from edge_agent.config.schema import Config

_FIELDS = 4
_WANTED = ("audio", "gpio", "spi", "i2c")
"""Groups that Debian's and Raspberry Pi OS's device files belong to."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine.

    Attributes:
        groups: Names and numbers of the groups, those that its unit adds included.
    """

    name: str
    uid: int
    gid: int
    groups: dict[str, int]

    @property
    def gids(self) -> frozenset[int]:
        """All its groups' numbers."""
        return frozenset({self.gid, *self.groups.values()})


def find_account(around: Surroundings) -> Account | None:
    """Return the service's user, from the machine's own files; None where it was not made."""
    for name, _, uid, gid, *_ in _entries(around, "etc/passwd"):
        if name == USER and uid.isdecimal() and gid.isdecimal():
            added = set((around.unit or {}).get("SupplementaryGroups", "").split())
            groups = {
                group: int(number)
                for group, _, number, members, *_ in _entries(around, "etc/group")
                if number.isdecimal() and (name in members.split(",") or number == gid or group in added)
            }
            return Account(name, int(uid), int(gid), groups)
    return None


def check_user(config: Config, around: Surroundings) -> CheckResult:
    """Look whether the service's user, or this one where there is no service, is in the groups that devices need."""
    there = {name for name, *_ in _entries(around, "etc/group")}
    account = find_account(around)
    if account is None:
        return _check_own(there, around)
    wanted = [name for name in _WANTED if name in there]
    missing = [name for name in wanted if name not in account.groups]
    needed = {"audio"} | ({"gpio"} if _uses_pins(config) else set())
    figures = {"user": account.name, "groups": ", ".join(sorted(account.groups)), "missing": ", ".join(missing) or None}
    if not missing:
        return CheckResult("user", "ok", f"{account.name} is in {_listed(sorted(account.groups))}", figures=figures)
    remedy = f"sudo usermod -aG {','.join(missing)} {account.name} && sudo systemctl restart {UNIT}"
    message = f"{account.name} is not in {_listed(missing)}"
    return CheckResult("user", "fault" if needed & set(missing) else "warning", message, remedy, figures)


def _check_own(there: set[str], around: Surroundings) -> CheckResult:
    own = set(os.getgroups())
    inside = {
        name for name, _, number, *_ in _entries(around, "etc/group") if number.isdecimal() and int(number) in own
    }
    figures = {"user": None, "groups": ", ".join(sorted(inside))}
    message = f"no user {USER}: the service is not installed"
    if os.geteuid() == 0 or "audio" not in there or "audio" in inside:
        return CheckResult("user", "ok", message, figures=figures)
    remedy = 'sudo usermod -aG audio "$USER"   (then log in again), or install the service: sudo ./install.sh'
    return CheckResult("user", "warning", f"{message}; you are not in group audio", remedy, figures)


def _uses_pins(config: Config) -> bool:
    gpio = config.gpio
    return gpio.driver != "simulated" and bool(gpio.button or gpio.light or gpio.outputs)


def _entries(around: Surroundings, path: str) -> Iterator[list[str]]:
    for line in (around.files.read(path) or "").splitlines():
        fields = line.split(":")
        if len(fields) >= _FIELDS:
            yield fields


def _listed(names: list[str]) -> str:
    return ("group " if len(names) == 1 else "groups ") + ", ".join(names)
