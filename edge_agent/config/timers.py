"""Configuration of timers and alarms."""

from __future__ import annotations

from pydantic import Field

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
