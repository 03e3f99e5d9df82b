"""Sentences to sound: synthesis on its lane, playback with back-pressure, and the account of what was heard."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from edge_agent.reason.sentences import SentenceCutter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from edge_agent.audio import AudioChunk
    from edge_agent.runtime.lane import Lane
    from edge_agent.speak.sink import AudioSink
    from edge_agent.speak.tts import SpeechSynthesizer


class Utterer:
    """Speaks one turn's sentences into a sink. `heard_text` is true at any moment, also after cancelling."""

    def __init__(
        self,
        synthesizer: SpeechSynthesizer,
        lane: Lane,
        sink: AudioSink,
        *,
        on_audio: Callable[[AudioChunk], None],
    ) -> None:
        self._synthesizer = synthesizer
        self._lane = lane
        self._sink = sink
        self._on_audio = on_audio
        self._start_s = sink.played_s + sink.pending_s
        self._written_s = 0.0
        self._spoken: list[tuple[str, float]] = []

    async def speak(self, sentences: AsyncIterator[str]) -> None:
        """Speak each sentence as it comes; return when the last sample was played.

        Raises:
            SynthesisError: A sentence could not be rendered.
            DeviceError: The speaker is lost.
        """
        async for sentence in sentences:
            async with aclosing(self._lane.steps(self._synthesizer.synthesize(sentence))) as chunks:
                async for chunk in chunks:
                    self._on_audio(chunk)
                    await self._sink.write(chunk)
                    self._written_s += chunk.duration_s
            self._spoken.append((sentence, self._written_s))
        if self._written_s:
            await self._sink.drain()

    def heard_text(self) -> str:
        """Return the sentences that were played to their end."""
        played_s = self._sink.played_s - self._start_s + 0.02  # a frame's tolerance against rounding
        return " ".join(sentence for sentence, end_s in self._spoken if end_s <= played_s)


async def sentences_of(text: str) -> AsyncIterator[str]:
    """Yield a whole text sentence by sentence, as `Utterer.speak` takes it."""
    cutter = SentenceCutter()
    for sentence in (*cutter.feed(text), *cutter.flush()):
        yield sentence
