"""What a fault's message may tell the world."""

from __future__ import annotations

import pytest

from edge_agent.mqtt.redaction import Redactor

SAID = "call doctor Miller about the blood test"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("the microphone is gone", "the microphone is gone"),
        ("can't open the devices' list", "can't open the devices' list"),
        ("'USB mic' matches no device", "… matches no device"),
        ("voice: could not render 'It is half past': it\n broke", "voice: could not render …: it broke"),
        ("""could not render "I can't say 'that'": broken""", "could not render …: broken"),
        ("could not render 'never closed", "could not render …"),
        ("it said “hello there” and ended", "it said … and ended"),
        ("turn 3 failed: KeyError: 'kitchen'", "turn 3 failed: KeyError"),
        ("turn 3 failed: ValueError: hello there you", "turn 3 failed: ValueError"),
        (
            "stage hear.capture failed (UnicodeError: x in hello); starting it again in 2 s",
            "stage hear.capture failed (UnicodeError",
        ),
    ],
)
def test_quotations_and_what_defects_say_are_taken_out(message: str, told: str) -> None:
    """Whatever may hold words of somebody."""
    assert Redactor(keeps_text=False).clean(message) == told


@pytest.mark.parametrize(
    "message",
    [
        "mqtts://me:hunter2@broker.test refuses",
        "refused: password=hunter2",
        "refused: Token: hunter2",
        "api_key = hunter2 is wrong",
        "passwd=hunter2",
    ],
)
@pytest.mark.parametrize("keeps_text", [False, True])
def test_secrets_are_taken_out_always(message: str, keeps_text: bool) -> None:
    """Also where texts may be told."""
    cleaned = Redactor(keeps_text=keeps_text).clean(message)
    assert "hunter2" not in cleaned
    assert cleaned


@pytest.mark.parametrize(
    ("text", "message", "is_withheld"),
    [
        (SAID, "the call DOCTOR Miller, about failed", True),
        (SAID, f"no answer to {SAID}", True),
        (SAID, "the blood is red", False),
        ("stop", "the job did not stop", False),
        ("supercalifragilistic", "no such word: supercalifragilistic", True),
        ("yes please", "it said yes please now", True),
        ("打开客厅的灯", "出错：打开客厅的灯", True),
        ("打开客厅的灯", "出错：打不开", False),
    ],
)
def test_a_message_with_what_was_said_is_withheld(text: str, message: str, is_withheld: bool) -> None:
    """Three words in a row, in whatever language; one short word is chance."""
    redactor = Redactor(keeps_text=False)
    redactor.note(text)
    cleaned = redactor.clean(message)
    assert cleaned.startswith("a fault whose message holds what was said") is is_withheld
    allowed = Redactor(keeps_text=True)
    allowed.note(text)
    assert allowed.clean(message) == message


def test_messages_and_memory_are_bounded() -> None:
    """One line of 300 characters; the last 32 texts are known."""
    redactor = Redactor(keeps_text=False)
    cleaned = redactor.clean("x y\n" * 1_000_000)
    assert len(cleaned) == 300
    redactor.note("the very first words")
    for number in range(32):
        redactor.note(f"text number {number} of many")
    assert redactor.clean("the very first words") == "the very first words"


def test_nothing_is_noted_that_is_nothing() -> None:
    """A turn without words."""
    redactor = Redactor(keeps_text=False)
    redactor.note(None)
    redactor.note("")
    assert redactor.clean("fine") == "fine"
