"""A change that a few devices try before all get it: pure, on the clock that it is given.

CANARIES ──all applied──▶ SOAK ──healthy throughout──▶ WIDEN ──published──▶ FLEET ──answered──▶ CLEAN ──▶ DONE
    │ rejected, rolled back, silent, offline │ fault, critical pressure, offline    │ too many failed
    └────────────────────────────────────────┴──────────────▶ PAUSED ◀──────────────┘
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from edge_agent.fleet.answers import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edge_agent.fleet.answers import Answers
    from edge_agent.fleet.device import Device


class Stage(Enum):
    """Where a rollout stands. In WIDEN and CLEAN it waits for its caller to do that."""

    CANARIES = "canaries"
    SOAK = "soak"
    WIDEN = "widen"
    FLEET = "fleet"
    CLEAN = "clean"
    DONE = "done"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a rollout demands.

    Attributes:
        soak_s: How long the canaries have to stay well.
        report_s: How long a device may take for its answer.
        offline_grace_s: How long a canary may be away: radio is like that.
        max_failures: Devices that may fail without a pause.
    """

    soak_s: float = 600.0
    report_s: float = 120.0
    offline_grace_s: float = 30.0
    max_failures: int = 0


class Rollout:
    """One rollout.

    Args:
        canaries: What each canary is waited for with, its document being published.
        terms: What is demanded.
        now_s: On a clock that only grows.
        widened: The answers to the wide layer's document where an earlier run has published it.
    """

    def __init__(
        self, canaries: Mapping[str, Answers], terms: Terms, now_s: float, *, widened: Answers | None = None
    ) -> None:
        self._canaries = canaries
        self._terms = terms
        self._since_s = now_s
        self._away_since_s: dict[str, float] = {}
        self.wide = widened
        self.stage = Stage.CANARIES if widened is None else Stage.FLEET
        self.paused_in = Stage.CANARIES
        self.failures: dict[str, str] = {}

    @property
    def canaries(self) -> list[str]:
        """Their ids."""
        return list(self._canaries)

    def canary_answers(self) -> dict[str, str]:
        """Return what each canary has answered, in a word."""
        return {one: self._canaries[one].by_device.get(one, Answer.OFFLINE).value for one in self._canaries}

    def hear(self, device: Device, now_s: float) -> None:
        """Look at a device that told something."""
        if self.stage is Stage.FLEET and self.wide is not None:
            self.wide.hear(device)
        if device.id not in self._canaries or self.stage not in {Stage.CANARIES, Stage.SOAK}:
            return
        if device.online:
            self._away_since_s.pop(device.id, None)
        else:
            self._away_since_s.setdefault(device.id, now_s)
        answer = self._canaries[device.id].hear(device)
        if answer in {Answer.REJECTED, Answer.ROLLED_BACK}:
            why = "".join(f": {key}: {message}" for key, message in device.report.errors[:1]) if device.report else ""
            self._fail(device.id, f"{answer.value.replace('_', ' ')}{why}")
        elif device.pressure == "critical":
            self._fail(device.id, "pressure critical")

    def fault(self, device_id: str, text: str) -> None:
        """Be told that a device reported a fault."""
        if device_id in self._canaries and self.stage in {Stage.CANARIES, Stage.SOAK}:
            self._fail(device_id, text)

    def gap(self, now_s: float) -> None:
        """Be told that nothing was heard for a while: what was not seen does not count as healthy."""
        if self.stage is Stage.SOAK:
            self._since_s = now_s

    def widened(self, answers: Answers, now_s: float) -> None:
        """Be told that the wide layer's document is published."""
        self.stage, self.wide, self._since_s = Stage.FLEET, answers, now_s

    def cleaned(self) -> None:
        """Be told that the canaries' own documents are as they were."""
        self.stage = Stage.DONE

    def soak_left_s(self, now_s: float) -> float:
        """Return how long the canaries have to stay well yet."""
        return max(0.0, self._since_s + self._terms.soak_s - now_s) if self.stage is Stage.SOAK else 0.0

    def step(self, now_s: float) -> Stage:
        """Go on as far as time and answers allow; return the stage."""
        if self.stage in {Stage.CANARIES, Stage.SOAK}:
            for device_id, since_s in self._away_since_s.items():
                if now_s >= since_s + self._terms.offline_grace_s:
                    self._fail(device_id, f"offline for {now_s - since_s:.0f} s")
        if self.stage is Stage.CANARIES:
            self._step_canaries(now_s)
        if self.stage is Stage.SOAK and now_s >= self._since_s + self._terms.soak_s and not self._away():
            self.stage = Stage.WIDEN
        if self.stage is Stage.FLEET:
            self._step_fleet(now_s)
        return self.stage

    def cleanable(self) -> list[str]:
        """Return the canaries that have the wide layer's document, and so need none of their own."""
        wide = self.wide
        if wide is None:
            return []
        return [one for one in self._canaries if wide.by_device.get(one) is Answer.APPLIED]

    def _step_canaries(self, now_s: float) -> None:
        still = [one for one in self._canaries if one not in self.failures and not self._applied(one)]
        if still and now_s >= self._since_s + self._terms.report_s:
            for device_id in still:
                self._fail(device_id, f"did not answer within {self._terms.report_s:g} s")
        elif not still and self.stage is Stage.CANARIES:
            self.stage, self._since_s = Stage.SOAK, now_s

    def _step_fleet(self, now_s: float) -> None:
        wide = self.wide
        if wide is None:
            return
        if wide.waiting and now_s < self._since_s + self._terms.report_s:
            if len(wide.failed) > self._terms.max_failures:
                self._pause_wide(wide)
            return
        wide.give_up()
        if len(wide.failed) > self._terms.max_failures:
            self._pause_wide(wide)
        else:
            self.stage = Stage.CLEAN

    def _pause_wide(self, wide: Answers) -> None:
        for device_id in wide.failed:
            self.failures.setdefault(device_id, wide.by_device[device_id].value.replace("_", " "))
        self.paused_in, self.stage = Stage.FLEET, Stage.PAUSED

    def _applied(self, device_id: str) -> bool:
        return self._canaries[device_id].by_device.get(device_id) is Answer.APPLIED

    def _away(self) -> bool:
        return any(one not in self.failures for one in self._away_since_s)

    def _fail(self, device_id: str, why: str) -> None:
        self.failures.setdefault(device_id, why)
        are_all = len(self.failures) >= len(self._canaries)
        if self.stage is not Stage.PAUSED and (len(self.failures) > self._terms.max_failures or are_all):
            self.paused_in, self.stage = self.stage, Stage.PAUSED
