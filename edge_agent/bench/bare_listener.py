"""The reference for listening: PortAudio and WebRTC's voice activity detector, and nothing else.

`python -m edge_agent.bench.bare_listener [DEVICE]` prints a line of JSON when sound arrives, and another one with what
was heard when its input ends.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

_RATE_HZ = 16_000
_BLOCK = 320
_AGGRESSIVENESS = 2
_LATENCY_S = 0.06
_FIRST_S = 10.0


def main(device: str) -> int:
    """Listen until the input ends; return the exit status."""
    import sounddevice
    import webrtcvad

    detector = webrtcvad.Vad(_AGGRESSIVENESS)
    counts = {"frames": 0, "speech": 0}
    heard = threading.Event()

    def judge(data: Any, _frames: int, _times: Any, _status: Any) -> None:  # noqa: ANN401 - sounddevice has no types
        counts["speech"] += detector.is_speech(bytes(data), _RATE_HZ)
        counts["frames"] += 1
        if counts["frames"] == 1:
            heard.set()

    try:
        with sounddevice.RawInputStream(
            samplerate=_RATE_HZ,
            blocksize=_BLOCK,
            device=int(device) if device.isdecimal() else device or None,
            channels=1,
            dtype="int16",
            latency=_LATENCY_S,
            callback=judge,
        ):
            if not heard.wait(_FIRST_S):
                print("the microphone delivers no sound", file=sys.stderr)  # noqa: T201 - the parent shows it
                return 1
            _print({"ready": True})
            sys.stdin.read()
    except (sounddevice.PortAudioError, ValueError) as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1
    _print(counts)
    return 0


def _print(content: dict[str, Any]) -> None:
    print(json.dumps(content), flush=True)  # noqa: T201 - the parent reads it


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
