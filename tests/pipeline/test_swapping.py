"""Engines and settings are replaced while a conversation goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager
from dataclasses import replace

from doubles import (
    CountingSynthesizer,
    DiagramSource,
    HeldSpeaker,
    MarkedVad,
    Notebook,
    ScriptedRecognizer,
    ScriptedResponder,
    heard,
    lend,
    until,
)

from edge_agent.audio import AudioChunk
from edge_agent.config.audio import ActivationConfig, EndpointConfig, InterruptionConfig
from edge_agent.pipeline.commands import State
from edge_agent.pipeline.ears import Ears
from edge_agent.pipeline.run import Runner
from edge_agent.pipeline.stages import Stages
from edge_agent.pipeline.turn import Conversation
from edge_agent.runtime.pool import Pool
from edge_agent.runtime.pools import Station


class NamedVoice(CountingSynthesizer):
    """Counts the sentences that it renders."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences: list[str] = []

    def synthesize(self, sentence: str) -> Generator[AudioChunk, None, None]:
        """Write down."""
        self.sentences.append(sentence)
        yield from super().synthesize(sentence)


@asynccontextmanager
async def talk(stages: Stages) -> AsyncIterator[tuple[Runner, Ears, Notebook]]:
    """Converse on doubles."""
    notebook = Notebook()
    async with Runner(stages, Conversation.begin("always"), notebook) as runner:
        yield runner, Ears(runner, MarkedVad(), EndpointConfig(), ActivationConfig(), InterruptionConfig()), notebook


@asynccontextmanager
async def stages_of(
    recognizer: ScriptedRecognizer, responder: ScriptedResponder, voice: NamedVoice, speaker: HeldSpeaker
) -> AsyncIterator[Stages]:
    """Give the stages their pools."""
    asr, tts = Pool("asr"), Pool("tts")
    try:
        yield Stages(recognizer, Station(asr), responder, voice, Station(tts), lend(speaker))  # type: ignore[arg-type]
    finally:
        await asr.close()
        await tts.close()


async def test_an_answer_begun_in_another_voice_is_begun_anew() -> None:
    """It was rendered ahead in the pause; then the voice was replaced: nothing of the old one is heard."""
    recognizer, old, new = ScriptedRecognizer(*heard("hello")), NamedVoice(), NamedVoice()
    async with (
        stages_of(recognizer, ScriptedResponder(["Good morning."], foresees=True), old, HeldSpeaker()) as stages,
        talk(stages) as (runner, ears, notebook),
    ):

        async def swap() -> None:
            await until(lambda: old.sentences)
            runner.stages = replace(stages, synthesizer=new)

        await ears.listen(DiagramSource("." * 10 + "#" * 40 + "." * 15, swap, "." * 40), patient=True)
        assert notebook.turns[0].reply == "Good morning."
    assert (old.sentences, new.sentences) == (["Good morning."], ["Good morning."])
    assert notebook.faults == []


async def test_a_turn_keeps_the_recognizer_that_it_began_with() -> None:
    """The next one has the other; the first is not needed any more once `settled` returns."""
    first, second = ScriptedRecognizer(*heard("one")), ScriptedRecognizer(*heard("two"))
    async with (
        stages_of(first, ScriptedResponder(["Yes."], ["No."]), NamedVoice(), HeldSpeaker(held=True)) as stages,
        talk(stages) as (runner, ears, notebook),
    ):

        def swap() -> None:
            runner.stages = replace(stages, recognizer=second)

        await runner.settled()  # no turn: at once
        listening = asyncio.create_task(
            ears.listen(DiagramSource("." * 10 + "#" * 20, swap, "#" * 20 + "." * 40), patient=True)
        )
        await until(lambda: runner.state is State.SPEAKING)
        settling = asyncio.create_task(runner.settled())
        await asyncio.sleep(0.01)
        assert not settling.done()
        speaker = HeldSpeaker()
        runner.stages = replace(runner.stages, open_speaker=lend(speaker))  # type: ignore[arg-type]
        runner.interrupt("test")
        await settling
        await listening
        await ears.listen(DiagramSource("." * 10 + "#" * 40 + "." * 40), patient=True)
        assert [turn.heard for turn in notebook.turns] == ["one", "two"]
    assert (len(first.samples), len(second.samples)) == (1, 1)


async def test_ears_are_set_anew_between_turns() -> None:
    """Another silence ends an utterance from then on; every frame is counted."""
    recognizer = ScriptedRecognizer(*heard("one", "two"))
    quick = EndpointConfig(adaptive=False, hang_over_s=0.2)
    slow = EndpointConfig(adaptive=False, hang_over_s=1.0)
    async with (
        stages_of(recognizer, ScriptedResponder(None, None), NamedVoice(), HeldSpeaker()) as stages,
        talk(stages) as (_, ears, notebook),
    ):
        utterance = "." * 10 + "#" * 40 + "." * 60
        for config in (quick, slow):
            ears.configure(MarkedVad(), config, ActivationConfig(), InterruptionConfig())
            await ears.listen(DiagramSource(utterance), patient=True)
        silences = [round(turn.endpoint.silence_s, 2) for turn in notebook.turns if turn.endpoint is not None]
        assert silences == [0.2, 1.0]
        assert ears.frames_heard == 2 * len(utterance)
