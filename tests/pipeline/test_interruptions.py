"""A thousand scripted people cut into answers at random moments, in virtual time: nothing stale ever sounds."""

from __future__ import annotations

import asyncio
import random
from itertools import pairwise

import pytest
from virtual_scene import SENTENCES, WORD_S, WORDS, Props, Scene, virtual_scene
from virtual_stage import Person
from virtual_time import in_virtual_time

from edge_agent.pipeline.commands import State

CUT_S = 0.25
"""The issue's bound from the onset of speech to silence."""


def stale(scene: Scene, cut_at: dict[int, float]) -> list[tuple[int, float]]:
    """Return how long each answer sounded on after it was cut off."""
    return [
        (sound.value, sound.end_s - cut_at[sound.value])
        for sound in scene.speaker.close_book()
        if sound.value in cut_at and sound.end_s > cut_at[sound.value] + 1e-6
    ]


@pytest.mark.parametrize("seed", range(10))
@in_virtual_time
async def test_a_hundred_interruptions_leave_no_stale_sample(seed: int) -> None:
    """At random moments, in prefill, between sentences, by voice or by button: silence in time, and for good."""
    random_ = random.Random(seed)
    cut_at: dict[int, float] = {}
    onset_at: dict[int, float] = {}
    onset_to_silence: list[float] = []

    async def script(scene: Scene, person: Person) -> None:
        loop = asyncio.get_running_loop()
        await person.say("tell me of 1", 0.8)
        await scene.speaking(1)
        await asyncio.sleep(1.0)  # the echo is known from then on
        for number in range(2, 102):
            wait_s = random_.choice([random_.uniform(0.0, 1.2), random_.uniform(0.6, 6.0)])
            await asyncio.sleep(wait_s)
            old = number - 1
            began_s = loop.time()
            if random_.random() < 0.3:
                scene.ears.press()
                cut_at[old] = began_s
                await asyncio.sleep(random_.uniform(0.05, 0.4))
                await person.say(f"tell me of {number}", 0.8)
                await scene.ears.release()
            else:
                onset_at[old] = began_s
                await person.say(f"tell me of {number}", 0.8)
                cut_at.setdefault(old, loop.time())
        await scene.speaking(101)

    async with virtual_scene(script) as (scene, person):
        await scene.ears.listen(person, patient=False)
        scene.runner.interrupt("end")
    sounds = scene.speaker.close_book()
    for number, onset_s in onset_at.items():
        late = [sound for sound in sounds if sound.value == number and sound.end_s > onset_s]
        # What sounds on after the onset is over within the bound, and does not come back.
        onset_to_silence += [sound.end_s - onset_s for sound in late]
    assert stale(scene, cut_at) == []
    assert max(onset_to_silence) <= CUT_S
    assert len(onset_to_silence) > 20
    # No answer sounds again once a later one has begun.
    order = [sound.value for sound in sounds]
    assert order == sorted(order)
    assert len({sound.value for sound in sounds}) > 40


@in_virtual_time
async def test_the_history_keeps_only_what_was_heard() -> None:
    """Cut off in the second sentence: the first and its heard words are kept, nothing of the rest."""

    async def script(scene: Scene, person: Person) -> None:
        await person.say("tell me of 1", 0.8)
        await scene.speaking(1)
        await asyncio.sleep(WORDS * WORD_S + 2.5 * WORD_S)
        await person.say("tell me of 2", 0.8)
        await scene.speaking(2)

    async with virtual_scene(script) as (scene, person):
        await scene.ears.listen(person, patient=False)
        scene.runner.interrupt("end")
    first = scene.reports[0]
    assert (first.interrupted, first.cut_off_by) == (True, "speech")
    kept = scene.history.messages("", "x")[1].content
    assert kept.startswith("n1s0w0 n1s0w1 n1s0w2 n1s0w3 n1s0w4 n1s0w5. n1s1w0 n1s1w1")
    played_s = sum(sound.end_s - sound.begin_s for sound in scene.speaker.close_book() if sound.value == 1)
    assert len(kept.split()) <= played_s / WORD_S + 0.1


@pytest.mark.parametrize(("words", "for_s"), [("", 0.16), ("", 0.5), ("mhm", 0.4)])
@in_virtual_time
async def test_a_cough_or_mhm_resumes_where_the_answer_fell_silent(words: str, for_s: float) -> None:
    """Held while it is unclear, then played on: no sample is lost, none comes twice."""

    async def script(scene: Scene, person: Person) -> None:
        await person.say("tell me of 1", 0.8)
        await scene.speaking(1)
        await asyncio.sleep(1.0)
        await person.say(words, for_s)
        await asyncio.sleep(1.5)
        await scene.runner.rested()

    async with virtual_scene(script) as (scene, person):
        await scene.ears.listen(person, patient=False)
    (turn,) = scene.reports
    assert not turn.interrupted
    assert turn.reply_heard == turn.reply
    sounds = [sound for sound in scene.speaker.close_book() if sound.value == 1]
    played_s = sum(sound.end_s - sound.begin_s for sound in sounds)
    assert played_s == pytest.approx(SENTENCES * WORDS * WORD_S)
    held = [later.begin_s - sooner.end_s for sooner, later in pairwise(sounds)]
    assert any(gap > 0.2 for gap in held)
    assert any("dismissed" in mark.detail or "goes on" in mark.detail for mark in turn.timeline.marks)


@pytest.mark.parametrize("by", ["nothing", "button", "wake_word"])
@in_virtual_time
async def test_below_that_level_speech_does_not_interrupt(by: str) -> None:
    """The answer is given to its end, without a gap."""

    async def script(scene: Scene, person: Person) -> None:
        await person.say("tell me of 1", 0.8)
        await scene.speaking(1)
        await person.say("tell me of 2", 0.8)
        await scene.runner.rested()

    async with virtual_scene(script, Props(by=by)) as (scene, person):
        await scene.ears.listen(person, patient=False)
    assert [report.heard for report in scene.reports] == ["tell me of 1"]
    assert scene.reports[0].reply_heard == scene.reports[0].reply


@in_virtual_time
async def test_the_agent_does_not_interrupt_itself() -> None:
    """Its own echo is a voice to the detector, and quieter than what is played."""

    async def script(scene: Scene, person: Person) -> None:
        await person.say("tell me of 1", 0.8)
        await scene.speaking(1)
        await scene.runner.rested()

    async with virtual_scene(script) as (scene, person):
        await scene.ears.listen(person, patient=False)
    assert [report.interrupted for report in scene.reports] == [False]
    assert scene.runner.state is State.LISTENING


@in_virtual_time
async def test_who_goes_on_after_too_long_a_pause_is_understood_as_a_whole() -> None:
    """Speech right after the endpoint, when the answer has hardly begun: both parts are the question."""

    async def script(scene: Scene, person: Person) -> None:
        await person.say("tell me 5", 0.8)
        await asyncio.sleep(0.68)
        await person.say("of 1", 0.6)
        await scene.speaking(1)

    async with virtual_scene(script) as (scene, person):
        await scene.ears.listen(person, patient=False)
        scene.runner.interrupt("end")
    assert scene.reports[-1].heard == "tell me 5 of 1"


@in_virtual_time
async def test_the_answer_begins_in_the_pause_and_is_thrown_away_where_speech_goes_on() -> None:
    """A pause in the middle: what was begun there is stopped, and the whole question is answered."""

    async def script(scene: Scene, person: Person) -> None:
        await person.say("tell me of 7", 0.8)
        await asyncio.sleep(0.45)
        person.words[-1] = "tell me of 8"
        await person.say("tell me of 8", 0.8)
        await scene.speaking(8)

    async with virtual_scene(script) as (scene, person):
        await scene.ears.listen(person, patient=False)
        scene.runner.interrupt("end")
    (turn,) = scene.reports
    assert (scene.model.chats[0], scene.model.chats[-1]) == ("tell me of 7", "tell me of 8")
    assert turn.heard == "tell me of 8"
    assert {sound.value for sound in scene.speaker.close_book()} == {8}
    details = [mark.detail for mark in turn.timeline.marks if mark.stage == "speculation"]
    assert any("thrown away" in detail for detail in details)
    assert any("kept" in detail for detail in details)
