"""Hears one utterance out, and uses its pauses: what is understood there is answered sooner."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from edge_agent.audio import AudioChunk
from edge_agent.events import Transcript
from edge_agent.runtime.channel import Channel, ChannelClosedError
from edge_agent.runtime.pool import Priority

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.hear.asr import SpeechRecognizer
    from edge_agent.pipeline.answering import Answer, Reasoner, Understanding
    from edge_agent.pipeline.reply import PendingReply
    from edge_agent.runtime.channel import ChannelStatistics
    from edge_agent.runtime.pools import Station

_UTTERANCE_FRAMES = 100
"""Frames (2 s) between the ears and the recognizer; beyond it the ears wait, and the microphone's channel drops."""
_COALESCED_FRAMES = 10
"""Frames handed to the recognizer at once where several wait: fewer trips to its thread, still prompt to cancel."""
_THOROUGH_S = 0.18
"""Pause, of which `PauseMark` has told, after which a reading that is not final is made so: 0.3 s of silence in all, as
there are none between the words of a sentence that is said without a break, and so well before the endpoint that an
answer begun with other words than the right ones can still be begun anew."""
LONGEST_CALL_S = 20.0
"""While somebody waits; PocketSphinx's final pass over the longest utterance takes two on a slow board."""


@dataclass(frozen=True, slots=True)
class PauseMark:
    """Between two frames: a pause has begun, or was over, `at_s` into the utterance.

    Attributes:
        number: Which pause it is; a verdict is of no use to another one.
    """

    began: bool
    at_s: float
    number: int


@dataclass(frozen=True, slots=True)
class Heard:
    """An utterance that has ended.

    Attributes:
        foreseen: The answer that was begun in the pause; None where there is none.
    """

    understanding: Understanding
    foreseen: PendingReply | None


@dataclass(frozen=True, slots=True)
class HearingTools:
    """What an utterance is heard and understood with.

    Attributes:
        begin_reply: Begins an answer ahead of its being wanted.
        on_partial: Is told each partial transcript.
        on_understood: Is told what was understood in a pause, which still goes on; returns what is to be answered, None
            where it is not, or not yet, meant for the agent.
        note: Marks the turn's timeline: stage, from and until on the clock `now`, detail.
        before: Returns what was said just before, where this may go on with it.
        now: Seconds that never jump.
        longest_call_s: What the recognizer may take over one call, waiting included. Beyond it the engine hangs, and
            its turn is given up.
    """

    recognizer: SpeechRecognizer
    asr: Station
    reasoner: Reasoner
    begin_reply: Callable[[Answer], PendingReply]
    on_partial: Callable[[str], None]
    on_understood: Callable[[Understanding, PauseMark], Understanding | None]
    note: Callable[[str, float, float, str], None]
    before: Callable[[], str]
    now: Callable[[], float]
    longest_call_s: float = LONGEST_CALL_S


class Utterance:
    """Frames and pauses on their way from the ears to the recognizer. Belongs to the loop.

    Attributes:
        pause: The number of the pause that the ears hear at this moment; None while somebody speaks.
    """

    def __init__(self) -> None:
        self._items: Channel[AudioChunk | PauseMark] = Channel(_UTTERANCE_FRAMES, name="turn.audio")
        self._partial: Transcript | None = None
        self.pause: int | None = None
        self._is_considered = Channel[float](1, on_full="drop_oldest", name="turn.considered")

    async def put(self, item: AudioChunk | PauseMark) -> None:
        """Hand on what the ears hear; waits while the recognizer is behind, drops what comes after `close`."""
        if isinstance(item, PauseMark):
            self.pause = item.number if item.began else None
        try:
            await self._items.put(item)
        except ChannelClosedError:
            return

    def close(self) -> None:
        """The utterance has ended, or nobody wants it any more."""
        self._items.close()

    def end(self) -> None:
        """Nothing hears it any more: whoever waits for something of it goes on."""
        self._items.close()
        self._is_considered.close()

    async def considered(self) -> float:
        """Wait until the pause that has just begun was used; return how long that took, 0 where the utterance ended."""
        try:
            return await self._is_considered.get()
        except ChannelClosedError:
            return 0.0

    def statistics(self) -> ChannelStatistics:
        """Return how much waits for the recognizer."""
        return self._items.statistics()

    async def hear_out(self, tools: HearingTools) -> Heard:
        """Recognize to the end; in each pause preview, understand, and begin to answer.

        A reply that was begun and is not returned has been discarded.

        Raises:
            RecognitionError: The recognizer broke.
        """
        pending: PendingReply | None = None
        try:
            async with tools.asr.hold():
                call = partial(tools.asr.run, timeout_s=tools.longest_call_s, stop=tools.recognizer.stop)
                await call(tools.recognizer.start, kind="asr.start")
                understanding: Understanding | None = None
                mark = PauseMark(began=False, at_s=0.0, number=0)
                held: list[AudioChunk] = []
                silence_s = 0.0
                async for item in self._items:
                    if isinstance(item, PauseMark):
                        mark, silence_s = item, 0.0
                        if item.began:
                            guess = await self._guess(tools)
                            understanding = await self._consider(tools)
                            understanding, pending = self._foresee(tools, item, understanding, guess)
                        elif understanding is not None:
                            self._discard(tools, pending)
                            understanding = pending = None
                            for chunk in held:
                                await self._accept(tools, chunk)
                            held.clear()
                    elif understanding is not None and understanding.transcript.final:
                        held.append(item)  # silence after a preview; the recognizer gets it if somebody goes on
                    else:
                        chunk = self._coalesced(item)
                        is_other = await self._accept(tools, chunk)
                        if understanding is None:
                            continue
                        was_short = silence_s < _THOROUGH_S
                        silence_s += chunk.duration_s
                        sure = await self._make_sure(tools) if was_short and silence_s >= _THOROUGH_S else None
                        if sure is not None or is_other:
                            # The last words come out of the recognizer while the pause goes on already.
                            words = sure or self._partial or Transcript("", final=False)
                            understanding, pending = await self._reconsider(tools, mark, pending, words)
                if understanding is None or not understanding.transcript.final:
                    began_at = tools.now()
                    transcript: Transcript = await call(
                        tools.recognizer.finish, kind="asr.finish", priority=Priority.HIGH
                    )
                    tools.note("asr.finish", began_at, tools.now(), _reading(transcript))
                    understanding = await tools.reasoner.understand(transcript, before=tools.before())
            return Heard(understanding, pending)
        finally:
            self._is_considered.close()

    async def _accept(self, tools: HearingTools, chunk: AudioChunk) -> bool:
        """Decode a chunk; tell whether other words are heard now than before."""
        so_far = await tools.asr.run(
            partial(tools.recognizer.accept, chunk),
            kind="asr.accept",
            timeout_s=tools.longest_call_s,
            stop=tools.recognizer.stop,
        )
        if so_far is not None:
            self._partial = so_far
            tools.on_partial(so_far.text)
        return so_far is not None

    def _coalesced(self, frame: AudioChunk) -> AudioChunk:
        """Join a frame with those that wait behind it, up to the next pause."""
        frames = [frame]
        while len(frames) < _COALESCED_FRAMES and isinstance(self._items.peek(), AudioChunk):
            frames += [item for item in self._items.take(1) if isinstance(item, AudioChunk)]
        return AudioChunk(b"".join(part.pcm for part in frames), frame.rate_hz)

    async def _consider(self, tools: HearingTools) -> Understanding:
        began_at = tools.now()
        transcript = await self._preview(tools, thorough=False)
        previewed_at = tools.now()
        tools.note("asr.preview", began_at, previewed_at, _reading(transcript))
        understanding = await tools.reasoner.understand(transcript, before=tools.before())
        ended_at = tools.now()
        intent = understanding.match.intent if understanding.match else "no intent"
        tools.note("understand", previewed_at, ended_at, f"{intent}, {understanding.completeness}")
        self._is_considered.offer(ended_at - began_at)
        return understanding

    async def _preview(self, tools: HearingTools, *, thorough: bool) -> Transcript:
        transcript: Transcript = await tools.asr.run(
            partial(tools.recognizer.preview, thorough=thorough),
            kind="asr.preview",
            priority=Priority.HIGH,
            timeout_s=tools.longest_call_s,
            stop=tools.recognizer.stop,
        )
        return transcript

    async def _make_sure(self, tools: HearingTools) -> Transcript | None:
        """Find out the final transcript, should the pause be the end; None where that would be too much."""
        began_at = tools.now()
        transcript = await self._preview(tools, thorough=True)
        tools.note("asr.preview", began_at, tools.now(), _reading(transcript))
        return transcript if transcript.final else None

    async def _reconsider(
        self, tools: HearingTools, mark: PauseMark, pending: PendingReply | None, transcript: Transcript
    ) -> tuple[Understanding, PendingReply | None]:
        began_at = tools.now()
        understanding = await tools.reasoner.understand(transcript, before=tools.before())
        tools.note("understand", began_at, tools.now(), f"now {transcript.text!r}, {understanding.completeness}")
        return self._foresee(tools, mark, understanding, pending)

    async def _guess(self, tools: HearingTools) -> PendingReply | None:
        """Begin to answer the newest partial transcript while the preview, which takes longer, is still made.

        Mostly both say the same, and then the reply is ready when the preview is.
        """
        if self._partial is None or not self._partial.text:
            return None
        understanding = await tools.reasoner.understand(self._partial, before=tools.before())
        answer = tools.reasoner.foresee(understanding)
        return None if answer is None else tools.begin_reply(answer)

    def _foresee(
        self, tools: HearingTools, mark: PauseMark, understanding: Understanding, guess: PendingReply | None
    ) -> tuple[Understanding, PendingReply | None]:
        """Begin to answer what was understood, where that may be all; return what it means, and the reply."""
        meant = None
        if self.pause == mark.number:  # else somebody speaks again already, and all of this was for nothing
            meant = tools.on_understood(understanding, mark)
        answer = None
        if meant is not None:
            answer = tools.reasoner.foresee(meant)
        if guess is not None:
            if answer is not None and answer.is_as(guess.answer):
                return meant or understanding, guess
            guess.discard()
            tools.note("speculation", guess.began_at, tools.now(), "thrown away: other words were heard")
        return meant or understanding, None if answer is None else tools.begin_reply(answer)

    def _discard(self, tools: HearingTools, pending: PendingReply | None) -> None:
        if pending is not None:
            pending.discard()
            tools.note("speculation", pending.began_at, tools.now(), "thrown away: speech went on")


def _reading(transcript: Transcript) -> str:
    rejected = f" ({transcript.doubtful!r} was rejected)" if transcript.doubtful else ""
    return f"{transcript.text!r}{rejected}"
