"""What a turn does from its first syllable to its last sample: hears, understands, answers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from edge_agent.events import Completeness
from edge_agent.pipeline.answering import Answer, Outcome
from edge_agent.pipeline.facts import ReplyBegan
from edge_agent.pipeline.gate import Gate
from edge_agent.pipeline.hearing import HearingTools
from edge_agent.pipeline.reply import PendingReply, settle
from edge_agent.pipeline.respond import sentences_of
from edge_agent.pipeline.speaking import Player, Renderer

if TYPE_CHECKING:
    from edge_agent.audio import AudioChunk
    from edge_agent.pipeline.answering import Understanding
    from edge_agent.pipeline.facts import Invitation
    from edge_agent.pipeline.hearing import Heard, PauseMark
    from edge_agent.pipeline.run import Runner
    from edge_agent.pipeline.stages import Turn


_COUGH_S = 1.3
"""An utterance that pauses so early, pre-roll (0.3 s) and the pause itself included, may be a cough or an "mhm"."""


async def converse(runner: Runner, turn: Turn) -> Invitation:
    """Hear an utterance out and answer it; return what is to be listened for afterwards."""
    stages = runner.stages

    def on_understood(understanding: Understanding, mark: PauseMark) -> Understanding | None:
        meant = runner.weigh(turn, understanding, mark)
        shown = meant or understanding
        if meant is None and mark.at_s <= _COUGH_S:
            words = understanding.transcript
            if stages.is_backchannel(words.text):
                # A cough or an "mhm" need not be waited out as a sentence that may go on. Where there are no words yet,
                # that says nothing before the recognizer is sure of it: the first one may be on its way.
                if words.text or words.final:
                    shown = replace(understanding, completeness=Completeness.COMPLETE)
            elif words.final and understanding.completeness is Completeness.UNFINISHED:
                # A word that is too doubtful to interrupt is waited out as any other, but as nothing that is known to
                # want more. An answer that goes on between somebody's first two words is cut off again with the
                # second, and neither is understood by itself.
                shown = replace(understanding, completeness=Completeness.OPEN)
        runner.on_understood(mark.number, shown)
        return meant

    tools = HearingTools(
        stages.recognizer,
        stages.asr,
        stages.reasoner,
        begin_reply=partial(_begin, runner, turn),
        on_partial=partial(runner.observer.partial_heard, turn.turn_id),
        on_understood=on_understood,
        note=turn.note,
        before=partial(runner.gone_on_with, turn),
        now=turn.now,
        longest_call_s=stages.longest_hearing_s,
    )
    try:
        heard = await turn.utterance.hear_out(tools)
        # Cut off at this very moment, its cancellation still on its way: nothing may be done or said any more.
        return "nothing" if turn.cut_off else await _answer(runner, turn, heard)
    finally:
        await settle(turn.replies)


def remember(runner: Runner, turn: Turn) -> None:
    """Keep what was heard of a turn's answer; once, as soon as nothing more of it can be heard."""
    if turn.player is None or turn.is_remembered or turn.report.heard is None:
        return
    turn.is_remembered = True
    turn.report.reply_heard = turn.player.heard_text()
    outcome = turn.reply.answer.outcome if turn.reply is not None else None
    call = outcome.call if outcome is not None and outcome.called is not None else ""
    runner.stages.reasoner.remember(turn.report, turn.report.reply_heard, call=call)


async def announce(runner: Runner, turn: Turn) -> Invitation:
    """Say what is due unasked; after an alert people can answer it."""
    turn.clock.set_to(0.0)
    if turn.report.alert and runner.stages.chime is not None:
        await runner.stages.chime("alert")
    text = turn.report.reply or ""
    turn.reply = _begin(runner, turn, Answer("intent", lambda _: sentences_of(text), "", text=text))
    try:
        await _play(runner, turn, turn.reply)
    finally:
        await settle(turn.replies)
    return "follow_up" if turn.report.alert else "nothing"


async def _answer(runner: Runner, turn: Turn, heard: Heard) -> Invitation:
    report = turn.report
    understanding = runner.weigh(turn, heard.understanding, None)
    if understanding is None:
        return "nothing"
    report.heard = understanding.text
    report.confidence = understanding.transcript.confidence
    _note_times(turn)
    runner.observer.heard(report)
    if turn.was_invited and not understanding.text:
        return "nothing"  # nobody has called the agent: noise is not talked back at
    # Somebody may be going on already: until it is known with what, nothing is done.
    await turn.released.wait()
    foreseen = heard.foreseen
    answer = runner.stages.reasoner.answer(understanding, None if foreseen is None else foreseen.answer)
    report.intent, report.slots, report.source = answer.intent, answer.slots, answer.source
    if answer.source == "intent":
        await runner.stages.kept()
    if answer.sentences is None:
        return answer.then
    voice = runner.stages.synthesizer
    is_foreseen = foreseen is not None and answer.is_as(foreseen.answer) and not foreseen.has_failed
    if foreseen is not None and is_foreseen and foreseen.is_voiced_by(voice):
        turn.reply = foreseen
        turn.note("speculation", foreseen.began_at, turn.now(), "kept")
    else:
        if foreseen is not None:
            foreseen.discard()  # it has the model and the voice, which this one needs now
        turn.reply = _begin(runner, turn, answer)
    outcome = answer.outcome or Outcome()
    try:
        await _play(runner, turn, turn.reply)
    finally:
        if turn.reply.first_token_at is not None:
            report.timings.first_token_s = turn.clock.at_s(turn.reply.first_token_at)
        if details := outcome.describe():
            turn.note("llm", turn.reply.began_at, turn.reply.first_token_at, details)
        if outcome.called is not None:
            report.intent, report.slots = outcome.called.intent, outcome.called.slots
        remember(runner, turn)
    return outcome.then or answer.then


def _begin(runner: Runner, turn: Turn, answer: Answer) -> PendingReply:
    stages = runner.stages
    renderer = Renderer(stages.synthesizer, stages.tts, stages.phrases)
    reply = PendingReply(answer, renderer, runner.metrics, f"turn.{turn.turn_id}", stages.kept)
    turn.replies.append(reply)
    return reply


async def _play(runner: Runner, turn: Turn, reply: PendingReply) -> None:
    """Play a reply to its end; whatever that is, nothing works on it afterwards."""
    report, clock = turn.report, turn.clock

    def on_sentence(sentence: str) -> None:
        report.reply = reply.text
        if report.heard is not None:
            runner.observer.sentence_ready(turn.turn_id, sentence)

    def on_audio(chunk: AudioChunk) -> None:
        if report.timings.first_audio_s is None:
            report.timings.first_audio_s = clock.now_s()
            runner.post(ReplyBegan(turn.turn_id))
        clock.queue_audio(chunk.duration_s)

    try:
        async with runner.stages.open_speaker(turn.turn_id) as (sink, path):
            turn.sink, turn.gate = sink, Gate(sink)
            try:
                await turn.released.wait()
                if turn.cut_off:
                    return
                turn.player = Player(turn.gate, on_audio=on_audio)
                reply.commit(on_sentence)
                await turn.player.play(aiter(reply.rendered))
                report.timings.done_s = clock.played_out_s()
            finally:
                turn.gate.leave()
        report.audio = path
        await reply.wait()
    finally:
        _note_reply(turn, reply)


def _note_reply(turn: Turn, reply: PendingReply) -> None:
    for stage, began_at, ended_at in (
        ("llm.first_token", reply.began_at, reply.first_token_at),
        ("llm.first_clause", reply.first_token_at, reply.first_sentence_at),
        ("tts.first_sound", reply.first_sentence_at, reply.first_sound_at),
    ):
        if began_at is not None and ended_at is not None:
            turn.note(stage, began_at, ended_at)


def _note_times(turn: Turn) -> None:
    endpoint, timings = turn.report.endpoint, turn.report.timings
    if endpoint is not None:
        timings.speech_end_s = endpoint.speech_end_s
        timings.endpoint_s = endpoint.decided_s
        timings.asr_s = turn.clock.now_s() - endpoint.decided_s
