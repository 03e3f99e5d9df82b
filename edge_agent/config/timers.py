"""Configuration of timers and alarms."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edge_agent.config.section import Section


class TimersConfig(Section):
    """How timers and alarms ring."""

    repeat_s: float = Field(8.0, ge=1, le=300, description="Seconds of silence before what rings is announced again.")
    ring_for_s: float = Field(
        60.0, ge=1, le=3600, description="Seconds for which a timer rings when nobody reacts; then it counts as missed."
    )
    alarm_ring_for_s: float = Field(600.0, ge=1, le=7200, description="The same for an alarm.")
    late_minutes: float = Field(
        30.0,
        ge=0,
        le=1440,
        description="What fell due while the device was off still rings if it is no later; else it is told as missed.",
    )
    snooze_minutes: float = Field(5.0, gt=0, le=120, description="Length of a snooze, where none is said.")

    @model_validator(mode="after")
    def _rings_again(self) -> Self:
        if self.repeat_s > min(self.ring_for_s, self.alarm_ring_for_s):
            raise PydanticCustomError("timers", "repeat_s must not be longer than ring_for_s and alarm_ring_for_s")
        return self
