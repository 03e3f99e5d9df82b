"""What the judge of vitality is shown of a running agent."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

from edge_agent.app.body import Body
from edge_agent.app.vitality import Signs, signs_of
from edge_agent.devices import portaudio
from edge_agent.pipeline.commands import State
from edge_agent.pipeline.turn import Conversation


def body_of(conversation: Conversation, **mouth: Any) -> Body:  # noqa: ANN401
    """Return a body as far as its signs of life are looked at."""
    sound = {"played_s": 0.0, "pending_s": 0.0, "is_held": False, **mouth}
    parts = SimpleNamespace(
        voice=SimpleNamespace(
            runner=SimpleNamespace(conversation=conversation), ears=SimpleNamespace(frames_heard=400)
        ),
        lasting=SimpleNamespace(mouth=SimpleNamespace(**sound)),
        listening=SimpleNamespace(trouble="absent", next_sign_s=12.0),
    )
    return cast("Body", parts)


def test_signs_come_from_those_who_know() -> None:
    """Ears, microphone, speaker, loop."""
    found = signs_of(
        body_of(Conversation.begin("always"), played_s=3.0, pending_s=1.0, is_held=True), 0.2, 5, is_changing=False
    )
    assert found == Signs(
        frames=400,
        trouble="absent",
        next_sign_s=12.0,
        lag_s=0.2,
        played_s=3.0,
        pending_s=1.0,
        is_held=True,
        turn=None,
        changes=5,
        is_changing=False,
    )


def test_a_turn_is_a_place_that_moves_with_what_is_played() -> None:
    """Another state, another turn, a rival, or sound that leaves the speaker: all of it is progress."""

    def turn(conversation: Conversation, played_s: float = 0.0) -> object:
        return signs_of(body_of(conversation, played_s=played_s), 0.0, 0, is_changing=False).turn

    thinking = Conversation("always", State.THINKING, turn_id=3, newest_id=3)
    places = [
        turn(thinking),
        turn(Conversation("always", State.SPEAKING, turn_id=3, newest_id=3)),
        turn(Conversation("always", State.SPEAKING, turn_id=3, newest_id=3), played_s=0.5),
        turn(Conversation("always", State.SPEAKING, turn_id=3, newest_id=4), played_s=0.5),
    ]
    assert len(set(places)) == len(places)
    assert None not in places
    assert turn(thinking) == places[0]


def test_a_call_that_hangs_in_the_sound_system_is_seen() -> None:
    """From outside, while its thread keeps everybody else out; its parts are no calls of their own."""
    begun, end = threading.Event(), threading.Event()

    def hang() -> None:
        with portaudio._exclusively(), portaudio._exclusively():
            begun.set()
            end.wait(60)

    def seen() -> int | None:
        return signs_of(body_of(Conversation.begin("always")), 0.0, 0, is_changing=False).sound_call

    before = seen()
    numbers = []
    for _ in range(2):
        begun.clear()
        end.clear()
        thread = threading.Thread(target=hang)
        thread.start()
        assert begun.wait(60)
        numbers.append((seen(), seen()))
        end.set()
        thread.join(60)
    assert before is None
    assert seen() is None
    (first, first_again), (second, _) = numbers
    assert first == first_again is not None
    assert second not in {None, first}


def test_an_agent_without_a_body_is_being_changed() -> None:
    """Between two cores."""
    assert signs_of(None, 0.1, 2, is_changing=True) == Signs(lag_s=0.1, changes=2, is_changing=True)
