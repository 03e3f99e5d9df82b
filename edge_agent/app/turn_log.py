"""One structured log record a turn: which way it went and how long each stage took."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

from edge_agent.pipeline.observer import SilentObserver

if TYPE_CHECKING:
    from edge_agent.pipeline.report import TurnReport

_log = logging.getLogger(__name__)

TURN_ENDED = "6f1d0c2b7c2b4d0a9a7c5e0f3b1e8d46"
"""MESSAGE_ID of the record, made at random: `journalctl MESSAGE_ID=…` finds turns and nothing else."""


class TurnLog(SilentObserver):
    """Logs each turn that has ended.

    Args:
        with_texts: Also what was said on both sides (`privacy.log_text`).
    """

    def __init__(self, *, with_texts: bool = False) -> None:
        self._with_texts = with_texts

    def turn_ended(self, report: TurnReport) -> None:
        """Log it."""
        fields = fields_of(report)
        if self._with_texts:
            fields |= {"EDGE_HEARD": report.heard, "EDGE_REPLY": report.reply}
        _log.info("%s", in_words(report), extra={"MESSAGE_ID": TURN_ENDED, **fields})


def fields_of(report: TurnReport) -> dict[str, object]:
    """Return the record's fields; None of what there was not. Times count from the turn's first sample."""
    endpoint = report.endpoint
    times = {name: _ms(value) for name, value in asdict(report.timings).items()}
    return {
        "EDGE_TURN": report.turn,
        "EDGE_STAGE": "turn.ended",
        "EDGE_INTENT": report.intent,
        "EDGE_SOURCE": report.source,
        "EDGE_INTERRUPTED": int(report.interrupted),
        "EDGE_ENDPOINT_REASON": None if endpoint is None else endpoint.reason.value,
        "EDGE_SILENCE_MS": None if endpoint is None else _ms(endpoint.silence_s),
        "EDGE_ANSWER_MS": _answer_ms(report),
        **{f"EDGE_{name.removesuffix('_s').upper()}_MS": value for name, value in times.items()},
    }


def in_words(report: TurnReport) -> str:
    """Say how a turn went; nothing of what was said."""
    if report.announced is not None:
        how = "announcement"
    elif report.intent is not None:
        how = f"intent {report.intent}"
    else:
        how = {"llm": "language model", "intent": "intents", "none": "nothing understood"}[report.source]
    parts = [f"turn {report.turn}: {how}"]
    if (answer_ms := _answer_ms(report)) is not None:
        parts.append(f"answered {answer_ms} ms after the endpoint")
    if report.interrupted:
        parts.append("interrupted")
    return ", ".join(parts)


def _answer_ms(report: TurnReport) -> int | None:
    timings = report.timings
    if timings.first_audio_s is None or timings.endpoint_s is None:
        return None
    return _ms(timings.first_audio_s - timings.endpoint_s)


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
