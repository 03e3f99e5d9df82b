"""Configuration of what everything runs on: cores, storage, limits of the device."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from edge_agent.config.section import Section


class CoresConfig(Section):
    """Processor cores."""

    compute: int | None = Field(
        None,
        ge=1,
        le=256,
        description="Cores that engines may use together; unset: what the board and its limits give.",
    )
    reserve: int | None = Field(
        None,
        ge=0,
        le=8,
        description="Further cores that only hearing may use; unset: one on boards with four or more cores.",
    )


class StoreConfig(Section):
    """What is kept on disk."""

    history_days: float = Field(
        7.0,
        ge=0,
        le=3650,
        description="Days that turns, texts included, are kept on the device; 0: they are not stored.",
    )
    resume_minutes: float = Field(
        10.0,
        ge=0,
        le=1440,
        description="After a restart the language model is shown turns that are no older; 0: none.",
    )


class PhrasesConfig(Section):
    """Cache of rendered sentences."""

    memory_mib: float = Field(8.0, ge=0, le=1024, description="Rendered sentences kept in memory; 0: none.")
    disk_mib: float = Field(
        64.0, ge=0, le=65536, description="Rendered sentences kept in the cache directory; 0: none."
    )


class RecorderConfig(Section):
    """The flight recorder: the last turns with their times and reasons, in memory."""

    turns: int = Field(50, ge=0, le=100, description="Turns kept, texts included; 0: none.")
    audio_turns: int = Field(
        0,
        ge=0,
        le=100,
        description="Of how many of them what was heard is kept, too; 0: of none. Audio never leaves the device.",
    )

    @model_validator(mode="after")
    def _audio_has_turns(self) -> Self:
        if self.audio_turns > self.turns:
            raise PydanticCustomError("recorder", "audio is kept of no more turns than are kept: raise turns, too")
        return self


class PressureConfig(Section):
    """When the device gives things up to cool down."""

    warm_c: float = Field(75.0, gt=0, le=120, description="Temperature from which idle work rests.")
    hot_c: float = Field(
        80.0, gt=0, le=120, description="Temperature from which the language model gets half the cores."
    )
    critical_c: float = Field(85.0, gt=0, le=120, description="Temperature from which intents alone are answered.")

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if not self.warm_c < self.hot_c < self.critical_c:
            raise PydanticCustomError("pressure", "temperatures must rise: warm_c < hot_c < critical_c")
        return self
