"""The agent's own pipeline with its real engines, in a room that speaks and listens on the clock."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from edge_agent.app.brain import RememberedVolume, open_brain
from edge_agent.app.chores import Chores
from edge_agent.app.core import open_core
from edge_agent.app.places import find_places
from edge_agent.app.voice import open_voice
from edge_agent.bench.room_source import RoomSource
from edge_agent.bench.room_speaker import RoomSpeaker
from edge_agent.errors import EngineError
from edge_agent.pipeline.commands import State
from edge_agent.pipeline.observer import Observers, SilentObserver
from edge_agent.runtime.pool import Priority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from edge_agent.app.brain import Brain
    from edge_agent.app.core import Core
    from edge_agent.app.mouth import Mouth
    from edge_agent.app.places import Places
    from edge_agent.app.voice import Voice
    from edge_agent.audio import AudioChunk
    from edge_agent.bench.pause_speech import Clip
    from edge_agent.bench.room_source import Speech
    from edge_agent.config.schema import Config
    from edge_agent.pipeline.observer import Observer
    from edge_agent.pipeline.report import TurnReport
    from edge_agent.reason.llm import ChatMessage, PromptCost

CLAUSE_TOKENS = 12
PLAYED_LEVEL = 0.1
"""-20 dB of full scale, as loud as speech is mastered: random weights speak noise of any level."""
_SLOTS = (
    ("The", "Our", "Her", "His"),
    ("light", "clock", "radio", "phone"),
    ("in the", "by our", "at the", "on her"),
    ("house", "attic", "store", "hotel"),
    ("shows", "gives", "takes", "keeps"),
    ("seven", "three", "eight", "forty"),
    ("hours", "miles", "cards", "notes"),
    ("today", "again", "later", "daily"),
)
"""Nine words, which trained vocabularies have some twelve tokens for; whatever is chosen is equally long."""
_ANSWER_S = 120.0
"""The longest that a turn may take from its last word to the end of its answer."""
PAUSE_S = 0.3
"""Between an answer and the next question."""
_UNHEARD_S = 2.5
"""After the last word: an utterance has been called finished by then, or none was heard."""
_IDLE_S = 20.0
_LOOKS_S = 0.05


def clauses(seed: int = 1) -> Iterator[str]:
    """Yield clauses of the same length that hardly ever repeat: the phrase cache must not know them."""
    chance = random.Random(seed)  # noqa: S311 - words
    while True:
        yield " ".join(chance.choice(slot) for slot in _SLOTS) + "."


class FixedCutter:
    """Speaks a clause once the model has made twelve tokens: random weights make none that can be spoken.

    What it says is not what the model wrote, and as long as what twelve tokens of a trained model would be.
    """

    def __init__(self, source: Iterator[str], sentences: int = 1, tokens: int = CLAUSE_TOKENS) -> None:
        self._source = source
        self._left = sentences
        self._tokens = tokens
        self._count = 0

    def feed(self, delta: str) -> list[str]:
        """Count a token; the empty deltas while the prompt is evaluated are none."""
        if not delta and not self._count:
            return []
        self._count += 1
        return self._say() if self._count % self._tokens == 0 else []

    def flush(self) -> list[str]:
        """Say what is left of an answer that has ended early."""
        return self._say() if 0 < self._count < self._tokens else []

    def _say(self) -> list[str]:
        if not self._left:
            return []
        self._left -= 1
        return [next(self._source)]


@dataclass(slots=True)
class Ended:
    """A turn that is over."""

    report: TurnReport
    at: float
    cost: PromptCost | None


@dataclass(slots=True)
class TurnLog(SilentObserver):
    """Notes when what happened, by `time.perf_counter()`.

    Attributes:
        decided_at: The last utterance was called finished.
        ended: Turns that are over, oldest first; whoever reads them takes them out.
        faults: What failed.
        changed: Set at each change of the state.
    """

    brain: Brain | None = None
    decided_at: float = 0.0
    ended: list[Ended] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def state_changed(self, state: State, *, muted: bool) -> None:
        """Note the endpoint."""
        self.changed.set()
        if state is State.THINKING:
            self.decided_at = time.perf_counter()

    def turn_ended(self, report: TurnReport) -> None:
        """Keep the report, and what the model's prompt cost."""
        model = None if self.brain is None else self.brain.model
        self.ended.append(Ended(report, time.perf_counter(), None if model is None else model.prompt_cost))

    def fault(self, message: str) -> None:
        """Keep it."""
        self.faults.append(message)


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question and what became of it. Times are `time.perf_counter()`.

    Attributes:
        speech: When it was said.
        decided_at: Its endpoint.
        handed_at: The answer's first sample was handed to the speaker; None where nothing was said.
        opening: What the model's chat began with before it.
        audio: What the recognizer heard.
        is_whole: It was heard as one utterance, that ended after its last sound.
    """

    clip: Clip
    speech: Speech
    report: TurnReport
    decided_at: float
    handed_at: float | None
    cost: PromptCost | None
    opening: tuple[ChatMessage, ...]
    audio: tuple[AudioChunk, ...]
    is_whole: bool

    @property
    def first_audio_s(self) -> float | None:
        """From the true end of speech to the first sample at the speaker."""
        return None if self.handed_at is None else self.handed_at - self.speech.ends_at

    @property
    def after_endpoint_s(self) -> float | None:
        """From the endpoint to the first sample at the speaker."""
        return None if self.handed_at is None else self.handed_at - self.decided_at


class _RoomMouth:
    """What the pipeline asks of the speaker between turns."""

    def __init__(self, speaker: RoomSpeaker) -> None:
        self.play = speaker.play
        self.recent_level = speaker.recent_level


@dataclass(frozen=True, slots=True)
class Rig:
    """The agent in its room."""

    core: Core
    brain: Brain
    voice: Voice
    log: TurnLog
    source: RoomSource
    speaker: RoomSpeaker
    heard: dict[int, list[AudioChunk]]

    async def ask(self, clip: Clip, *, after_s: float = PAUSE_S) -> Exchange | None:
        """Say `clip` after a pause, and let it be answered to the end; None where nothing was heard.

        Raises:
            EngineError: Something failed, or the turn does not end.
        """
        await asyncio.sleep(after_s)
        self.log.ended.clear()
        opening = self.brain.responder.opening()
        speech = await self.source.say(clip)
        await asyncio.sleep(max(0.0, speech.ends_at - time.perf_counter()))
        await self.answered(speech)
        exchange = self._exchange(clip, speech, opening)
        for ended in self.log.ended:
            self.speaker.forget(ended.report.turn)
        self.heard.clear()
        return exchange

    async def answered(self, speech: Speech) -> None:
        """Wait until no turn is going on, once what was said has been taken for finished.

        Raises:
            EngineError: That does not happen.
        """
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self._taken(speech)
                await self.voice.runner.rested()
        except TimeoutError as error:
            raise EngineError("conversation", f"a turn has not ended within {_ANSWER_S:.0f} s") from error
        if self.log.faults:
            raise EngineError("conversation", self.log.faults[0])

    async def idle(self) -> None:
        """Let the agent do its idle work, at once: it would begin two seconds after the turn, when nobody goes on."""
        for _ in range(round(_IDLE_S / _LOOKS_S)):
            tasks = self.core.scheduler.statistics()
            if not (tasks.ready or tasks.ready_idle or tasks.running):
                break
            await asyncio.sleep(_LOOKS_S)
        model, opening = self.brain.model, self.brain.responder.opening()
        if model is None:
            return
        system = tuple(message for message in opening if message.role == "system")
        for messages in (system, opening):
            job = model.warm(messages)
            steps = self.core.llm.steps(job, kind="llm.warm", priority=Priority.LOW, stop=partial(model.stop, job))
            async with aclosing(steps) as running:
                async for _ in running:
                    pass

    async def _taken(self, speech: Speech) -> None:
        """Wait until all that was said is being answered or has been, or nothing will come of it any more."""
        left_s = speech.ends_at + _UNHEARD_S - time.perf_counter()
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, left_s)):
                while self.voice.runner.state is State.LISTENING and self.log.decided_at <= speech.ends_at:
                    self.log.changed.clear()
                    await self.log.changed.wait()

    def _exchange(self, clip: Clip, speech: Speech, opening: tuple[ChatMessage, ...]) -> Exchange | None:
        if not self.log.ended:
            return None
        last = self.log.ended[-1]
        decided_at = self.log.decided_at
        return Exchange(
            clip,
            speech,
            last.report,
            decided_at,
            self.speaker.of_turn(last.report.turn).handed_at,
            last.cost if last.report.source == "llm" else None,
            opening,
            tuple(self.heard.get(last.report.turn, ())),
            is_whole=len(self.log.ended) == 1 and decided_at > speech.ends_at,
        )


@asynccontextmanager
async def open_rig(
    config: Config, *, sentences: int = 1, speed: float = 1.0, seed: int = 1, watching: Observer | None = None
) -> AsyncIterator[Rig]:
    """Load everything, listen to the room, and wait until the agent has done its idle work.

    Args:
        config: With the models to use.
        sentences: Of an answer of the language model.
        speed: How fast the speaker plays.
        seed: Of words and noise.
        watching: Another observer of the conversation.

    Raises:
        EdgeAgentError: An engine or its model is missing.
    """
    words = clauses(seed)
    speaker = RoomSpeaker(level=PLAYED_LEVEL, speed=speed)
    source = RoomSource(speaker, seed)
    log = TurnLog()
    heard: dict[int, list[AudioChunk]] = {}
    async with (
        _own_cache(config) as places,
        open_core(config) as core,
        open_brain(
            config,
            places,
            core,
            volume=RememberedVolume(config.audio.volume),
            make_cutter=lambda: FixedCutter(words, sentences),
        ) as brain,
    ):
        log.brain = brain
        chores = Chores(core, brain, keep_prefix=config.llm.keep_prefix)
        async with open_voice(
            config,
            places,
            core,
            brain,
            observer=Observers(log, chores) if watching is None else Observers(log, chores, watching),
            open_speaker=speaker.for_turn,
            mouth=cast("Mouth", _RoomMouth(speaker)),
            on_utterance=lambda turn_id, frame: heard.setdefault(turn_id, []).append(frame),
        ) as voice:
            listening = asyncio.create_task(voice.ears.listen(source, patient=False), name="bench.listen")
            try:
                chores.render_fixed(voice)
                rig = Rig(core, brain, voice, log, source, speaker, heard)
                await rig.idle()
                yield rig
            finally:
                listening.cancel()
                await asyncio.wait({listening})
                core.scheduler.preempt_idle()


@asynccontextmanager
async def _own_cache(config: Config) -> AsyncIterator[Places]:
    """Give the agent an empty cache: what it has rendered or evaluated before must not help it."""
    places = await asyncio.to_thread(find_places, config.directories)
    making = await asyncio.to_thread(partial(tempfile.TemporaryDirectory, prefix="agent-", dir=places.cache))
    try:
        yield replace(places, cache=Path(making.name))
    finally:
        await asyncio.to_thread(making.cleanup)


def is_model_turn(exchange: Exchange | None) -> bool:
    """Tell whether it is a whole question that the language model answered."""
    return (
        exchange is not None
        and exchange.is_whole
        and exchange.report.source == "llm"
        and exchange.handed_at is not None
    )


def is_intent_turn(exchange: Exchange | None) -> bool:
    """Tell whether it is a whole command that an intent answered aloud."""
    return (
        exchange is not None
        and exchange.is_whole
        and exchange.report.source == "intent"
        and exchange.handed_at is not None
    )


def changed(config: Config, **sections: dict[str, object]) -> Config:
    """Return a copy with some settings of some sections changed."""
    return config.model_copy(
        update={name: getattr(config, name).model_copy(update=values) for name, values in sections.items()}
    )
