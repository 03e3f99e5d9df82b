"""The floor of a conversation's delay: what its engines take, each alone, on the same words."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edge_agent.audio import AudioChunk
from edge_agent.bench.conversation_rig import CLAUSE_TOKENS
from edge_agent.errors import EngineError
from edge_agent.reason.llm import ChatMessage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.bench.conversation_rig import Exchange, Rig
    from edge_agent.hear.asr import SpeechRecognizer
    from edge_agent.reason.llm import LanguageModel
    from edge_agent.speak.tts import SpeechSynthesizer

_FRAMES_AT_ONCE = 10
_OTHER = "0"
"""Begins as no transcript does: recognizers spell figures out."""


@dataclass(frozen=True, slots=True)
class Floor:
    """What one exchange takes at least, without any overlap.

    Attributes:
        silence_s: The endpoint's own.
        asr_s: From the last frame to the final transcript.
        prefill_s: The prompt's tokens that are not in the warm prefix, up to the first token of the answer.
        decode_s: From there to the clause's last token.
        tts_s: The clause's first sound.
        new_tokens: How many tokens were evaluated.
    """

    silence_s: float
    asr_s: float
    prefill_s: float
    decode_s: float
    tts_s: float
    new_tokens: int

    @property
    def whole_s(self) -> float:
        """All of it, one after the other."""
        return self.silence_s + self.asr_s + self.prefill_s + self.decode_s + self.tts_s


async def floor_of(rig: Rig, exchange: Exchange) -> Floor:
    """Have each engine do its part of `exchange` again, alone, with the threads that the ledger then grants.

    Raises:
        EngineError: The exchange was no answer of the language model, or an engine failed.
    """
    report, model = exchange.report, rig.brain.model
    if model is None or report.endpoint is None or not report.heard or not report.reply:
        raise EngineError("conversation", "there is no floor for a turn without an answer of the language model")
    recognizer, voice = rig.voice.recognizer, rig.voice.synthesizer
    async with rig.core.asr.hold():
        asr_s = await rig.core.asr.run(partial(_tail_s, recognizer, exchange.audio), kind="bench.asr")
    messages = (*exchange.opening, ChatMessage("user", report.heard))
    prefill_s, decode_s = await rig.core.llm.run(partial(_answer_s, model, messages), kind="bench.llm")
    cost = model.prompt_cost
    tts_s = await rig.core.tts.run(partial(_sound_s, voice, report.reply), kind="bench.tts")
    return Floor(
        report.endpoint.silence_s, asr_s, prefill_s, decode_s, tts_s, new_tokens=0 if cost is None else cost.evaluated
    )


def _tail_s(recognizer: SpeechRecognizer, audio: Sequence[AudioChunk]) -> float:
    recognizer.start()
    for at in range(0, len(audio), _FRAMES_AT_ONCE):
        frames = audio[at : at + _FRAMES_AT_ONCE]
        recognizer.accept(AudioChunk(b"".join(frame.pcm for frame in frames), frames[0].rate_hz))
    began_at = time.perf_counter()
    recognizer.finish()
    return time.perf_counter() - began_at


def _answer_s(model: LanguageModel, messages: Sequence[ChatMessage]) -> tuple[float, float]:
    """Return how long the first token took, and those after it, with a context that holds the opening and no more.

    The model still knows the question, having answered it; another one after the same opening takes its place.
    """
    other = ChatMessage("user", f"{_OTHER} {messages[-1].content}")
    for _ in model.generate((*messages[:-1], other), most_tokens=1):
        pass
    began_at = time.perf_counter()
    first_at = last_at = began_at
    count = 0
    for delta in model.generate(messages, most_tokens=CLAUSE_TOKENS):
        if not delta and not count:
            continue
        count += 1
        last_at = time.perf_counter()
        if count == 1:
            first_at = last_at
        if count == CLAUSE_TOKENS:
            break
    return first_at - began_at, last_at - first_at


def _sound_s(voice: SpeechSynthesizer, clause: str) -> float:
    began_at = time.perf_counter()
    job = voice.synthesize(clause)
    next(job, None)
    took_s = time.perf_counter() - began_at
    job.close()
    return took_s
