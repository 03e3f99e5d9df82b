"""Sentences to sound: synthesis on its pool, playback with back-pressure, and the account of what was heard."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edge_agent.reason.sentences import SentenceCutter
from edge_agent.runtime.pool import Priority
from edge_agent.speak.phrases import PhraseKey

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from edge_agent.audio import AudioChunk
    from edge_agent.runtime.pools import Station
    from edge_agent.speak.phrases import PhraseCache
    from edge_agent.speak.sink import AudioSink
    from edge_agent.speak.tts import SpeechSynthesizer


_SENTENCE_S = 120.0
"""The longest that a sentence may take from its first step to being handed to the speaker whole, which takes as long as
it sounds. Beyond it the voice or the speaker hangs."""


@dataclass(frozen=True, slots=True)
class SpokenPhrases:
    """The phrase cache, as one voice uses it.

    Attributes:
        voice: Engine, voice and every setting that changes the sound.
    """

    cache: PhraseCache
    voice: str

    def key(self, sentence: str) -> PhraseKey:
        """Return the key of a sentence in this voice."""
        return PhraseKey(self.voice, sentence)


class Utterer:
    """Speaks one turn's sentences into a sink. `heard_text` is true at any moment, also after cancelling."""

    def __init__(
        self,
        synthesizer: SpeechSynthesizer,
        station: Station,
        sink: AudioSink,
        *,
        on_audio: Callable[[AudioChunk], None],
        phrases: SpokenPhrases | None = None,
    ) -> None:
        self._synthesizer = synthesizer
        self._station = station
        self._sink = sink
        self._on_audio = on_audio
        self._phrases = phrases
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
            async with aclosing(self._render(sentence)) as chunks:
                async for chunk in chunks:
                    self._on_audio(chunk)
                    await self._sink.write(chunk)
                    self._written_s += chunk.duration_s
            self._spoken.append((sentence, self._written_s))
        if self._written_s:
            await self._sink.drain()

    async def _render(self, sentence: str) -> AsyncGenerator[AudioChunk, None]:
        """Yield what the cache holds, or the voice renders; then the cache has it too."""
        phrases = self._phrases
        if phrases is not None and (known := await phrases.cache.fetch(phrases.key(sentence))) is not None:
            for chunk in known:
                yield chunk
            return
        rendered: list[AudioChunk] = []
        job = self._synthesizer.synthesize(sentence)
        stop = partial(self._synthesizer.stop, job)
        steps = self._station.steps(
            job, kind="tts.sentence", priority=Priority.HIGH, timeout_s=_SENTENCE_S, stop=stop, ahead=2
        )
        async with aclosing(steps) as chunks:
            async for chunk in chunks:
                rendered.append(chunk)
                yield chunk
        if phrases is not None:
            phrases.cache.put(phrases.key(sentence), rendered)

    def heard_text(self) -> str:
        """Return the sentences that were played to their end."""
        played_s = self._sink.played_s - self._start_s + 0.02  # a frame's tolerance against rounding
        return " ".join(sentence for sentence, end_s in self._spoken if end_s <= played_s)


async def sentences_of(text: str) -> AsyncGenerator[str, None]:
    """Yield a whole text sentence by sentence, as `Utterer.speak` takes it."""
    cutter = SentenceCutter()
    for sentence in (*cutter.feed(text), *cutter.flush()):
        yield sentence
