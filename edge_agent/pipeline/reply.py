"""An answer on its way to the speaker: reasoned and rendered ahead of what sounds, and maybe ahead of being wanted."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from typing import TYPE_CHECKING

from edge_agent.pipeline.answering import Chunked
from edge_agent.runtime.channel import Channel
from edge_agent.runtime.loop import single_error
from edge_agent.runtime.tasks import TrackedTasks, track

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    from edge_agent.pipeline.answering import Answer
    from edge_agent.pipeline.speaking import Rendered, Renderer
    from edge_agent.runtime.channel import ChannelStatistics
    from edge_agent.runtime.metrics import Metrics
    from edge_agent.speak.tts import SpeechSynthesizer

_log = logging.getLogger(__name__)

_SENTENCES_AHEAD = 4
"""Sentences that the language model may be ahead of the voice before it has to wait."""
_CHUNKS_AHEAD = 16
"""Pieces of sound that the voice may be ahead of the speaker: sentences of Piper's, a few seconds of the others'."""


async def nothing_to_keep() -> None:
    """Return at once: for conversations that leave nothing behind."""


class PendingReply:
    """Reasons and renders an answer in a task of its own; whoever plays it takes it from `rendered`.

    It is made where the question may be over, in a pause or just before one, or when it is. Until `commit` nothing of
    it is shown, heard, or has an effect; `discard` ends it. Whoever makes one sees to it with `settle`.

    Attributes:
        rendered: The sound, in order; closed at its end or failure.
        began_at: When it was begun, on the clock of `metrics`, as the other moments.
        first_token_at: When the first piece of generated text was there; None before.
        first_sound_at: The same of the first rendered chunk.
    """

    def __init__(
        self,
        answer: Answer,
        renderer: Renderer,
        metrics: Metrics,
        name: str,
        kept: Callable[[], Awaitable[None]] = nothing_to_keep,
    ) -> None:
        self.answer = answer
        self.began_at = metrics.clock()
        self.first_token_at: float | None = None
        self.first_sentence_at: float | None = None
        self.first_sound_at: float | None = None
        self.rendered: Channel[Rendered] = Channel(_CHUNKS_AHEAD, name="turn.sound")
        self._sentences: Channel[str] = Channel(_SENTENCES_AHEAD, name="turn.sentences")
        self._renderer = renderer
        self._metrics = metrics
        self._name = name
        self._committed = asyncio.Event()
        self._said: list[str] = []
        self._on_sentence: Callable[[str], None] | None = None
        self._is_discarded = False
        self._kept = kept
        self._task = track(asyncio.create_task(self._run(), name=f"{name}.reply"), metrics)

    @property
    def text(self) -> str | None:
        """The answer's text so far; None while there is none."""
        return " ".join(self._said) or None

    @property
    def has_failed(self) -> bool:
        """True where it came to an error before there was anything to hear."""
        task = self._task
        return task.done() and not task.cancelled() and task.exception() is not None and self.first_sound_at is None

    def is_voiced_by(self, synthesizer: SpeechSynthesizer) -> bool:
        """Tell whose voice it is: another one may have been taken into use since it was begun."""
        return self._renderer.synthesizer is synthesizer

    def channels(self) -> tuple[ChannelStatistics, ...]:
        """Return how far each stage is ahead of the next."""
        return self._sentences.statistics(), self.rendered.statistics()

    def commit(self, on_sentence: Callable[[str], None]) -> None:
        """The answer is wanted: tell of each sentence, those that are there already first, and let tools act."""
        self._on_sentence = on_sentence
        for sentence in self._said:
            on_sentence(sentence)
        self._committed.set()

    def discard(self) -> None:
        """The answer is not wanted: the model and the voice stop within their step. No effect on one that is over."""
        self._is_discarded = True
        self._task.cancel()

    async def wait(self) -> None:
        """Wait until nothing works on it any more.

        Raises:
            EdgeAgentError: Reasoning or rendering failed; nothing is raised of what was discarded.
        """
        await asyncio.wait({self._task})
        if self._task.cancelled() or (error := self._task.exception()) is None:
            return
        if not self._is_discarded:
            raise error
        _log.info("%s failed before it was thrown away: %s", self._name, error)

    async def _run(self) -> None:
        try:
            async with TrackedTasks(self._metrics) as group:
                group.create_task(self._reason(), name=f"{self._name}.reason")
                group.create_task(self._render(), name=f"{self._name}.render")
        except BaseExceptionGroup as group:
            if (error := single_error(group)) is not None:
                raise error from group
            raise
        finally:
            self.rendered.close()

    async def _reason(self) -> None:
        make = self.answer.sentences
        try:
            if make is None:
                return
            async with aclosing(make(Chunked(self._note_first_token, self._committed, self._kept))) as sentences:
                async for sentence in sentences:
                    if self.first_sentence_at is None:
                        self.first_sentence_at = self._metrics.clock()
                    self._said.append(sentence)
                    if self._on_sentence is not None:
                        self._on_sentence(sentence)
                    await self._sentences.put(sentence)
        finally:
            self._sentences.close()

    async def _render(self) -> None:
        try:
            async with aclosing(self._renderer.render(aiter(self._sentences))) as pieces:
                async for piece in pieces:
                    if self.first_sound_at is None:
                        self.first_sound_at = self._metrics.clock()
                    await self.rendered.put(piece)
        finally:
            self.rendered.close()

    def _note_first_token(self) -> None:
        self.first_token_at = self._metrics.clock()


async def settle(replies: Collection[PendingReply]) -> None:
    """Discard all replies that are still worked on, and wait until none is, however often that is cancelled."""
    is_cancelled = False
    for reply in replies:
        reply.discard()
    for reply in replies:
        while True:
            try:
                await reply.wait()
            except asyncio.CancelledError:
                is_cancelled = True
                continue
            break
    if is_cancelled:
        raise asyncio.CancelledError
