"""The log record of a turn: how it went and how long it took, without what was said."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from edge_agent.app.turn_log import TURN_ENDED, TurnLog
from edge_agent.events import Endpoint, EndpointReason
from edge_agent.pipeline.report import Timings, TurnReport
from edge_agent.runtime.fields import fields_of


def a_turn(**changes: Any) -> TurnReport:  # noqa: ANN401
    """Return a turn that an intent answered."""
    report = TurnReport(
        12,
        heard="set a timer for my secret",
        intent="SetTimer",
        reply="Timer set for your secret.",
        source="intent",
        endpoint=Endpoint(EndpointReason.SILENCE, 0.52, 2.0, 1.48),
        timings=Timings(speech_end_s=1.48, endpoint_s=2.0, asr_s=0.1, first_audio_s=2.2504, done_s=4.0),
    )
    for name, value in changes.items():
        setattr(report, name, value)
    return report


def logged(caplog: pytest.LogCaptureFixture, report: TurnReport, *, with_texts: bool = False) -> logging.LogRecord:
    """Return the record of a turn."""
    with caplog.at_level(logging.INFO, "edge_agent"):
        TurnLog(with_texts=with_texts).turn_ended(report)
    return caplog.records[-1]


def test_a_turn_is_one_record_with_its_times(caplog: pytest.LogCaptureFixture) -> None:
    """In whole milliseconds; a stage that did not run has none."""
    record = logged(caplog, a_turn())
    assert record.getMessage() == "turn 12: intent SetTimer, answered 250 ms after the endpoint"
    assert record.__dict__["MESSAGE_ID"] == TURN_ENDED
    assert fields_of(record) == {
        "EDGE_TURN": 12,
        "EDGE_STAGE": "turn.ended",
        "EDGE_INTENT": "SetTimer",
        "EDGE_SOURCE": "intent",
        "EDGE_INTERRUPTED": 0,
        "EDGE_ENDPOINT_REASON": "silence",
        "EDGE_SILENCE_MS": 520,
        "EDGE_ANSWER_MS": 250,
        "EDGE_SPEECH_END_MS": 1480,
        "EDGE_ENDPOINT_MS": 2000,
        "EDGE_ASR_MS": 100,
        "EDGE_FIRST_AUDIO_MS": 2250,
        "EDGE_DONE_MS": 4000,
    }


def test_what_was_said_is_not_in_it_unless_the_owner_wants_that(caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the text nor in a field."""
    assert "secret" not in str(logged(caplog, a_turn()).__dict__)
    fields = fields_of(logged(caplog, a_turn(), with_texts=True))
    assert fields["EDGE_HEARD"] == "set a timer for my secret"
    assert fields["EDGE_REPLY"] == "Timer set for your secret."


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"intent": None, "source": "llm"}, "turn 12: language model, answered 250 ms after the endpoint"),
        ({"intent": None, "source": "none", "timings": Timings()}, "turn 12: nothing understood"),
        (
            {"announced": "Your timer", "endpoint": None, "timings": Timings(first_audio_s=0.1), "interrupted": True},
            "turn 12: announcement, interrupted",
        ),
    ],
    ids=["model", "nothing", "announcement"],
)
def test_each_kind_of_turn_has_its_words(caplog: pytest.LogCaptureFixture, changes: Any, words: str) -> None:  # noqa: ANN401
    """An answer of the model, none at all, something said unasked."""
    assert logged(caplog, a_turn(**changes)).getMessage() == words
