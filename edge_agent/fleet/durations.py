"""Durations as people write them."""

from __future__ import annotations

import re

from edge_agent.errors import BadInputError

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_LONGEST_S = 3650 * 86_400.0


def duration_s(text: str) -> float:
    """Return the seconds in `90`, `90s`, `15m`, `2h` or `1d`.

    Raises:
        BadInputError: It is no duration, or longer than ten years.
    """
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)([smhd]?)", text.strip())
    if match is None:
        raise BadInputError(f"{text!r} is no duration; durations look like 90s, 15m, 2h or 30d")
    seconds = float(match[1]) * _UNITS_S[match[2]]
    if seconds > _LONGEST_S:
        raise BadInputError(f"{text!r} is longer than ten years")
    return seconds
