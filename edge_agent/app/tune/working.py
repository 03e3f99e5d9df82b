"""One engine at work for a while, and how fast it was. Blocking: each runs on its engine's pool."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.audio import AudioChunk
    from edge_agent.hear.asr import SpeechRecognizer
    from edge_agent.reason.llm import ChatMessage, LanguageModel
    from edge_agent.runtime.ledger import ComputeGrant
    from edge_agent.speak.tts import SpeechSynthesizer


class SwitchedGrant:
    """A grant that is exchanged while nothing computes: one loaded engine serves every case."""

    def __init__(self, grant: ComputeGrant) -> None:
        self.grant = grant

    @property
    def threads(self) -> int:
        """Threads that the present grant gives."""
        return self.grant.threads

    def commit(self) -> int:
        """Take over what the present grant gives now."""
        return self.grant.commit()


def read_and_write(
    model: LanguageModel,
    messages: Sequence[ChatMessage],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float | None, float | None]:
    """Return tokens a second of reading the prompt and of writing an answer to it; None of what did not come about.

    Reading takes what it takes; then it writes for `seconds`, or to the end of the answer.
    """
    began_s = clock()
    first_s = last_s = began_s
    pieces = 0
    answer = model.generate(messages)
    try:
        for piece in answer:
            if not piece and not pieces:
                continue  # a step of reading
            last_s = clock()
            if not pieces:
                first_s = last_s
            pieces += 1
            if pieces > 1 and last_s - first_s >= seconds:
                break
    finally:
        answer.close()
    read = 0 if model.prompt_cost is None else model.prompt_cost.evaluated
    prefill = read / (first_s - began_s) if pieces and read and first_s > began_s else None
    return prefill, (pieces - 1) / (last_s - first_s) if last_s > first_s else None


def render(voice: SpeechSynthesizer, sentence: str) -> tuple[float, float]:
    """Return how long a sentence took, and how long it lasts when it is heard."""
    began_s = time.perf_counter()
    audio_s = sum(chunk.duration_s for chunk in voice.synthesize(sentence))
    return time.perf_counter() - began_s, audio_s


def hear(recognizer: SpeechRecognizer, utterance: Sequence[AudioChunk]) -> tuple[float, float]:
    """Return how long hearing an utterance took, as fast as it goes, and how long it was said."""
    began_s = time.perf_counter()
    recognizer.start()
    for chunk in utterance:
        recognizer.accept(chunk)
    recognizer.finish()
    return time.perf_counter() - began_s, sum(chunk.duration_s for chunk in utterance)


class Share:
    """Adds up what took how long, for a real-time factor."""

    def __init__(self) -> None:
        self._took_s = self._audio_s = 0.0

    def add(self, took_s: float, audio_s: float) -> None:
        """Add one piece of audio."""
        self._took_s += took_s
        self._audio_s += audio_s

    @property
    def real_time_factor(self) -> float | None:
        """Time of the work by time of the audio; None where there was no audio."""
        return self._took_s / self._audio_s if self._audio_s else None
