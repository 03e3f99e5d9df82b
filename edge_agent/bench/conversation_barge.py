"""Somebody speaks into the answer, at random moments: how soon there is silence, and whether anything is heard late."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.bench.conversation_rig import PAUSE_S, changed, open_rig
from edge_agent.bench.result import at_most
from edge_agent.pipeline.commands import State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.bench.conversation_rig import Ended, Rig
    from edge_agent.bench.pause_speech import Clip
    from edge_agent.bench.result import Findings, Progress
    from edge_agent.bench.room_source import Speech
    from edge_agent.bench.room_speaker import Played
    from edge_agent.config.schema import Config
    from edge_agent.pipeline.report import TurnReport

_THINKING_S = 0.6
_PLAYING_S = 1.8
_AROUND_S = 0.15
_LOOKS_S = 0.004
_ANSWERED_S = 12.0
_CUT_OFF_S = 12.0
_ATTEMPTS = 3
_TOLERANCE_S = 0.001
"""The moment of a cancellation is known from the turn's report, whose times are taken next to those of the speaker."""
_SEED = 1
_BUTTON_SHARE = 0.6
_MOMENTS = ("thinking", "playing", "between")


@dataclass(frozen=True, slots=True)
class Interruption:
    """One answer that somebody spoke into. Times are `time.perf_counter()`.

    Attributes:
        turn_id: The answer's turn.
        by: `speech`, or `button`.
        stage: What was going on at the onset: prefill, decoding, synthesis, playing or between.
        onset_at: The voice's first sample was captured, or the button was pressed.
        cancelled_at: The turn was cut off; None where it had said nothing yet.
    """

    turn_id: int
    by: str
    stage: str
    onset_at: float
    cancelled_at: float | None

    def silence_ms(self, played: Played) -> float | None:
        """Return how long the answer was heard after the onset; None where it was silent already."""
        if played.silent_at is None or played.silent_at <= self.onset_at:
            return None
        return (played.silent_at - self.onset_at) * 1000

    def stale_samples(self, played: Played) -> int:
        """Return how many samples of the answer were heard after it was cut off."""
        if self.cancelled_at is None:
            return played.samples_after(self.onset_at)
        return played.samples_after(self.cancelled_at + _TOLERANCE_S)


async def measure(findings: Findings, config: Config, clips: Sequence[Clip], count: int, progress: Progress) -> None:
    """Add `barge_in.*`: by speech, and now and then by the button, which cuts off at once whatever goes on.

    Half of the questions are answered without warm prefix and speculation: in prefill for long.

    Raises:
        EdgeAgentError: An engine is missing or failed.
    """
    silences_ms: list[float] = []
    stale = 0
    stages: Counter[str] = Counter()
    dismissed = 0
    cold = changed(config, llm={"keep_prefix": False, "speculate": False})
    for number, (how, wanted) in enumerate(((config, count - count // 2), (cold, count // 2))):
        if not wanted:
            continue
        progress("barge-in: loading")
        async with open_rig(how, sentences=2, seed=_SEED + number) as rig:
            scene = _Scene(rig, clips, random.Random(_SEED + number))  # noqa: S311 - moments
            await scene.play(wanted, lambda text: progress(f"barge-in, {text}"))
            for interruption in scene.interruptions:
                played = rig.speaker.of_turn(interruption.turn_id)
                stages[interruption.stage] += 1
                stale += interruption.stale_samples(played)
                silence_ms = interruption.silence_ms(played)
                if silence_ms is not None and interruption.by == "speech":
                    silences_ms.append(silence_ms)
            dismissed += scene.dismissed
    findings.add_percentiles("barge_in.silence", silences_ms, "ms", shares=(50, 95, 100), goals={95: at_most(250)})
    findings.add("barge_in.stale_samples", stale, "samples", goal=at_most(0), samples=sum(stages.values()))
    findings.add("barge_in.not_taken", dismissed, "utterances", samples=dismissed + sum(stages.values()))
    for stage, times in sorted(stages.items()):
        findings.add(f"barge_in.in_{stage}", times, "times")
    findings.distributions["Barge-in: from the onset of speech to silence (ms)"] = {"answers": silences_ms}


class _Scene:
    """Goes on asking and interrupting: what interrupts one answer is the next question."""

    def __init__(self, rig: Rig, clips: Sequence[Clip], chance: random.Random) -> None:
        self._rig = rig
        self._clips = clips
        self._chance = chance
        self._said = 0
        self.interruptions: list[Interruption] = []
        self.dismissed = 0

    async def play(self, wanted: int, progress: Progress) -> None:
        """Interrupt `wanted` answers; three times as many are tried at the most.

        The first answer is heard to its end: an agent that has never spoken does not know its echo, and lets nobody
        interrupt it by voice in its first 0.6 s.
        """
        await self._ask()
        await self._comes(self._is_answering, _ANSWERED_S)
        await self._comes(lambda: not self._is_answering(), _ANSWERED_S)
        for _ in range(_ATTEMPTS * wanted):
            if len(self.interruptions) >= wanted:
                break
            progress(f"interruption {len(self.interruptions) + 1}/{wanted}")
            if not self._is_answering():
                await self._ask()
            if await self._comes(self._is_answering, _ANSWERED_S):
                await self._interrupt()
        self._rig.voice.runner.interrupt("the benchmark")
        await self._rig.voice.runner.rested()

    async def _ask(self) -> None:
        self._rig.log.ended.clear()
        await asyncio.sleep(PAUSE_S)
        await self._speak()

    async def _say(self) -> Speech:
        clip = self._clips[self._said % len(self._clips)]
        self._said += 1
        return await self._rig.source.say(clip)

    async def _interrupt(self) -> None:
        """Wait for a moment within the answer that goes on, and speak into it."""
        turn_id = self._rig.voice.runner.heard_turn_id
        moment = self._chance.choice(_MOMENTS)
        by = "button" if moment == "thinking" and self._chance.random() < _BUTTON_SHARE else "speech"
        if moment == "thinking":
            await asyncio.sleep(self._chance.uniform(0.0, _THINKING_S))
        else:
            played = self._rig.speaker.of_turn(turn_id)
            if not await self._comes(lambda: played.handed_at is not None or not self._is_answering(), _ANSWERED_S):
                return
            clause_s = self._rig.speaker.pending_s
            if moment == "playing":
                await asyncio.sleep(self._chance.uniform(0.0, min(_PLAYING_S, clause_s)))
            else:
                await asyncio.sleep(max(0.0, clause_s + self._chance.uniform(-_AROUND_S, _AROUND_S)))
        if not self._is_answering() or self._rig.voice.runner.heard_turn_id != turn_id:
            return
        sounded = self._rig.speaker.of_turn(turn_id).handed_at is not None
        onset_at = await self._press() if by == "button" else await self._speak()
        await self._comes(lambda: self._ended(turn_id) is not None, _CUT_OFF_S)
        ended = self._ended(turn_id)
        if ended is None or ended.report.cut_off_by is None:
            self.dismissed += 1
            return
        stage = (moment if moment != "thinking" else "playing") if sounded else _stage(ended, onset_at)
        self.interruptions.append(Interruption(turn_id, by, stage, onset_at, self._cancelled_at(ended.report)))

    async def _speak(self) -> float:
        speech = await self._say()
        await asyncio.sleep(max(0.0, speech.ends_at - time.perf_counter()))
        return speech.begins_at

    async def _press(self) -> float:
        pressed_at = time.perf_counter()
        self._rig.voice.ears.press()
        await self._rig.voice.ears.release()
        return pressed_at

    def _is_answering(self) -> bool:
        runner = self._rig.voice.runner
        return runner.state in {State.THINKING, State.SPEAKING} and not runner.has_rival

    def _ended(self, turn_id: int) -> Ended | None:
        return next((ended for ended in self._rig.log.ended if ended.report.turn == turn_id), None)

    def _cancelled_at(self, report: TurnReport) -> float | None:
        """Tell when a turn was cut off, from its report's distance to the first sample."""
        handed_at = self._rig.speaker.of_turn(report.turn).handed_at
        first_audio_s = report.timings.first_audio_s
        if handed_at is None or first_audio_s is None:
            return None
        marks = [mark for mark in report.timeline.marks if mark.stage == "interruption"]
        cut = [mark.at_s for mark in marks if mark.detail == report.cut_off_by]
        return handed_at + cut[-1] - first_audio_s if cut else None

    async def _comes(self, is_so: Callable[[], bool], within_s: float) -> bool:
        """Wait until something is so; return False where it does not come to that."""
        deadline = time.perf_counter() + within_s
        while not is_so():
            if time.perf_counter() > deadline:
                return False
            await asyncio.sleep(_LOOKS_S)
        return True


def _stage(ended: Ended, onset_at: float) -> str:
    """Tell what a turn was at, at the onset of what cut it off before it had said anything."""
    marks = ended.report.timeline.marks
    cut_s = max((mark.at_s for mark in marks if mark.stage == "interruption"), default=0.0)
    onset_s = cut_s - (ended.at - onset_at)
    until_s = {mark.stage: mark.until_s for mark in marks if mark.until_s is not None}
    for stage, name in (("llm.first_token", "prefill"), ("llm.first_clause", "decoding")):
        if stage not in until_s or onset_s < until_s[stage]:
            return name
    return "synthesis"
