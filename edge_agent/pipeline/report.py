"""What is told of a turn: the record that `--json` prints and that logs, the page and MQTT will carry."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from edge_agent.pipeline.timeline import Timeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from edge_agent.events import Endpoint

_DECIMALS = 3


@dataclass(slots=True)
class Timings:
    """Seconds from the turn's first input sample, pre-roll included; None where a stage did not run.

    Attributes:
        speech_end_s: The last frame that the VAD called speech.
        endpoint_s: The utterance was called finished.
        asr_s: A duration: from the endpoint to the final transcript.
        first_token_s: The language model's first piece of text.
        first_audio_s: The reply's first sample was handed to the speaker.
        done_s: The reply's last sample was played.
    """

    speech_end_s: float | None = None
    endpoint_s: float | None = None
    asr_s: float | None = None
    first_token_s: float | None = None
    first_audio_s: float | None = None
    done_s: float | None = None


@dataclass(slots=True)
class TurnReport:
    """One turn, filled in as it goes.

    Attributes:
        reply_heard: What of `reply` was played.
        alert: It announces what rings until somebody reacts.
        announced: All that it was to say unasked; None where somebody asked.
        cut_off_by: What interrupted it.
        timeline: What happened and why, for the flight recorder.
    """

    turn: int
    heard: str | None = None
    confidence: float | None = None
    intent: str | None = None
    slots: Mapping[str, str | int | float] = field(default_factory=dict)
    reply: str | None = None
    reply_heard: str | None = None
    source: Literal["intent", "llm", "none"] = "none"
    audio: Path | None = None
    endpoint: Endpoint | None = None
    timings: Timings = field(default_factory=Timings)
    interrupted: bool = False
    alert: bool = False
    announced: str | None = None
    cut_off_by: str | None = None
    timeline: Timeline = field(default_factory=Timeline)

    def as_json(self) -> dict[str, Any]:
        """Return the turn as the command line's contract has it."""
        endpoint = self.endpoint and {
            "reason": self.endpoint.reason.value,
            "silence_ms": round(self.endpoint.silence_s * 1000),
        }
        rounded = {
            name: None if value is None else round(value, _DECIMALS) for name, value in asdict(self.timings).items()
        }
        return {
            "turn": self.turn,
            "heard": self.heard,
            "confidence": None if self.confidence is None else round(self.confidence, _DECIMALS),
            "intent": self.intent,
            "slots": dict(self.slots),
            "reply": self.reply,
            "source": self.source,
            "audio": None if self.audio is None else str(self.audio),
            "endpoint": endpoint,
            "timings": rounded,
            "interrupted": self.interrupted,
        }


class TurnClock:
    """Tells the time within a turn, by a clock of seconds that never jump.

    While audio arrives, time is the audio's own; from the endpoint on it is that plus what the clock measured since,
    which is the same live and under `--fast`.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._origin = clock()
        self._play_end_s = 0.0

    def set_to(self, seconds: float) -> None:
        """Declare the present to be `seconds` into the turn."""
        self._origin = self._clock() - seconds

    def now_s(self) -> float:
        """Return seconds since the turn's first input sample."""
        return self.at_s(self._clock())

    def at_s(self, moment: float) -> float:
        """Return how far into the turn `moment` was, on the clock that this one tells the time by."""
        return moment - self._origin

    def queue_audio(self, duration_s: float) -> None:
        """Count audio handed to the speaker, which plays it after what it already has."""
        self._play_end_s = max(self._play_end_s, self.now_s()) + duration_s

    def played_out_s(self) -> float:
        """Return when the queued audio has been played: now, or later where playing is not waited for (`--fast`)."""
        return max(self.now_s(), self._play_end_s)
