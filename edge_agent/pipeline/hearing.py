"""Hears one utterance out, and uses its pauses: what is understood there is answered sooner."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from edge_agent.audio import FRAME_S, AudioChunk
from edge_agent.events import Transcript
from edge_agent.hear.endpoint import PAUSE_S, QUIET_S
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
_WENT_ON, _OTHER_WORDS = "speech went on", "other words were heard"
"""Why a reply is thrown away."""
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
class QuietMark:
    """Between two frames: the speaker fell silent just now, maybe for a pause, of which a `PauseMark` will tell."""


@dataclass(frozen=True, slots=True)
class Heard:
    """An utterance that has ended.

    Attributes:
        foreseen: The answer that was begun before the end, maybe to other words; None where there is none.
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


@dataclass(slots=True)
class _SoFar:
    """How far an utterance has been heard out.

    Attributes:
        understanding: What the pause that runs is taken for; None while somebody speaks.
        pending: What was begun to be answered to that.
        early: What was begun before the pause, and is to be said only if that comes to the same.
        mark: The last pause's beginning or end.
        held: Silence that the recognizer was not given.
        silence_s: Of the pause that runs, since it was told of.
        quiet_left_s: Of the sound after the last word in which a reply is begun `early`.
    """

    understanding: Understanding | None = None
    pending: PendingReply | None = None
    early: PendingReply | None = None
    mark: PauseMark = field(default_factory=lambda: PauseMark(began=False, at_s=0.0, number=0))
    held: list[AudioChunk] = field(default_factory=list)
    silence_s: float = 0.0
    quiet_left_s: float = 0.0


class Utterance:
    """Frames and pauses on their way from the ears to the recognizer. Belongs to the loop.

    Attributes:
        pause: The number of the pause that the ears hear at this moment; None while somebody speaks.
    """

    def __init__(self) -> None:
        self._items: Channel[AudioChunk | PauseMark | QuietMark] = Channel(_UTTERANCE_FRAMES, name="turn.audio")
        self._partial: Transcript | None = None
        self._guessed: Understanding | None = None
        self.pause: int | None = None
        self._is_considered = Channel[float](1, on_full="drop_oldest", name="turn.considered")

    async def put(self, item: AudioChunk | PauseMark | QuietMark) -> None:
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

        What an intent will say is rendered from the moment at which the speaker falls silent, on what has been
        recognized by then: where it was the end, there is no time to lose.

        A reply that was begun and is not returned has been discarded. The one that is returned may be to other words.

        Raises:
            RecognitionError: The recognizer broke.
        """
        so_far = _SoFar()
        try:
            async with tools.asr.hold():
                call = partial(tools.asr.run, timeout_s=tools.longest_call_s, stop=tools.recognizer.stop)
                await call(tools.recognizer.start, kind="asr.start")
                async for item in self._items:
                    if isinstance(item, PauseMark):
                        await self._take_pause(tools, so_far, item)
                    elif isinstance(item, AudioChunk):
                        await self._take_audio(tools, so_far, item)
                    elif so_far.understanding is None:
                        so_far.quiet_left_s = PAUSE_S - QUIET_S
                        so_far.early = await self._guess(tools, so_far.early, only_fixed=True)
                understanding = so_far.understanding
                if understanding is None or not understanding.transcript.final:
                    began_at = tools.now()
                    transcript: Transcript = await call(
                        tools.recognizer.finish, kind="asr.finish", priority=Priority.HIGH
                    )
                    tools.note("asr.finish", began_at, tools.now(), _reading(transcript))
                    understanding = await tools.reasoner.understand(transcript, before=tools.before())
            return Heard(understanding, so_far.pending or so_far.early)
        finally:
            self._is_considered.close()

    async def _take_pause(self, tools: HearingTools, so_far: _SoFar, mark: PauseMark) -> None:
        so_far.mark, so_far.silence_s = mark, 0.0
        if mark.began:
            guess, so_far.early = await self._guess(tools, so_far.early), None
            understanding = await self._consider(tools)
            so_far.understanding, so_far.pending = self._foresee(tools, mark, understanding, guess)
        elif so_far.understanding is not None:
            self._discard(tools, so_far.pending, _WENT_ON)
            so_far.understanding = so_far.pending = None
            for chunk in so_far.held:
                await self._accept(tools, chunk)
            so_far.held.clear()

    async def _take_audio(self, tools: HearingTools, so_far: _SoFar, frame: AudioChunk) -> None:
        if so_far.understanding is not None and so_far.understanding.transcript.final:
            so_far.held.append(frame)  # silence after a preview; the recognizer gets it if somebody goes on
            return
        chunk = self._coalesced(frame)
        is_other = await self._accept(tools, chunk)
        if so_far.understanding is None:
            so_far.quiet_left_s -= chunk.duration_s
            # Half a frame of tolerance: sums of 0.02 are not exact.
            if is_other and so_far.quiet_left_s > -FRAME_S / 2:  # the last word is often another one at first
                so_far.early = await self._guess(tools, so_far.early, only_fixed=True)
            elif is_other:
                self._discard(tools, so_far.early, _WENT_ON)
                so_far.early = None
            return
        was_short = so_far.silence_s < _THOROUGH_S
        so_far.silence_s += chunk.duration_s
        sure = await self._make_sure(tools) if was_short and so_far.silence_s >= _THOROUGH_S else None
        if sure is not None or is_other:
            # The last words come out of the recognizer while the pause goes on already.
            words = sure or self._partial or Transcript("", final=False)
            so_far.understanding, so_far.pending = await self._reconsider(tools, so_far.mark, so_far.pending, words)

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
        """Join a frame with those that wait behind it, up to where the speaker fell silent or paused."""
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

    async def _guess(
        self, tools: HearingTools, early: PendingReply | None, *, only_fixed: bool = False
    ) -> PendingReply | None:
        """Begin to answer the newest partial transcript while the preview, which takes longer, is still made.

        Mostly both say the same, and then the reply is ready when the preview is. What was begun `early` goes on where
        this would be the same, or nothing. `only_fixed` begins only what is known to the word, as what an intent says
        is: it costs the voice alone.
        """
        heard = self._partial
        if heard is None or not heard.text or not tools.reasoner.foresees:
            return early
        if self._guessed is None or self._guessed.transcript is not heard:
            self._guessed = await tools.reasoner.understand(heard, before=tools.before())
        answer = tools.reasoner.foresee(self._guessed)
        if answer is None or (only_fixed and answer.text is None):
            return early
        if early is not None and answer.is_as(early.answer) and not early.has_failed:
            return early
        self._discard(tools, early, _OTHER_WORDS)
        return tools.begin_reply(answer)

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
            self._discard(tools, guess, _OTHER_WORDS)
        return meant or understanding, None if answer is None else tools.begin_reply(answer)

    def _discard(self, tools: HearingTools, reply: PendingReply | None, why: str) -> None:
        if reply is not None:
            reply.discard()
            tools.note("speculation", reply.began_at, tools.now(), f"thrown away: {why}")


def _reading(transcript: Transcript) -> str:
    rejected = f" ({transcript.doubtful!r} was rejected)" if transcript.doubtful else ""
    return f"{transcript.text!r}{rejected}"
