"""One device as its retained messages describe it: little, whatever it sends."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edge_agent.fleet.plain import plain
from edge_agent.fleet.target import is_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.fleet.target import Target

MOST_ERRORS = 8
"""Errors kept of a report: whoever looks at ten thousand devices reads the first."""
_MOST_GROUPS = 16
_MOST_PROBLEMS = 4
_WORD = 40
_SENTENCE = 200
_LARGEST_REVISION = 1 << 53

OUTCOMES = ("applied", "rejected", "rolled_back")
RUNGS = ("normal", "warm", "hot", "critical")


@dataclass(frozen=True, slots=True)
class Report:
    """What a device says of its configuration.

    Attributes:
        revisions: By layer, `group:NAME` for each group's own; a layer that has none is left out.
        outcome: Of the last change: one of `OUTCOMES`; empty where the device says something else.
        errors: The first of (key, message).
        error_count: How many there are.
        refused: Revisions by layer that the device did not take, or no longer takes.
        about: The layer and the revision that the outcome is about, where it tells.
        hash: Of the effective configuration.
    """

    revisions: Mapping[str, int] = field(default_factory=dict)
    outcome: str = ""
    errors: tuple[tuple[str, str], ...] = ()
    error_count: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    about: tuple[str, int] | None = None
    hash: str = ""

    @property
    def layers(self) -> list[tuple[str, int]]:
        """The revisions for people: of groups each by name, where they have names."""
        by_name = any(layer.startswith("group:") for layer in self.revisions)
        return [(layer, number) for layer, number in self.revisions.items() if layer != "group" or not by_name]

    def revision(self, target: Target) -> int:
        """Return the revision of that layer that stands on the device; 0: none."""
        return _of_target(self.revisions, target)

    def refused_revision(self, target: Target) -> int:
        """Return the revision of that layer that the device did not take; 0: none."""
        return _of_target(self.refused, target)

    def is_about(self, target: Target, revision: int) -> bool:
        """Tell whether the outcome is that of this revision."""
        layer = f"group:{target.name}" if target.layer == "group" else target.layer
        return self.about == (layer, revision)

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "revisions": dict(self.revisions),
            "outcome": self.outcome or None,
            "refused": dict(self.refused),
            "errors": [{"key": key, "message": message} for key, message in self.errors],
            "error_count": self.error_count,
            "about": {"layer": self.about[0], "revision": self.about[1]} if self.about else None,
            "hash": self.hash or None,
        }


@dataclass(slots=True)
class Device:
    """What is known of a device.

    Attributes:
        online: As its availability says; None: it never said.
        pressure: The rung, where it tells.
        problems: What it says that is wrong with it, in single words.
        turn_delay_ms: From the end of speech to the first audio of the last turn, where it tells.
        seen_at_s: When something came from it while we listened, in seconds since 1970; None: only what was retained.
        faults: How many it reported while we listened.
        unreadable: Payloads that were not what their topic is for.
        why_unreadable: The last of them.
    """

    id: str
    online: bool | None = None
    state: str = ""
    version: str = ""
    pressure: str = ""
    groups: tuple[str, ...] = ()
    uptime_s: float | None = None
    turn_delay_ms: float | None = None
    temperature_c: float | None = None
    problems: tuple[str, ...] = ()
    report: Report | None = None
    seen_at_s: float | None = None
    faults: int = 0
    last_fault: str = ""
    unreadable: int = 0
    why_unreadable: str = ""

    def take_status(self, status: Mapping[str, Any]) -> None:
        """Take over what a status says, as far as it has the right form."""
        self.state = _word(status.get("state")) if status.get("muted") is not True else "muted"
        self.version = _version(status)
        pressure = status.get("pressure")
        self.pressure = _word(pressure.get("rung") if isinstance(pressure, dict) else pressure)
        groups = status.get("groups")
        if isinstance(groups, list):
            self.groups = tuple(name for name in groups[:_MOST_GROUPS] if isinstance(name, str) and is_name(name))
        self.uptime_s = number(status.get("uptime_s"))
        self.turn_delay_ms = number(status.get("last_turn_delay_ms"))
        self.temperature_c = number(status.get("temperature_c"))
        problems = status.get("problems")
        self.problems = (
            tuple(_word(one) for one in problems[:_MOST_PROBLEMS] if isinstance(one, str))
            if isinstance(problems, list)
            else ()
        )

    def is_in(self, group: str) -> bool:
        """Tell whether it takes that group's document, as its status or its report says."""
        layer = f"group:{group}"
        report = self.report
        return group in self.groups or (report is not None and (layer in report.revisions or layer in report.refused))

    @property
    def trouble(self) -> str:
        """What is wrong with it, in a few words; empty: nothing known."""
        if self.report is not None and self.report.outcome in {"rejected", "rolled_back"}:
            first = f": {_error(self.report.errors[0])}" if self.report.errors else ""
            return f"{self.report.outcome.replace('_', ' ')}{first}"
        if self.online is False:
            return "offline"
        if self.pressure in {"critical", "hot"}:
            return f"pressure {self.pressure}"
        if self.problems or self.last_fault:
            return self.last_fault or f"problem: {', '.join(self.problems)}"
        if self.unreadable:
            return f"unreadable: {self.why_unreadable}"
        return ""

    @property
    def badness(self) -> int:
        """How far up it belongs in a list that begins with the worst: larger is worse."""
        outcome = self.report.outcome if self.report is not None else ""
        return (
            (32 if outcome == "rolled_back" else 24 if outcome == "rejected" else 0)
            + (16 if self.pressure == "critical" else 4 if self.pressure == "hot" else 0)
            + (8 if self.online is False else 0)
            + (2 if self.faults or self.problems else 0)
            + (1 if self.unreadable else 0)
        )

    def as_json(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "device": self.id,
            "online": self.online,
            "state": self.state or None,
            "version": self.version or None,
            "pressure": self.pressure or None,
            "groups": list(self.groups),
            "uptime_s": self.uptime_s,
            "last_turn_delay_ms": self.turn_delay_ms,
            "temperature_c": self.temperature_c,
            "problems": list(self.problems),
            "config": self.report.as_json() if self.report is not None else None,
            "seen_at_s": self.seen_at_s,
            "faults": self.faults,
            "last_fault": self.last_fault or None,
            "unreadable": self.unreadable,
            "why_unreadable": self.why_unreadable or None,
        }


def read_report(reported: Mapping[str, Any]) -> Report:
    """Read what is under config/reported, as far as it has the right form."""
    found = reported.get("errors")
    errors = found if isinstance(found, list) else []
    outcome = reported.get("outcome")
    revisions = _revisions(reported.get("revisions"))
    groups = _revisions({"group": reported.get("groups")})
    return Report(
        revisions | groups,
        outcome if outcome in OUTCOMES else "",
        tuple(
            (plain(str(one.get("key", "")), 100), plain(str(one.get("message", "")), _SENTENCE))
            for one in errors[:MOST_ERRORS]
            if isinstance(one, dict)
        ),
        len(errors),
        _revisions(reported.get("refused")),
        _about(reported.get("document")),
        _word(reported.get("hash"), 64),
    )


def number(value: object) -> float | None:
    """Return a number that JSON held; None where it is another thing, or absurd."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST_REVISION:
        return None
    return value


def _revisions(found: object) -> dict[str, int]:
    if not isinstance(found, dict):
        return {}
    revisions: dict[str, int] = {}
    for layer in ("fleet", "group", "device"):
        value = found.get(layer)
        if isinstance(value, dict):
            for name, revision in list(value.items())[:_MOST_GROUPS]:
                if is_name(name) and (whole := _revision(revision)):
                    revisions[f"{layer}:{name}"] = whole
        elif whole := _revision(value):
            revisions[layer] = whole
    return revisions


def _about(found: object) -> tuple[str, int] | None:
    if not isinstance(found, dict) or not (revision := _revision(found.get("revision"))):
        return None
    layer, group = found.get("layer"), found.get("group")
    if layer == "group" and isinstance(group, str) and is_name(group):
        return f"group:{group}", revision
    return (layer, revision) if layer in {"fleet", "device"} else None


def _revision(value: object) -> int:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    return value if is_whole and 0 < value < _LARGEST_REVISION else 0  # type: ignore[operator,return-value]


def _of_target(revisions: Mapping[str, int], target: Target) -> int:
    if target.layer != "group":
        return revisions.get(target.layer, 0)
    named = any(layer.startswith("group:") for layer in revisions)
    return revisions.get(f"group:{target.name}", 0 if named else revisions.get("group", 0))


def _word(value: object, most: int = _WORD) -> str:
    return plain(value, most) if isinstance(value, str) else ""


def _version(status: Mapping[str, Any]) -> str:
    versions = status.get("versions")
    return _word(versions.get("edge_agent") if isinstance(versions, dict) else status.get("version"))


def _error(error: tuple[str, str]) -> str:
    key, message = error
    return f"{key}: {message}" if key else message
