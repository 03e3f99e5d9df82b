"""Sentences to sound: synthesis ahead on its pool, playback with back-pressure, and the account of what was heard."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edge_agent.runtime.pool import Priority
from edge_agent.speak.phrases import PhraseKey

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from edge_agent.audio import AudioChunk
    from edge_agent.pipeline.gate import Gate
    from edge_agent.runtime.pools import Station
    from edge_agent.speak.phrases import PhraseCache
    from edge_agent.speak.tts import SpeechSynthesizer


_SENTENCE_S = 120.0
"""The longest that a sentence may take from its first step to being taken over whole, which may take as long as those
before it sound. Beyond it the voice or the speaker hangs."""
_TOLERANCE_S = 0.02
"""A frame against rounding, where it is asked what was played."""


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


@dataclass(frozen=True, slots=True)
class Rendered:
    """A piece of a sentence as sound; `chunk` is None after the sentence's last one."""

    sentence: str
    chunk: AudioChunk | None


class Renderer:
    """Renders sentences, one after the other, from the phrase cache or with the voice."""

    def __init__(self, synthesizer: SpeechSynthesizer, station: Station, phrases: SpokenPhrases | None = None) -> None:
        self.synthesizer = synthesizer
        self._station = station
        self._phrases = phrases

    async def render(self, sentences: AsyncIterator[str]) -> AsyncGenerator[Rendered, None]:
        """Yield each sentence's sound as it comes.

        Raises:
            SynthesisError: A sentence could not be rendered.
        """
        async for sentence in sentences:
            async with aclosing(self._chunks(sentence)) as chunks:
                async for chunk in chunks:
                    yield Rendered(sentence, chunk)
            yield Rendered(sentence, None)

    async def _chunks(self, sentence: str) -> AsyncGenerator[AudioChunk, None]:
        """Yield what the cache holds, or the voice renders; then the cache has it too."""
        phrases = self._phrases
        if phrases is not None and (known := await phrases.cache.fetch(phrases.key(sentence))) is not None:
            for chunk in known:
                yield chunk
            return
        rendered: list[AudioChunk] = []
        job = self.synthesizer.synthesize(sentence)
        stop = partial(self.synthesizer.stop, job)
        steps = self._station.steps(
            job, kind="tts.sentence", priority=Priority.HIGH, timeout_s=_SENTENCE_S, stop=stop, ahead=2
        )
        async with aclosing(steps) as chunks:
            async for chunk in chunks:
                rendered.append(chunk)
                yield chunk
        if phrases is not None:
            phrases.cache.put(phrases.key(sentence), rendered)


class Player:
    """Plays one turn's sentences. `heard_text` is true at any moment, also after the gate was shut."""

    def __init__(self, gate: Gate, *, on_audio: Callable[[AudioChunk], None]) -> None:
        self._gate = gate
        self._on_audio = on_audio
        self._start_s = gate.played_s + gate.pending_s
        self._written_s = 0.0
        self._spoken: list[tuple[str, float, float]] = []

    async def play(self, rendered: AsyncIterator[Rendered]) -> None:
        """Play each piece as it comes; return when the last sample was played.

        Raises:
            DeviceError: The speaker is lost.
        """
        begin_s = 0.0
        async for piece in rendered:
            if piece.chunk is None:
                begin_s = self._written_s
                continue
            self._on_audio(piece.chunk)
            # Noted before it is written, which takes as long as it sounds: somebody may cut in meanwhile.
            self._note(piece.sentence, begin_s, self._written_s + piece.chunk.duration_s)
            await self._gate.write(piece.chunk)
            self._written_s += piece.chunk.duration_s
        if self._written_s:
            await self._gate.drain()

    def heard_text(self) -> str:
        """Return the sentences that were played; of the one that was cut off, the words up to there.

        Words are taken to be equally long by their letters, and one of which a part is missing was not heard.
        """
        played_s = self._gate.played_s - self._start_s + _TOLERANCE_S
        heard = []
        for sentence, begin_s, end_s in self._spoken:
            if end_s <= played_s:
                heard.append(sentence)
            elif begin_s < played_s:
                heard.append(_beginning(sentence, (played_s - begin_s) / (end_s - begin_s)))
        return " ".join(text for text in heard if text)

    def _note(self, sentence: str, begin_s: float, end_s: float) -> None:
        if self._spoken and self._spoken[-1][1] == begin_s:
            self._spoken.pop()
        self._spoken.append((sentence, begin_s, end_s))


def _beginning(sentence: str, share: float) -> str:
    """Return the whole words within the first `share` of a sentence."""
    words = sentence.split()
    letters = share * sum(len(word) + 1 for word in words)
    kept = []
    for word in words:
        letters -= len(word) + 1
        if letters < 0:
            break
        kept.append(word)
    return " ".join(kept)
