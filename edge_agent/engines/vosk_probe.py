"""Tries a Vosk model in a process of its own: `python -m edge_agent.engines.vosk_probe DIRECTORY`."""

from __future__ import annotations

import math
import struct
import sys
from typing import TYPE_CHECKING

from edge_agent.audio import HEAR_RATE_HZ
from edge_agent.engines.probe import serve
from edge_agent.engines.vosk_files import DamageError, check_files

if TYPE_CHECKING:
    from pathlib import Path

_ERRORS_ONLY = -2


def check(model: Path) -> str | None:
    """Check the files, load the model, decode half a second of a tone freely and with a grammar."""
    try:
        check_files(model)
    except DamageError as damage:
        return str(damage)
    import vosk

    vosk.SetLogLevel(_ERRORS_ONLY)
    try:
        loaded = vosk.Model(str(model))
    except Exception:  # noqa: BLE001 - vosk raises nothing more special, and says no more than that it failed
        return "Kaldi can't read it; am/ or another part is damaged"
    tone = [round(3000 * math.sin(at * 0.1 * (1 + at / HEAR_RATE_HZ))) for at in range(HEAR_RATE_HZ // 2)]
    pcm = struct.pack(f"<{len(tone)}h", *tone)
    for grammar in ((), ('["[unk]"]',)):
        recognizer = vosk.KaldiRecognizer(loaded, HEAR_RATE_HZ, *grammar)
        recognizer.SetWords(True)  # noqa: FBT003 - Vosk's signature
        recognizer.AcceptWaveform(pcm)
        recognizer.FinalResult()
    return None


if __name__ == "__main__":
    sys.exit(serve(check))
