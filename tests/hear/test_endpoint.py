"""The endpointer against timing diagrams: # is a speech frame, . a silent one, 20 ms each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.audio import FRAME_BYTES, HEAR_RATE_HZ, AudioChunk
from edge_agent.config.audio import EndpointConfig
from edge_agent.events import Completeness, Endpoint, EndpointReason
from edge_agent.hear.endpoint import (
    PAUSE_S,
    Endpointer,
    EndpointingEvent,
    OnsetDetected,
    PauseBegan,
    PauseEnded,
    QuietBegan,
    UtteranceContinued,
    UtteranceDropped,
    UtteranceEnded,
)
from edge_agent.hear.pauses import PauseLearner

CONFIG = EndpointConfig(pre_roll_s=0.1, onset_s=0.06, hang_over_s=0.2, min_speech_s=0.1, max_length_s=1.0)


def frame(number: int) -> AudioChunk:
    """Return a frame that can be told from all others."""
    return AudioChunk(number.to_bytes(4, "little") * (FRAME_BYTES // 4), HEAR_RATE_HZ)


def push_all(endpointer: Endpointer, diagram: str) -> list[EndpointingEvent]:
    """Feed a timing diagram."""
    return [
        event for number, mark in enumerate(diagram) for event in endpointer.push(frame(number), is_speech=mark == "#")
    ]


def of_kind(events: list[EndpointingEvent], kind: type) -> list[EndpointingEvent]:
    """Pick the events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def test_silence_ends_an_utterance_after_the_hang_over() -> None:
    """Ten silent frames (0.2 s) after the last word end it, and the times count from the pre-roll."""
    events = push_all(Endpointer(CONFIG), ".........." + "##########" + "." * 30)
    (ended,) = of_kind(events, UtteranceEnded)
    assert isinstance(ended, UtteranceEnded)
    assert ended.endpoint.reason is EndpointReason.SILENCE
    assert ended.endpoint.silence_s == pytest.approx(0.2)
    # Onset at the third speech frame; kept before it: 5 pre-roll + 6 window frames, of which 3 are speech.
    assert ended.endpoint.speech_end_s == pytest.approx((8 + 10) * 0.02)
    assert ended.endpoint.decided_s == pytest.approx((8 + 10 + 10) * 0.02)


def test_pre_roll_keeps_the_first_syllable() -> None:
    """The onset hands over the frames from before it, in order and without a gap to the next."""
    events = push_all(Endpointer(CONFIG), "." * 20 + "#####")
    onset = events[0]
    assert isinstance(onset, OnsetDetected)
    first = events[1]
    assert isinstance(first, UtteranceContinued)
    assert [*onset.audio, first.frame] == [frame(number) for number in range(12, 24)]


def test_a_click_is_no_onset() -> None:
    """Two speech frames in a window of six do not begin an utterance that needs three."""
    assert push_all(Endpointer(CONFIG), "...##......#....#....") == []


def test_a_short_noise_is_dropped() -> None:
    """Onset, then less speech than the minimum: dropped, with the figure."""
    events = push_all(Endpointer(CONFIG), ".....###" + "." * 20)
    (dropped,) = of_kind(events, UtteranceDropped)
    assert isinstance(dropped, UtteranceDropped)
    assert dropped.speech_s == pytest.approx(0.06)
    assert not of_kind(events, UtteranceEnded)


def test_a_stray_frame_does_not_start_the_silence_over() -> None:
    """One speech frame in the hang-over does not count as silence, but does not start it over either."""
    plain = push_all(Endpointer(CONFIG), "##########" + "." * 10)
    stray = push_all(Endpointer(CONFIG), "##########" + "....#......")
    assert len(stray) == len(plain) + 1
    assert isinstance(stray[-1], UtteranceEnded)


def test_speech_resumes_within_the_hang_over() -> None:
    """A pause shorter than the hang-over stays inside one utterance."""
    events = push_all(Endpointer(CONFIG), "########" + "." * 8 + "########" + "." * 10)
    assert len(of_kind(events, UtteranceEnded)) == 1
    assert len(of_kind(events, OnsetDetected)) == 1


def test_endless_speech_is_cut_at_the_maximum() -> None:
    """At 1 s the utterance ends with its reason, and the rest begins another."""
    events = push_all(Endpointer(CONFIG), "#" * 80)
    ended = of_kind(events, UtteranceEnded)
    assert isinstance(ended[0], UtteranceEnded)
    assert ended[0].endpoint.reason is EndpointReason.MAX_LENGTH
    assert ended[0].endpoint.decided_s == pytest.approx(1.0)
    assert len(of_kind(events, OnsetDetected)) == 2


def test_the_end_of_input_ends_what_runs_and_only_that() -> None:
    """`end` gives an endpoint inside an utterance and nothing outside one."""
    endpointer = Endpointer(CONFIG)
    assert endpointer.end(EndpointReason.END_OF_INPUT) == []
    push_all(endpointer, "##########..")
    (ended,) = endpointer.end(EndpointReason.END_OF_INPUT)
    assert isinstance(ended, UtteranceEnded)
    assert ended.endpoint.reason is EndpointReason.END_OF_INPUT
    assert not endpointer.in_utterance


def test_push_to_talk_needs_no_onset() -> None:
    """`begin` opens with the pre-roll, and the button's release ends it, however little was said."""
    endpointer = Endpointer(CONFIG)
    push_all(endpointer, "....")
    assert endpointer.begin().audio == tuple(frame(number) for number in range(4))
    (ended,) = endpointer.end(EndpointReason.BUTTON)
    assert isinstance(ended, UtteranceEnded)
    assert ended.endpoint.reason is EndpointReason.BUTTON


@given(st.text("#.", max_size=400))
def test_no_frame_is_lost_or_doubled_inside_utterances(diagram: str) -> None:
    """Whatever the VAD says, each utterance is one gapless run of frames within the maximum length."""
    utterance: list[AudioChunk] = []
    taken: list[int] = []
    endpointer = Endpointer(CONFIG)
    for event in [*push_all(endpointer, diagram), *endpointer.end(EndpointReason.END_OF_INPUT)]:
        if isinstance(event, OnsetDetected):
            assert not utterance
            utterance = list(event.audio)
        elif isinstance(event, UtteranceContinued):
            utterance.append(event.frame)
        elif isinstance(event, UtteranceEnded | UtteranceDropped):
            numbers = [int.from_bytes(chunk.pcm[:4], "little") for chunk in utterance]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert len(numbers) * 0.02 <= CONFIG.max_length_s + 0.001
            taken += numbers
            utterance = []
    assert len(taken) == len(set(taken))
    assert not utterance


PATIENT = EndpointConfig(
    pre_roll_s=0.1, onset_s=0.06, hang_over_s=0.6, complete_s=0.3, unfinished_s=1.2, min_speech_s=0.1, max_length_s=6.0
)
SPEECH = "#" * 20


def endpoint_of(events: list[EndpointingEvent]) -> Endpoint:
    """Return the only endpoint there is."""
    (ended,) = of_kind(events, UtteranceEnded)
    assert isinstance(ended, UtteranceEnded)
    return ended.endpoint


def test_a_pause_begins_once_and_ends_once() -> None:
    """At 0.12 s of silence, and when three frames of speech have come; each after its frame, and the same pause."""
    events = push_all(Endpointer(PATIENT), SPEECH + "." * 12 + "#.##" + "####" + "." * 30)
    pauses = of_kind(events, PauseBegan) + of_kind(events, PauseEnded)
    assert [(type(event), event.silence_s) for event in pauses] == [  # type: ignore[union-attr]
        (PauseBegan, pytest.approx(PAUSE_S)),
        (PauseBegan, pytest.approx(PAUSE_S)),
        (PauseEnded, pytest.approx(0.26)),
    ]
    began = events.index(pauses[0])
    assert events[began - 1] == UtteranceContinued(frame(25))
    ended = next(number for number, event in enumerate(events) if isinstance(event, PauseEnded))
    assert events[ended - 1] == UtteranceContinued(frame(36))


def test_each_quiet_is_told_of_once() -> None:
    """After 40 ms, behind its frame; a stray frame of speech does not end it, three do."""
    events = push_all(Endpointer(PATIENT), SPEECH + "..." + "#.." + "###" + "." + "####" + "..." + "###")
    quiets = [number for number, event in enumerate(events) if isinstance(event, QuietBegan)]
    assert [events[number - 1] for number in quiets] == [UtteranceContinued(frame(21)), UtteranceContinued(frame(35))]
    assert not of_kind(events, PauseBegan)


def test_a_stop_consonant_is_no_pause() -> None:
    """Five silent frames (0.1 s) between two words are nothing."""
    events = push_all(Endpointer(PATIENT), SPEECH + "." * 5 + SPEECH)
    assert not of_kind(events, PauseBegan)
    assert not of_kind(events, PauseEnded)


@pytest.mark.parametrize(
    ("completeness", "frames", "reason", "why"),
    [
        (Completeness.COMPLETE, 15, EndpointReason.GRAMMAR_COMPLETE, "silence 300 ms after a complete command"),
        (Completeness.OPEN, 30, EndpointReason.SILENCE, "silence 600 ms of the learned 600 ms"),
        (Completeness.UNFINISHED, 60, EndpointReason.SILENCE, "silence 1200 ms after an unfinished sentence"),
    ],
)
def test_the_verdict_decides_how_long_the_silence_is(
    completeness: Completeness, frames: int, reason: EndpointReason, why: str
) -> None:
    """A complete command ends after 0.3 s, an open one after the learned 0.6 s, an unfinished one after 1.2 s."""
    endpointer = Endpointer(PATIENT, pauses=PauseLearner(PATIENT))
    push_all(endpointer, SPEECH + "." * 10)
    endpointer.judge(completeness)
    events = push_all(endpointer, "." * 80)
    assert len(of_kind(events, UtteranceContinued)) == frames - 10
    endpoint = endpoint_of(events)
    assert (endpoint.reason, endpoint.why) == (reason, why)
    assert endpoint.silence_s == pytest.approx(frames * 0.02)


def test_a_late_verdict_ends_at_the_next_silent_frame() -> None:
    """Complete, said after 0.4 s of silence: at once; a frame of speech is let pass, it may be the first of more."""
    endpointer = Endpointer(PATIENT)
    push_all(endpointer, SPEECH + "." * 20)
    endpointer.judge(Completeness.COMPLETE)
    assert endpointer.needed_s == pytest.approx(0.3)
    assert not of_kind(push_all(endpointer, "#"), UtteranceEnded)
    endpoint = endpoint_of(push_all(endpointer, "."))
    assert endpoint.reason is EndpointReason.GRAMMAR_COMPLETE
    assert endpoint.silence_s == pytest.approx(0.42)


def test_a_verdict_holds_for_its_pause_only() -> None:
    """Whoever goes on after a complete command gets the learned silence again."""
    endpointer = Endpointer(PATIENT)
    push_all(endpointer, SPEECH + "." * 10)
    endpointer.judge(Completeness.COMPLETE)
    events = push_all(endpointer, SPEECH + "." * 50)
    assert endpoint_of(events).silence_s == pytest.approx(0.6)


def test_a_verdict_outside_a_pause_is_ignored() -> None:
    """One that comes while somebody speaks, or when nobody has begun, says nothing about the next pause."""
    endpointer = Endpointer(PATIENT)
    endpointer.judge(Completeness.COMPLETE)
    push_all(endpointer, SPEECH)
    endpointer.judge(Completeness.COMPLETE)
    assert endpoint_of(push_all(endpointer, "." * 50)).silence_s == pytest.approx(0.6)
    endpointer.judge(Completeness.COMPLETE)
    assert endpoint_of(push_all(endpointer, SPEECH + "." * 50)).silence_s == pytest.approx(0.6)


def test_fixed_silence_heeds_neither_verdict_nor_pauses() -> None:
    """`adaptive` off: the hang-over, whatever is judged, and nothing is learned."""
    config = PATIENT.model_copy(update={"adaptive": False})
    learner = PauseLearner(config)
    endpointer = Endpointer(config, pauses=learner)
    push_all(endpointer, SPEECH + "." * 20 + SPEECH + "." * 10)
    endpointer.judge(Completeness.COMPLETE)
    endpoint = endpoint_of(push_all(endpointer, "." * 50))
    assert (endpoint.reason, endpoint.why) == (EndpointReason.SILENCE, "silence 600 ms of the fixed 600 ms")
    assert learner.state() == {"open": [], "sentence": []}


def test_a_complete_command_never_waits_longer_than_an_open_one() -> None:
    """Where the learned silence is shorter than `complete_s`, that is enough; unfinished is never shorter than it."""
    config = PATIENT.model_copy(update={"complete_s": 0.9, "unfinished_s": 0.2})
    endpointer = Endpointer(config)
    push_all(endpointer, SPEECH + "." * 10)
    endpointer.judge(Completeness.COMPLETE)
    assert endpointer.needed_s == pytest.approx(0.6)
    endpointer.judge(Completeness.UNFINISHED)
    assert endpointer.needed_s == pytest.approx(0.6)


def test_a_held_button_keeps_a_complete_command_open() -> None:
    """Nothing ends while it is down, and pauses under it teach nothing: people think with the button down."""
    learner = PauseLearner(PATIENT)
    endpointer = Endpointer(PATIENT, pauses=learner)
    endpointer.begin()
    events: list[EndpointingEvent] = []
    for mark in SPEECH + "." * 45 + SPEECH + "." * 20:
        events += endpointer.push(frame(1), is_speech=mark == "#", held=True)
        endpointer.judge(Completeness.COMPLETE)
    assert not of_kind(events, UtteranceEnded)
    assert len(of_kind(events, PauseBegan)) == 2
    endpoint = endpoint_of(endpointer.end(EndpointReason.BUTTON))
    assert endpoint.why == "button released"
    assert learner.state() == {"open": [], "sentence": []}


def test_pauses_within_an_utterance_are_learned() -> None:
    """The longest of them lengthens the silence that ends this one, and the next."""
    learner = PauseLearner(PATIENT)
    endpointer = Endpointer(PATIENT, pauses=learner)
    events = push_all(endpointer, SPEECH + "." * 15 + SPEECH + "." * 28 + SPEECH + "." * 60)
    endpoint = endpoint_of(events)
    assert endpoint.silence_s > 0.64
    assert endpoint.why == "silence 700 ms of the learned 698 ms"
    assert learner.state()["open"][-2][1] == 0.56


def test_pauses_after_whole_sentences_are_learned_apart() -> None:
    """Who pauses for 0.56 s in the midst, but never goes on after a sentence, is waited for less after one."""
    learner = PauseLearner(PATIENT)
    endpointer = Endpointer(PATIENT, pauses=learner)
    for _ in range(12):
        push_all(endpointer, SPEECH + "." * 28 + SPEECH + "." * 10)
        endpointer.judge(Completeness.OPEN, is_sentence=True)
        push_all(endpointer, "." * 60)
    assert learner.silence_s > 0.68
    assert learner.after_sentence_s < 0.55
    push_all(endpointer, SPEECH + "." * 10)
    endpointer.judge(Completeness.OPEN, is_sentence=True)
    endpoint = endpoint_of(push_all(endpointer, "." * 60))
    assert endpoint.silence_s < 0.55
    assert endpoint.why.startswith("silence ")
    assert endpoint.why.endswith(" ms after a sentence")


def test_pauses_in_unfinished_sentences_are_not_learned() -> None:
    """They have a wait of their own, and are no reason to wait longer elsewhere."""
    learner = PauseLearner(PATIENT)
    endpointer = Endpointer(PATIENT, pauses=learner)
    push_all(endpointer, SPEECH + "." * 10)
    endpointer.judge(Completeness.UNFINISHED, is_sentence=True)
    push_all(endpointer, "." * 40 + SPEECH + "." * 60)
    assert [pause_s for _, pause_s in learner.state()["open"]] == [0.0]
    assert learner.state()["sentence"] == []


def test_a_noise_after_the_last_word_is_not_learned_as_a_pause() -> None:
    """Four frames of it break the silence, but are too little to show that the speaker had more to say."""
    learner = PauseLearner(PATIENT)
    push_all(Endpointer(PATIENT, pauses=learner), SPEECH + "." * 25 + "####" + "." * 60)
    ((weight, pause_s),) = learner.state()["open"]
    assert pause_s == 0.0
    assert 0 < weight < 1


def test_a_dropped_noise_and_a_reset_teach_nothing() -> None:
    """Neither was an utterance; what was learned before stays."""
    learner = PauseLearner(PATIENT)
    endpointer = Endpointer(PATIENT, pauses=learner)
    push_all(endpointer, SPEECH + "." * 15 + SPEECH + "." * 50)
    learned = learner.state()
    assert of_kind(push_all(endpointer, "###" + "." * 50), UtteranceDropped)
    push_all(endpointer, SPEECH + "." * 25 + SPEECH)
    endpointer.reset()
    assert not endpointer.in_utterance
    assert learner.state() == learned


@pytest.mark.parametrize(
    ("reason", "why"), [(EndpointReason.END_OF_INPUT, "end of input"), (EndpointReason.BUTTON, "button released")]
)
def test_an_end_from_outside_says_why(reason: EndpointReason, why: str) -> None:
    """The words for the log, whatever was judged before."""
    endpointer = Endpointer(PATIENT)
    push_all(endpointer, SPEECH + "." * 10)
    endpointer.judge(Completeness.UNFINISHED)
    assert endpoint_of(endpointer.end(reason)).why == why


def test_the_maximum_ends_an_unfinished_sentence_too() -> None:
    """However long it would have been waited for."""
    config = PATIENT.model_copy(update={"max_length_s": 1.0})
    endpointer = Endpointer(config)
    push_all(endpointer, SPEECH + "." * 10)
    endpointer.judge(Completeness.UNFINISHED)
    endpoint = endpoint_of(push_all(endpointer, "." * 60))
    assert (endpoint.reason, endpoint.why) == (EndpointReason.MAX_LENGTH, "maximum of 1 s")


_VERDICTS = {"c": Completeness.COMPLETE, "o": Completeness.OPEN, "u": Completeness.UNFINISHED}


@given(st.text("#.cou", max_size=500))
def test_pauses_nest_in_utterances(script: str) -> None:
    """Whatever is heard and judged: pauses begin and end in turn inside utterances, which end by their own rule."""
    learner = PauseLearner(PATIENT)
    endpointer = Endpointer(PATIENT, pauses=learner)
    in_pause = False
    for mark in script:
        if mark in _VERDICTS:
            endpointer.judge(_VERDICTS[mark])
            continue
        needed_s = endpointer.needed_s
        for event in endpointer.push(frame(1), is_speech=mark == "#"):
            if isinstance(event, PauseBegan):
                assert not in_pause
                in_pause = True
            elif isinstance(event, PauseEnded):
                assert in_pause
                in_pause = False
            elif isinstance(event, UtteranceEnded | UtteranceDropped):
                assert in_pause or isinstance(event, UtteranceEnded)
                if isinstance(event, UtteranceEnded) and event.endpoint.reason is not EndpointReason.MAX_LENGTH:
                    assert event.endpoint.silence_s >= min(needed_s, 1.0) - 0.011
                in_pause = False
        assert endpointer.in_pause is in_pause
        assert endpointer.in_utterance or not in_pause
