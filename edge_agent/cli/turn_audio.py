"""Saves what was heard in a turn as the running service tells it."""

from __future__ import annotations

import base64
import os
import wave
from typing import TYPE_CHECKING, Any

from edge_agent.audio import SAMPLE_BYTES
from edge_agent.errors import AudioFileError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write_turn(directory: Path, turn: Mapping[str, Any], audio: Mapping[str, Any]) -> Path:
    """Write a 16-bit mono WAV file that the owner alone may read, named after the turn and its time; return its path.

    Args:
        directory: Made where it is not there.
        turn: The turn's record.
        audio: The service's answer to `{"get": "audio"}`.

    Raises:
        AudioFileError: It can't be written.
    """
    at = "".join(character for character in str(turn.get("at", ""))[:19] if character.isdigit())
    path = directory / "-".join(["turn", f"{int(turn['turn']):04}", *([at] if at else [])])
    path = path.with_suffix(".wav")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with open(path, "wb", opener=_private) as raw, wave.open(raw, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(SAMPLE_BYTES)
            file.setframerate(int(audio["rate_hz"]))
            file.writeframes(base64.b64decode(audio["pcm_base64"]))
    except OSError as error:
        raise AudioFileError(path, f"can't be written: {error.strerror}") from error
    return path


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
