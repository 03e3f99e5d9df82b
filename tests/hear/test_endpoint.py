"""The endpointer against timing diagrams: # is a speech frame, . a silent one, 20 ms each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.audio import FRAME_BYTES, HEAR_RATE_HZ, AudioChunk
from edge_agent.config.audio import EndpointConfig
from edge_agent.events import EndpointReason
from edge_agent.hear.endpoint import (
    Endpointer,
    EndpointingEvent,
    OnsetDetected,
    UtteranceContinued,
    UtteranceDropped,
    UtteranceEnded,
)

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
        else:
            numbers = [int.from_bytes(chunk.pcm[:4], "little") for chunk in utterance]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            assert len(numbers) * 0.02 <= CONFIG.max_length_s + 0.001
            taken += numbers
            utterance = []
    assert len(taken) == len(set(taken))
    assert not utterance
