"""Tries a Piper voice in a process of its own: `python -m edge_agent.engines.piper_probe VOICE.onnx`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from edge_agent.config.engines import PiperConfig
from edge_agent.engines.piper import PiperSynthesizer
from edge_agent.engines.probe import serve
from edge_agent.errors import EngineError, ModelError
from edge_agent.runtime.ledger import FixedGrant

if TYPE_CHECKING:
    from pathlib import Path


def check(voice: Path) -> str | None:
    """Load the voice, and render a word with it; return what is wrong with it."""
    synthesizer = PiperSynthesizer(PiperConfig(), voice, FixedGrant(1))
    try:
        synthesizer.load()
        if not any(chunk.pcm for chunk in synthesizer.synthesize("1")):
            return "renders no sound"
    except ModelError as error:
        return error.reason
    except EngineError as error:
        return f"can't be used ({error})"
    finally:
        synthesizer.close()
    return None


if __name__ == "__main__":
    sys.exit(serve(check))
