"""A conversation on the virtual stage: its runner and ears, people who ask by number, answers that tell the number."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from doubles import ScriptedModel, lend
from virtual_stage import EagerVad, MindReader, Person, VirtualSpeaker, VirtualStation

from edge_agent.audio import HEAR_RATE_HZ, AudioChunk
from edge_agent.config.audio import ActivationConfig, EndpointConfig, InterruptionConfig
from edge_agent.events import Completeness, Transcript
from edge_agent.pipeline.answering import Understanding
from edge_agent.pipeline.calling import Toolset
from edge_agent.pipeline.ears import Ears
from edge_agent.pipeline.observer import SilentObserver
from edge_agent.pipeline.report import TurnReport
from edge_agent.pipeline.respond import FixedTexts, Responder
from edge_agent.pipeline.run import Runner
from edge_agent.pipeline.stages import Stages
from edge_agent.pipeline.turn import Conversation, Mode
from edge_agent.reason.actions import Reply
from edge_agent.reason.history import History
from edge_agent.reason.llm import ChatMessage
from edge_agent.reason.matcher import IntentMatch
from edge_agent.runtime.metrics import Metrics
from edge_agent.speak.sink import AudioSink

PROMPT_STEPS = 6
SENTENCES = 4
WORDS = 6
WORD_S = 0.3
SOUNDS = frozenset({"", "mhm"})
"""A listener's: they do not interrupt."""


class RememberingModel(ScriptedModel):
    """Answers the n-th question with sentences about n, after some steps of reading the prompt.

    Attributes:
        shown: The texts of each chat.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[list[str]] = []

    def generate(
        self, messages: Sequence[ChatMessage], *, most_tokens: int | None = None, call_grammar: str | None = None
    ) -> Generator[str, None, None]:
        """Remember what it is shown, and answer."""
        self.shown.append([message.content for message in messages])
        yield from super().generate(messages, most_tokens=most_tokens, call_grammar=call_grammar)

    def say(self, question: str) -> Generator[str, None, None]:
        """Say the question's number again and again."""
        number = question.rsplit(maxsplit=1)[-1]
        yield from [""] * PROMPT_STEPS
        for sentence in range(SENTENCES):
            for word in range(WORDS):
                end = "." if word == WORDS - 1 else ""
                yield f" n{number}s{sentence}w{word}{end}" + ("\n" if end else "")


class NumberSynthesizer:
    """Renders a word in 0.3 s; each sample's value is the number of the question that is answered."""

    name = "numbers"
    most_threads: int | None = 1

    def load(self) -> None:
        """Nothing to load."""

    def synthesize(self, sentence: str) -> Generator[AudioChunk, None, None]:
        """Render word by word."""
        for word in sentence.split():
            number = int(word[1:].split("s")[0])
            yield AudioChunk(number.to_bytes(2, "little") * round(WORD_S * HEAR_RATE_HZ), HEAR_RATE_HZ)

    def stop(self, job: Generator[AudioChunk, None, None] | None = None) -> None:
        """Steps are short."""

    def close(self) -> None:
        """Nothing to free."""


class WordMatcher:
    """Knows some sentences, and the intent of each."""

    def __init__(self, **intents: str) -> None:
        self._intents = {sentence: intent for intent, sentence in intents.items()}

    def match(self, readings: Sequence[str], *, forgiving: bool = True, asked: str | None = None) -> IntentMatch | None:
        """Find the first reading that is one of the sentences."""
        for reading in readings:
            if reading in self._intents:
                return IntentMatch(self._intents[reading], {}, reading, reading, 0)
        return None


class NotingActor:
    """Gives one reply to everything.

    Attributes:
        done: The sentences that were carried out.
    """

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.done: list[str] = []

    def perform(self, match: IntentMatch) -> Reply:
        """Write down."""
        self.done.append(match.reading)
        return self._reply


class ScriptedJudge:
    """Judges final transcripts as the script says, and each partial one to be unfinished."""

    def __init__(self, *verdicts: Completeness) -> None:
        self._verdicts = list(verdicts)

    def judge(self, transcript: Transcript, asked: str | None = None) -> Completeness:
        """Follow the script; its last verdict holds on."""
        if not transcript.final:
            return Completeness.UNFINISHED
        return self._verdicts.pop(0) if len(self._verdicts) > 1 else self._verdicts[0]


def costs(kind: str) -> float:
    """How long a step takes, in virtual seconds: a slow board's."""
    return {"llm.answer": 0.05, "tts.sentence": 0.08, "asr.preview": 0.1, "asr.finish": 0.1}.get(kind, 0.002)


def listens(understanding: Understanding, spoke_s: float) -> Understanding | None:
    """Tell real words from a listener's sounds."""
    return None if understanding.transcript.text in SOUNDS else understanding


@dataclass
class Props:
    """What a scene is played with; all of it usual unless a test says otherwise.

    Attributes:
        by: What may interrupt an answer.
        step_s: What a step of each kind takes.
        actor: What carries out intents and calls.
        open_speaker: Gives a turn the speaker; None: at once.
        room_level: How loud what was played is, while no turn has the speaker.
        unclear: What is said to what was not understood; empty: nothing.
    """

    by: str = "speech"
    mode: Mode = "always"
    model: RememberingModel = field(default_factory=RememberingModel)
    reader: MindReader = field(default_factory=MindReader)
    speaker: VirtualSpeaker = field(default_factory=VirtualSpeaker)
    step_s: Callable[[str], float] = costs
    matcher: WordMatcher = field(default_factory=WordMatcher)
    actor: NotingActor = field(default_factory=lambda: NotingActor(Reply("")))
    judge: ScriptedJudge | None = None
    tools: Toolset | None = None
    interrupts: Callable[[Understanding, float], Understanding | None] = listens
    open_speaker: Callable[[int], AbstractAsyncContextManager[tuple[AudioSink, Path | None]]] | None = None
    room_level: Callable[[float], float] = lambda _: 0.0
    follow_up: bool = False
    unclear: str = ""


@dataclass
class Scene(SilentObserver):
    """A conversation in virtual time."""

    runner: Runner
    ears: Ears
    speaker: VirtualSpeaker
    history: History
    model: RememberingModel
    reports: list[TurnReport] = field(default_factory=list)

    def turn_ended(self, report: TurnReport) -> None:
        """Keep it."""
        self.reports.append(report)

    async def speaking(self, number: int) -> None:
        """Wait until the answer to a question sounds; fail where it never does."""
        for _ in range(1000):
            if number in self.sounded:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{number} is never answered")

    @property
    def sounded(self) -> set[int]:
        """The numbers of the questions of whose answers something was played."""
        return {sound.value for sound in self.speaker.close_book()}


@asynccontextmanager
async def virtual_scene(
    script: Callable[[Scene, Person], Awaitable[None]], props: Props | None = None
) -> AsyncIterator[tuple[Scene, Person]]:
    """Set the scene, with a person in it who follows the script."""
    props = props or Props()
    speaker, history = props.speaker, History(8)
    llm, tts, asr, match = (VirtualStation(props.step_s) for _ in range(4))
    responder = Responder(
        props.matcher,  # type: ignore[arg-type]
        props.actor,  # type: ignore[arg-type]
        history,
        FixedTexts("none", props.unclear, "strained", "loading"),
        match_station=match,  # type: ignore[arg-type]
        model=props.model,
        model_station=llm,  # type: ignore[arg-type]
        system_prompt="Count.",
        most_tokens=100,
        publisher=None,  # type: ignore[arg-type]
        answers_the_unclear=bool(props.unclear),
        judge=props.judge,  # type: ignore[arg-type]
        tools=props.tools,
        speculates=True,
        monotonic=asyncio.get_running_loop().time,
    )
    stages = Stages(
        props.reader,
        asr,  # type: ignore[arg-type]
        responder,
        NumberSynthesizer(),
        tts,  # type: ignore[arg-type]
        props.open_speaker or lend(speaker),  # type: ignore[arg-type]
        recent_level=props.room_level,
        interrupts=props.interrupts,
        is_backchannel=lambda words: words in SOUNDS,
        follow_up=props.follow_up,
    )
    observer = SilentObserver()
    runner = Runner(stages, Conversation.begin(props.mode), observer, Metrics(asyncio.get_running_loop().time))
    interruption = InterruptionConfig.model_validate({"by": props.by})
    ears = Ears(runner, EagerVad(), EndpointConfig(), ActivationConfig(), interruption)
    scene = Scene(runner, ears, speaker, history, props.model)
    observer.turn_ended = scene.turn_ended  # type: ignore[method-assign]
    person = Person(speaker, lambda who: script(scene, who))
    props.reader.person = person
    async with runner:
        yield scene, person
