"""The runner and the ears together, on scripted people and engines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import pytest
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
from edge_agent.errors import RecognitionError
from edge_agent.events import EndpointReason, Transcript
from edge_agent.hear.endpoint import PAUSE_S, QUIET_S
from edge_agent.pipeline.answering import Answer, Chunked, Understanding
from edge_agent.pipeline.commands import State
from edge_agent.pipeline.ears import Ears
from edge_agent.pipeline.hearing import LONGEST_CALL_S
from edge_agent.pipeline.observer import Observers
from edge_agent.pipeline.report import TurnReport
from edge_agent.pipeline.run import Runner
from edge_agent.pipeline.stages import Stages
from edge_agent.pipeline.turn import Conversation, Mode
from edge_agent.reason.llm import ChatMessage
from edge_agent.runtime.pool import Pool
from edge_agent.runtime.pools import Station

UTTERANCE = "." * 10 + "#" * 40 + "." * 40
LAST_SOUND = 50 * 320
"""Samples from the utterance's beginning, all of it pre-roll and speech, to the end of `UTTERANCE`'s last sound."""


@dataclass
class Scene:
    """A conversation on doubles."""

    runner: Runner
    ears: Ears
    notebook: Notebook
    recognizer: ScriptedRecognizer
    responder: ScriptedResponder
    synthesizer: CountingSynthesizer
    speaker: HeldSpeaker

    async def hear(self, *parts: object) -> None:
        """Let the agent hear a diagram to its end."""
        await self.ears.listen(DiagramSource(*parts), patient=True)  # type: ignore[arg-type]


@asynccontextmanager
async def scene(
    recognizer: ScriptedRecognizer,
    responder: ScriptedResponder,
    *,
    mode: Mode = "always",
    held: bool = False,
    fail_on: str = "",
    longest_hearing_s: float = LONGEST_CALL_S,
) -> AsyncIterator[Scene]:
    """Set the scene; leaving asserts that no task is left."""
    before = asyncio.all_tasks()
    notebook, speaker, synthesizer = Notebook(), HeldSpeaker(held=held), CountingSynthesizer(fail_on)
    asr, tts = Pool("asr"), Pool("tts")
    stages = Stages(
        recognizer,
        Station(asr),
        responder,
        synthesizer,
        Station(tts),
        lend(speaker),  # type: ignore[arg-type]
        longest_hearing_s=longest_hearing_s,
    )
    try:
        async with Runner(stages, Conversation.begin(mode), notebook) as runner:
            ears = Ears(runner, MarkedVad(), EndpointConfig(), ActivationConfig(), InterruptionConfig())
            yield Scene(runner, ears, notebook, recognizer, responder, synthesizer, speaker)
    finally:
        await asr.close()
        await tts.close()
    assert asyncio.all_tasks() == before


async def test_a_recording_becomes_an_answered_turn() -> None:
    """Heard, answered sentence by sentence, played out; the report and the states tell it all."""
    async with scene(ScriptedRecognizer(*heard("what time is it")), ScriptedResponder(["It is noon.", "Bye."])) as it:
        await it.hear(UTTERANCE)
    (turn,) = it.notebook.turns
    assert (turn.turn, turn.heard, turn.reply, turn.source) == (1, "what time is it", "It is noon. Bye.", "llm")
    assert turn.endpoint is not None
    assert turn.endpoint.reason is EndpointReason.SILENCE
    assert it.notebook.states == [
        State.LISTENING,
        State.HEARING,
        State.THINKING,
        State.SPEAKING,
        State.LISTENING,
    ]
    assert it.synthesizer.rendered == ["It", "is", "noon.", "Bye."]
    assert it.responder.remembered == [("what time is it", "It is noon. Bye.")]
    assert it.notebook.partials


async def test_the_source_rests_while_nobody_is_heard() -> None:
    """From the first frame, with breaks for the utterances."""
    async with scene(ScriptedRecognizer(*heard("one", "two")), ScriptedResponder(None, None)) as it:
        source = DiagramSource(UTTERANCE * 2)
        await it.ears.listen(source, patient=True)
    assert source.rests == [True, False, True, False, True]


async def test_the_recognizer_gets_the_whole_utterance_with_pre_roll() -> None:
    """Pre-roll and speech up to the pause in which it ended, gapless; more silence would tell it nothing."""
    async with scene(ScriptedRecognizer(*heard("yes")), ScriptedResponder(None)) as it:
        await it.hear("." * 50 + "#" * 40 + "." * 40)
    (turn,) = it.notebook.turns
    assert turn.endpoint is not None
    assert it.recognizer.samples == [round((turn.endpoint.speech_end_s + PAUSE_S) * 16000)]
    assert (it.recognizer.previews, it.recognizer.finishes) == (1, 0)


async def test_timings_follow_the_audio_under_fast() -> None:
    """Times are audio time up to the endpoint, then measured; playing counts its length though nobody waited."""
    async with scene(ScriptedRecognizer(*heard("yes")), ScriptedResponder(["one two three four five"])) as it:
        await it.hear(UTTERANCE)
    timings = it.notebook.turns[0].timings
    assert None not in (timings.speech_end_s, timings.endpoint_s, timings.asr_s, timings.first_token_s)
    assert timings.endpoint_s == pytest.approx(timings.speech_end_s + 0.6)  # type: ignore[operator]
    assert timings.endpoint_s < timings.first_token_s < timings.first_audio_s < timings.done_s  # type: ignore[operator]
    assert timings.done_s >= timings.first_audio_s + 0.5 - 1e-6  # type: ignore[operator]


async def test_several_utterances_are_several_turns() -> None:
    """A recording waits while the agent answers, so nothing of it is lost."""
    async with scene(
        ScriptedRecognizer(*heard("one", "two", "three")), ScriptedResponder(["a."], ["b."], ["c."])
    ) as it:
        await it.hear(UTTERANCE * 3)
    assert [(turn.turn, turn.heard) for turn in it.notebook.turns] == [(1, "one"), (2, "two"), (3, "three")]


async def test_an_open_utterance_ends_with_the_recording() -> None:
    """Speech up to the last frame is answered, and the reason says why it ended."""
    async with scene(ScriptedRecognizer(*heard("yes")), ScriptedResponder(["ok."])) as it:
        await it.hear("." * 10 + "#" * 40)
    (turn,) = it.notebook.turns
    assert turn.endpoint is not None
    assert turn.endpoint.reason is EndpointReason.END_OF_INPUT


async def test_silence_and_clicks_make_no_turn() -> None:
    """No speech, no report."""
    async with scene(ScriptedRecognizer(), ScriptedResponder()) as it:
        await it.hear("." * 200, "#..", "." * 100)
    assert it.notebook.turns == []


async def test_a_turn_without_words_says_nothing() -> None:
    """Noise that is not understood is reported and not answered."""
    async with scene(ScriptedRecognizer(Transcript("", confidence=0.1)), ScriptedResponder(None)) as it:
        await it.hear(UTTERANCE)
    (turn,) = it.notebook.turns
    assert (turn.heard, turn.reply, turn.source) == ("", None, "none")
    assert State.SPEAKING not in it.notebook.states


async def test_a_broken_engine_costs_its_turn_only() -> None:
    """The fault is reported in one line, and the next utterance is answered."""
    script: list[Transcript | Exception] = [RecognitionError("scripted", "died"), *heard("again")]
    async with scene(ScriptedRecognizer(*script), ScriptedResponder(["fine."])) as it:
        await it.hear(UTTERANCE * 2)
    assert it.notebook.faults == ["scripted: died"]
    assert [turn.heard for turn in it.notebook.turns] == [None, "again"]


async def test_a_sentence_that_cannot_be_rendered_costs_its_turn_only() -> None:
    """What was said before it is kept; the conversation goes on."""
    recognizer = ScriptedRecognizer(*heard("one", "two"))
    async with scene(recognizer, ScriptedResponder(["fine. bad now."], ["good."]), fail_on="bad") as it:
        await it.hear(UTTERANCE * 2)
    assert len(it.notebook.faults) == 1
    assert "scripted" in it.notebook.faults[0]
    assert it.notebook.turns[1].reply == "good."


async def test_push_to_talk_ends_with_the_button() -> None:
    """Pressed: heard, pauses and all; released: answered."""
    async with scene(ScriptedRecognizer(*heard("yes")), ScriptedResponder(["ok."]), mode="button") as it:
        await it.hear(UTTERANCE, it.ears.press, "." * 60 + "#" * 20 + "." * 60, it.ears.release, "." * 5)
    (turn,) = it.notebook.turns
    assert turn.endpoint is not None
    assert turn.endpoint.reason is EndpointReason.BUTTON
    assert turn.endpoint.decided_s == pytest.approx(140 * 0.02)
    assert it.runner.state is State.IDLE


async def test_the_button_stops_an_answer_and_only_what_was_heard_is_remembered() -> None:
    """Two sentences are pending, the first was played: silence at once, and the history keeps the first alone."""
    recognizer = ScriptedRecognizer(*heard("tell me", ""))
    answers = ScriptedResponder(["one two.", "three four."], None)
    async with scene(recognizer, answers, mode="button", held=True) as it:
        it.ears.press()
        listening = asyncio.create_task(it.hear("#" * 20, it.ears.release, "." * 5))
        await until(lambda: it.speaker.pending_s >= 0.4 - 1e-6)
        it.speaker.play(0.2)
        it.ears.press()
        assert it.speaker.flushed == 1
        await listening
    assert it.speaker.pending == []
    assert [turn.interrupted for turn in it.notebook.turns] == [True, False]
    assert it.responder.remembered == [("tell me", "one two.")]


async def test_a_long_sentence_with_the_button_down_is_no_hold() -> None:
    """Held, but speaking: it is heard to its end, and nothing is muted."""
    async with scene(ScriptedRecognizer(*heard("yes")), ScriptedResponder(["ok."]), mode="button") as it:
        await it.hear(it.ears.press, "#" * 60, it.ears.hold, "#" * 40, it.ears.release, "." * 5)
    (turn,) = it.notebook.turns
    assert (turn.heard, it.runner.muted) == ("yes", False)


async def test_holding_the_button_in_silence_takes_the_turn_back_and_mutes() -> None:
    """The press began to listen; the hold mutes, and letting go then means nothing."""
    async with scene(ScriptedRecognizer(), ScriptedResponder(), mode="button") as it:
        await it.hear(it.ears.press, "." * 100, it.ears.hold, "." * 10, it.ears.release, UTTERANCE)
        assert it.runner.muted
    assert it.notebook.turns == []


async def test_holding_the_button_mutes_the_microphone() -> None:
    """Muted, speech makes no turn; unmuted, it does again."""
    async with scene(ScriptedRecognizer(*heard("yes")), ScriptedResponder(["ok."])) as it:
        await it.hear(it.ears.hold, UTTERANCE, it.ears.hold, UTTERANCE)
    assert len(it.notebook.turns) == 1


async def test_an_announcement_waits_for_the_turn_that_goes_on() -> None:
    """A timer that rings while someone speaks is announced after the answer."""
    async with scene(ScriptedRecognizer(*heard("yes")), ScriptedResponder(["ok."])) as it:
        await it.hear("." * 10 + "#" * 20, lambda: it.runner.announce("Ding dong."), "#" * 20 + "." * 40)
        await it.runner.rested()
    assert [turn.reply for turn in it.notebook.turns] == ["ok.", "Ding dong."]
    assert it.synthesizer.rendered == ["ok.", "Ding", "dong."]
    assert it.notebook.turns[1].heard is None


async def test_cancelling_from_outside_ends_a_turn_in_the_middle() -> None:
    """A shutdown while the agent speaks ends everything; no task is left (the scene checks)."""

    async def live(started: asyncio.Event) -> None:
        async with scene(ScriptedRecognizer(*heard("x")), ScriptedResponder(["one two."]), held=True) as it:
            listening = asyncio.create_task(it.hear(UTTERANCE))
            try:
                await until(lambda: it.speaker.pending)
                started.set()
                await listening
            finally:
                listening.cancel()
                await asyncio.wait({listening})

    started = asyncio.Event()
    task = asyncio.create_task(live(started))
    beginning = asyncio.create_task(started.wait())
    await asyncio.wait({task, beginning}, return_when=asyncio.FIRST_COMPLETED)
    beginning.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nothing_of_a_cut_off_answer_is_left_open() -> None:
    """Cut off while the answer is ahead of the voice: its generator is closed before the turn has ended."""
    closed: list[str] = []

    class Endless(ScriptedResponder):
        """Answers without end."""

        def answer(self, understanding: Understanding, foreseen: Answer | None = None) -> Answer:
            async def produce(how: Chunked) -> AsyncGenerator[str, None]:
                try:
                    while True:
                        yield "word."
                finally:
                    closed.append("closed")

            return Answer("llm", produce, understanding.text)

    async with scene(ScriptedRecognizer(*heard("x")), Endless(), held=True) as it:
        listening = asyncio.create_task(it.hear(UTTERANCE))
        await until(lambda: len(it.notebook.sentences) >= 5)
        it.runner.interrupt("test")
        await listening
        assert closed == ["closed"]


async def test_a_defect_costs_its_turn_only(caplog: pytest.LogCaptureFixture) -> None:
    """What nobody expected is reported, with its traceback in the log, and the next utterance is answered."""
    script: list[Transcript | Exception] = [ZeroDivisionError("scripted"), *heard("again")]
    async with scene(ScriptedRecognizer(*script), ScriptedResponder(["fine."])) as it:
        await it.hear(UTTERANCE * 2)
    assert it.notebook.faults == ["turn 1 failed: ZeroDivisionError: scripted"]
    assert "Traceback" in caplog.text
    assert it.notebook.turns[1].reply == "fine."


async def test_an_observer_with_a_defect_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """The others are told, the turn ends, and the next one is heard."""

    class Defective(Notebook):
        """Fails at the end of each turn."""

        def turn_ended(self, report: TurnReport) -> None:
            raise ZeroDivisionError

    observers = Observers(Defective(), notebook := Notebook())
    asr, tts = Pool("asr"), Pool("tts")
    recognizer, responder = ScriptedRecognizer(*heard("one", "two")), ScriptedResponder(["a."], ["b."])
    stages = Stages(recognizer, Station(asr), responder, CountingSynthesizer(), Station(tts), lend(HeldSpeaker()))  # type: ignore[arg-type]
    async with Runner(stages, Conversation.begin("always"), observers) as runner:
        ears = Ears(runner, MarkedVad(), EndpointConfig(), ActivationConfig(), InterruptionConfig())
        await ears.listen(DiagramSource(UTTERANCE * 2), patient=True)
    await asr.close()
    await tts.close()
    assert [turn.heard for turn in notebook.turns] == ["one", "two"]
    assert "Defective failed" in caplog.text


async def test_cutting_in_while_recognition_is_slow_loses_nothing() -> None:
    """The button is pressed while the last words are still being recognized: that stops, and what comes is heard."""

    class Slow(ScriptedRecognizer):
        """Takes its time over the first utterance, until it is stopped."""

        def __init__(self, *script: Transcript | Exception) -> None:
            super().__init__(*script)
            self.finishing, self.stopped = threading.Event(), threading.Event()

        def finish(self) -> Transcript:
            if not self.finishing.is_set():
                self.finishing.set()
                assert self.stopped.wait(10)
                raise RecognitionError("scripted", "was stopped")
            return super().finish()

        def stop(self) -> None:
            self.stopped.set()

    recognizer = Slow(*heard("the second"))
    async with scene(recognizer, ScriptedResponder(["yes."]), mode="button") as it:
        it.ears.press()
        listening = asyncio.create_task(it.hear("#" * 20, it.ears.release, "." * 5))
        assert await asyncio.to_thread(recognizer.finishing.wait, 10)
        it.ears.press()
        await listening
        await it.hear("#" * 20, it.ears.release, "." * 5)
    assert [turn.heard for turn in it.notebook.turns if turn.heard is not None] == ["the second"]
    assert it.notebook.faults == []


class Hanging(ScriptedRecognizer):
    """Hangs in its first preview until it is stopped."""

    def __init__(self, *script: Transcript | Exception) -> None:
        super().__init__(*script)
        self.stopped = threading.Event()

    def preview(self, *, thorough: bool = False) -> Transcript:
        """Hang, then go on as scripted."""
        if not self.stopped.is_set():
            assert self.stopped.wait(10)
            raise RecognitionError("scripted", "was stopped")
        return super().preview(thorough=thorough)

    def stop(self) -> None:
        """End what hangs."""
        self.stopped.set()


async def test_a_recognizer_that_hangs_costs_one_turn() -> None:
    """It is stopped where it takes longer than it may, which is reported; the next utterance is heard."""
    async with scene(Hanging(*heard("again")), ScriptedResponder(["yes."]), longest_hearing_s=1.0) as it:
        await it.hear(UTTERANCE * 2)
    (fault,) = it.notebook.faults
    assert fault == "asr: asr.preview took longer than 1 s and was stopped"
    assert [turn.heard for turn in it.notebook.turns] == [None, "again"]


async def test_words_that_come_out_while_the_pause_goes_on_are_considered_too() -> None:
    """A preview that is not final is followed by partials, which what is begun follows; `finish` has the last word."""

    class Late(ScriptedRecognizer):
        """Says the last word only when there was silence for a while."""

        def preview(self, *, thorough: bool = False) -> Transcript:
            self.previews += 1
            return Transcript("tell", final=False)

        def accept(self, chunk: AudioChunk) -> Transcript | None:
            super().accept(chunk)
            return Transcript("tell me", final=False) if self.previews else None

    recognizer, responder = Late(*heard("tell me")), ScriptedResponder(["well."], foresees=True)
    async with scene(recognizer, responder) as it:
        await it.hear(UTTERANCE)
    (turn,) = it.notebook.turns
    assert (turn.heard, turn.reply_heard) == ("tell me", "well.")
    assert (recognizer.previews, recognizer.finishes) == (2, 1), "the second one, to make sure, is not final either"
    assert responder.understood[0] == "tell"
    assert responder.understood[-1] == "tell me"
    assert recognizer.samples == [round(turn.endpoint.decided_s * 16000)] if turn.endpoint else False


class Unsure(ScriptedRecognizer):
    """Is sure of the last word only when it is asked to find out for certain."""

    def __init__(self, *script: Transcript | Exception) -> None:
        super().__init__(*script)
        self.asked: list[bool] = []
        self.asked_at_s: list[float] = []

    def preview(self, *, thorough: bool = False) -> Transcript:
        """Take the last word for another one, unless it is to be thorough."""
        self.asked.append(thorough)
        self.asked_at_s.append(self.samples[-1] / 16_000)
        return super().preview() if thorough else Transcript("tell be", final=False)

    def accept(self, chunk: AudioChunk) -> Transcript | None:
        """Hear, and tell of no words meanwhile."""
        super().accept(chunk)
        return None


async def test_a_long_pause_makes_sure_of_the_words_before_its_end() -> None:
    """An answer begun with other words is begun anew in the pause already; nothing is left to find out at its end."""
    recognizer, responder = Unsure(*heard("tell me")), ScriptedResponder(["well."], foresees=True)
    async with scene(recognizer, responder) as it:
        await it.hear(UTTERANCE)
    (turn,) = it.notebook.turns
    assert (turn.heard, turn.reply_heard) == ("tell me", "well.")
    assert recognizer.asked == [False, True]
    assert recognizer.finishes == 0
    assert responder.understood == ["tell be", "tell me"]
    previews = [mark for mark in turn.timeline.marks if mark.stage == "asr.preview"]
    assert [mark.detail for mark in previews] == ["'tell be'", "'tell me'"]
    assert turn.endpoint is not None
    silence_s = recognizer.asked_at_s[-1] - turn.endpoint.speech_end_s
    assert 0.3 <= round(silence_s, 3) < turn.endpoint.silence_s, "frames that wait together are heard together"


async def test_going_on_after_the_words_were_made_sure_of_loses_nothing() -> None:
    """The recognizer hears the pause and the rest; the long pause is what it is asked in, not the short one."""
    recognizer = Unsure(*heard("tell me"))
    async with scene(recognizer, ScriptedResponder(["well."], foresees=True)) as it:
        await it.hear("." * 10 + "#" * 20 + "." * 10 + "#" * 20 + "." * 20 + "#" * 20 + "." * 60)
    (turn,) = it.notebook.turns
    assert turn.heard == "tell me"
    assert recognizer.asked == [False, False, True, False, True]
    assert turn.endpoint is not None
    heard_s = recognizer.samples[-1] / 16_000
    assert turn.endpoint.speech_end_s <= heard_s <= turn.endpoint.decided_s


async def test_a_speculation_on_other_words_gives_way_at_once() -> None:
    """The final words are others: what was begun on the preview is stopped before the right answer needs the voice."""
    closed: list[str] = []

    class Misheard(ScriptedRecognizer):
        def preview(self, *, thorough: bool = False) -> Transcript:
            return Transcript("tell be", final=False)

        def accept(self, chunk: AudioChunk) -> Transcript | None:
            super().accept(chunk)
            return None

    class Endless(ScriptedResponder):
        def foresee(self, understanding: Understanding) -> Answer | None:
            async def produce(how: Chunked) -> AsyncGenerator[str, None]:
                try:
                    while True:
                        yield "wrong."
                finally:
                    closed.append(understanding.text)

            return Answer("llm", produce, understanding.text, chat=(ChatMessage("user", understanding.text),))

        def answer(self, understanding: Understanding, foreseen: Answer | None = None) -> Answer:
            return self._make(["right."], understanding)

        def remember(self, report: TurnReport, heard: str, *, call: str = "") -> None:
            closed.append("the right answer was heard")

    async with scene(Misheard(*heard("tell me")), Endless()) as it:
        await it.hear(UTTERANCE)
        (turn,) = it.notebook.turns
        assert (turn.heard, turn.reply_heard) == ("tell me", "right.")
        assert closed == ["tell be", "the right answer was heard"]
        played = b"".join(chunk.pcm for chunk in it.speaker.played)
        assert played == len("right.").to_bytes(2, "little") * 1600


class Commands(ScriptedRecognizer):
    """Tells what was heard so far: "lamp", and after half a second of sound what the script says."""

    told = ""

    def accept(self, chunk: AudioChunk) -> Transcript | None:
        """Hear."""
        super().accept(chunk)
        outcome = self._script[0] if self._script else None
        if self.samples[-1] > 16_000 // 2 and isinstance(outcome, Transcript):
            return self._tell(outcome.text)
        return self._tell("lamp")

    def _tell(self, words: str) -> Transcript | None:
        """Tell of other words than the last ones."""
        if words == self.told:
            return None
        self.told = words
        return Transcript(words, final=False)


class Foreteller(ScriptedResponder):
    """Knows what each command is answered with, and notes after how much sound it was asked that, in seconds."""

    def __init__(self, recognizer: ScriptedRecognizer, *, foresees: bool = True) -> None:
        super().__init__(foresees=foresees)
        self._recognizer = recognizer
        self.asked_at_s: list[float] = []
        self.rendered: list[str] = []
        self.stopped_at_s: dict[str, float] = {}

    def foresee(self, understanding: Understanding) -> Answer | None:
        """Say that it will be done."""
        if not self.foresees:
            return None
        self.asked_at_s.append(self._recognizer.samples[-1] / 16_000)
        return self._done(understanding.text)

    def answer(self, understanding: Understanding, foreseen: Answer | None = None) -> Answer:
        """Do it."""
        return self._done(understanding.text)

    def _done(self, command: str) -> Answer:
        async def produce(_: Chunked) -> AsyncGenerator[str, None]:
            self.rendered.append(command)
            yield f"{command}."
            if command == "lamp":  # nobody's whole command: a long answer, whose end is seen
                try:
                    await asyncio.Event().wait()
                finally:
                    self.stopped_at_s[command] = self._recognizer.samples[-1] / 16_000
            yield "Done."

        return Answer("intent", produce, command, text=f"{command}. Done.")


async def test_what_an_intent_says_is_rendered_as_soon_as_the_speaker_falls_silent() -> None:
    """40 ms after the last sound; the pause, of which one is sure after 120, finds it begun, and it is played."""
    recognizer = Commands(*heard("heater on"))
    responder = Foreteller(recognizer)
    async with scene(recognizer, responder) as it:
        await it.hear(UTTERANCE)
    (turn,) = it.notebook.turns
    assert (turn.heard, turn.reply_heard) == ("heater on", "heater on. Done.")
    assert responder.rendered == ["heater on"]
    assert turn.endpoint is not None
    assert responder.asked_at_s[0] - turn.endpoint.speech_end_s == pytest.approx(QUIET_S)
    assert [at_s - turn.endpoint.speech_end_s for at_s in responder.asked_at_s[1:]] == [pytest.approx(PAUSE_S)] * 2
    assert responder.understood == ["heater on"] * 2, "the partial transcript once, and the preview"


async def test_where_nothing_is_foreseen_no_partial_transcript_is_considered() -> None:
    """It would cost a slow board for nothing."""
    recognizer = Commands(*heard("heater on"))
    responder = Foreteller(recognizer, foresees=False)
    async with scene(recognizer, responder) as it:
        await it.hear(UTTERANCE)
    assert [turn.reply_heard for turn in it.notebook.turns] == ["heater on. Done."]
    assert responder.understood == ["heater on"]


async def test_a_last_word_that_comes_out_in_the_quiet_is_rendered_at_once() -> None:
    """It is another word at the last sound, and the right one before the pause is one."""

    class Slow(Commands):
        """Takes the last word for another one until 80 ms of quiet were heard."""

        def accept(self, chunk: AudioChunk) -> Transcript | None:
            ScriptedRecognizer.accept(self, chunk)
            return self._tell("heater on" if self.samples[-1] >= comes_out_at else "heater and")

    comes_out_at = LAST_SOUND + round(0.08 * 16_000)
    recognizer = Slow(*heard("heater on"))
    responder = Foreteller(recognizer)
    async with scene(recognizer, responder) as it:
        has_heard = partial(until, lambda: sum(recognizer.samples) == comes_out_at)
        await it.hear("." * 10 + "#" * 40 + "." * 4, has_heard, "." * 36)
    (turn,) = it.notebook.turns
    assert turn.endpoint is not None
    assert round(turn.endpoint.speech_end_s * 16_000) == LAST_SOUND
    assert (turn.reply_heard, responder.rendered[-1]) == ("heater on. Done.", "heater on")
    asked_s = [round(at_s - turn.endpoint.speech_end_s, 2) for at_s in responder.asked_at_s]
    assert asked_s == [QUIET_S, 0.08, PAUSE_S, PAUSE_S]


async def test_what_was_begun_too_early_is_neither_said_nor_done() -> None:
    """A gap within the command: the rest makes it another one, whose answer alone is heard."""
    recognizer = Commands(*heard("lamp and heater"))
    responder = Foreteller(recognizer)
    async with scene(recognizer, responder) as it:
        await it.hear("." * 10 + "#" * 6 + "." * 3 + "#" * 36 + "." * 40)
    (turn,) = it.notebook.turns
    assert (turn.heard, turn.reply_heard) == ("lamp and heater", "lamp and heater. Done.")
    assert responder.rendered == ["lamp", "lamp and heater"]
    assert turn.endpoint is not None
    assert responder.stopped_at_s["lamp"] < turn.endpoint.speech_end_s, "not only when the next answer is begun"
    played = b"".join(chunk.pcm for chunk in it.speaker.played)
    assert played == b"".join(len(word).to_bytes(2, "little") * 1600 for word in ["lamp", "and", "heater.", "Done."])


async def test_a_released_button_finds_the_answer_begun() -> None:
    """No pause was long enough to be one; what was begun in the quiet before it is what is said."""
    recognizer = Commands(*heard("heater on"))
    responder = Foreteller(recognizer)
    async with scene(recognizer, responder, mode="button") as it:
        await it.hear("." * 10, it.ears.press, "#" * 40 + "." * 4, it.ears.release)
    (turn,) = it.notebook.turns
    assert turn.endpoint is not None
    assert turn.endpoint.reason is EndpointReason.BUTTON
    assert (turn.reply_heard, responder.rendered) == ("heater on. Done.", ["heater on"])


async def test_the_model_is_not_asked_before_there_is_a_pause() -> None:
    """Its answers are long, and the next word changes them: a gap within a sentence is not worth it."""
    recognizer = Commands(*heard("tell me"))
    responder = ScriptedResponder(["well."], foresees=True)
    async with scene(recognizer, responder) as it:
        await it.hear("." * 10 + "#" * 12 + "." * 4 + "#" * 30 + "." * 40)
    (turn,) = it.notebook.turns
    assert (turn.heard, turn.reply_heard, responder.begun) == ("tell me", "well.", ["tell me"])
