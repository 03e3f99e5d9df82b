"""Ten spoken commands and the wake word, through the whole agent."""

from __future__ import annotations

import asyncio
import statistics
from typing import TYPE_CHECKING

from edge_agent.app.field.phrases import Phrase, word_errors
from edge_agent.app.field.step import StepResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.app.agent import Agent
    from edge_agent.app.field.session import Watcher
    from edge_agent.app.field.speaking import Voice
    from edge_agent.app.field.step import Figure
    from edge_agent.pipeline.report import TurnReport

_ANSWER_S = 15.0
_SETTLED_S = 30.0
LEAST_RIGHT = 0.8
"""Share of the commands that has to be understood."""
LEAST_WOKEN = 0.8


async def try_commands(
    agent: Agent, watcher: Watcher, voice: Voice, phrases: Sequence[Phrase], patience_s: float
) -> StepResult:
    """Have each command said, and note what was understood and how soon the answer began."""
    parts = []
    for phrase in phrases:
        await _rested(agent)
        watcher.forget()
        await voice.say(phrase)
        parts.append(_told(phrase, await watcher.next_turn(max(_ANSWER_S, patience_s))))
    return judge_commands(parts, voice.name)


def judge_commands(parts: Sequence[dict[str, Figure]], voice: str) -> StepResult:
    """Say how many were right."""
    right = sum(part["right"] is True for part in parts)
    wrong_words = sum(int(part["word_errors"] or 0) for part in parts)
    words = sum(int(part["words"] or 0) for part in parts)
    answers = [float(part["answered_ms"]) for part in parts if part["answered_ms"] is not None]
    figures: dict[str, Figure] = {
        "spoken_by": voice,
        "commands": len(parts),
        "right": right,
        "heard": sum(part["heard"] is not None for part in parts),
        "word_error_percent": round(100 * wrong_words / words, 1) if words else None,
        "answered_p50_ms": round(statistics.median(answers)) if answers else None,
        "answered_max_ms": round(max(answers)) if answers else None,
    }
    message = f"{right} of {len(parts)} understood (spoken by {voice})"
    if answers:
        message += f", answer {figures['answered_p50_ms']} ms after the end of the command, at the median"
    is_enough = bool(parts) and right >= LEAST_RIGHT * len(parts)
    return StepResult("commands", "pass" if is_enough else "fail", message, figures, list(parts))


async def try_wake_word(
    agent: Agent, watcher: Watcher, voice: Voice, phrases: Sequence[Phrase], patience_s: float
) -> StepResult:
    """Have the wake word said some times, and count how often the agent listens."""
    woken = 0
    for phrase in phrases:
        await _rested(agent)
        watcher.forget()
        await voice.say(phrase)
        try:
            async with asyncio.timeout(patience_s):
                await watcher.woken.wait()
        except TimeoutError:
            continue
        woken += 1
        if agent.runner is not None:
            agent.runner.interrupt("field test")
    figures: dict[str, Figure] = {"spoken_by": voice.name, "said": len(phrases), "woken": woken}
    message = f"{woken} of {len(phrases)} times woken (spoken by {voice.name})"
    outcome = "pass" if woken >= LEAST_WOKEN * len(phrases) else "fail"
    return StepResult("wake_word", "pass" if outcome == "pass" else "fail", message, figures)


def _told(phrase: Phrase, turn: TurnReport | None) -> dict[str, Figure]:
    heard = None if turn is None else turn.heard
    errors, words = word_errors(phrase.text, heard or "")
    intent = None if turn is None else turn.intent
    right = intent == phrase.intent if phrase.intent is not None else errors == 0
    return {
        "said": phrase.text,
        "heard": heard,
        "intent": intent,
        "right": bool(turn is not None and right),
        "word_errors": errors,
        "words": words,
        "confidence": None if turn is None or turn.confidence is None else round(turn.confidence, 2),
        "answered_ms": _answered_ms(turn),
        "asr_ms": _ms(None if turn is None else turn.timings.asr_s),
    }


def _answered_ms(turn: TurnReport | None) -> int | None:
    """Return the time from the last syllable to the first sound of the answer."""
    if turn is None or turn.timings.first_audio_s is None or turn.timings.speech_end_s is None:
        return None
    return _ms(turn.timings.first_audio_s - turn.timings.speech_end_s)


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(1000 * seconds)


async def _rested(agent: Agent) -> None:
    """Wait until nothing is said or heard any more, within a bound."""
    if agent.runner is not None:
        try:
            async with asyncio.timeout(_SETTLED_S):
                await agent.runner.settled()
        except TimeoutError:
            agent.runner.interrupt("field test")
