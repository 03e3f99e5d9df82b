"""The ancestor of every configuration section."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo
from pydantic_core import PydanticCustomError


class Section(BaseModel):
    """Frozen; refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def _anchor(path: Path, info: ValidationInfo) -> Path:
    base = (info.context or {}).get("base_dir", Path())
    try:
        return Path(base, path.expanduser())
    except RuntimeError as error:
        raise PydanticCustomError("home", "there is no such user's home directory") from error


ConfigPath = Annotated[Path, AfterValidator(_anchor)]
"""A path; a relative one counts from the configuration file's directory (validation context `base_dir`)."""
