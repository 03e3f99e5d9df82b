"""The turn state machine, fact by fact."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.events import Endpoint, EndpointReason
from edge_agent.pipeline.turn import (
    Activated,
    Announce,
    AnnouncementDue,
    CancelTurn,
    CloseUtterance,
    Command,
    Conversation,
    Fact,
    Interrupted,
    ListeningLapsed,
    Mode,
    MuteChanged,
    OpenTurn,
    ReplyBegan,
    ResetHearing,
    ShowState,
    SpeechBegan,
    SpeechDropped,
    SpeechEnded,
    State,
    TurnEnded,
    step,
)

ENDPOINT = Endpoint(EndpointReason.SILENCE, silence_s=0.6, speech_end_s=1.0, decided_s=1.6)


def play(mode: Mode, *facts: Fact) -> tuple[Conversation, list[Command]]:
    """Run facts through the machine; return the last state and all commands but the shown states."""
    now = Conversation.begin(mode)
    commands: list[Command] = []
    for fact in facts:
        now, more = step(now, fact)
        commands += [command for command in more if not isinstance(command, ShowState)]
    return now, commands


def test_a_whole_turn_in_mode_always() -> None:
    """Heard, answered, played: the agent listens again, and hearing starts afresh."""
    now, commands = play("always", SpeechBegan(), SpeechEnded(ENDPOINT), ReplyBegan(1), TurnEnded(1))
    assert now.state is State.LISTENING
    assert commands == [OpenTurn(1), CloseUtterance(1, ENDPOINT, 0.0), ResetHearing()]


def test_a_whole_turn_after_the_wake_word() -> None:
    """In the other modes the agent goes back to waiting."""
    now, commands = play(
        "wake_word", Activated("okay_nabu"), SpeechBegan(), SpeechEnded(ENDPOINT), ReplyBegan(1), TurnEnded(1)
    )
    assert now.state is State.IDLE
    assert commands[0] == ResetHearing()


def test_speech_without_activation_is_not_heard() -> None:
    """Idle, nothing opens a turn but activation."""
    now, commands = play("wake_word", SpeechBegan(), SpeechEnded(ENDPOINT))
    assert now == Conversation.begin("wake_word")
    assert commands == []


def test_nobody_speaks_after_the_wake_word() -> None:
    """Listening lapses into idle; in mode always it never does."""
    assert play("wake_word", Activated("okay_nabu"), ListeningLapsed())[0].state is State.IDLE
    assert play("always", ListeningLapsed())[0].state is State.LISTENING


def test_a_turn_without_an_answer_ends() -> None:
    """Thinking may end without a word spoken."""
    assert play("always", SpeechBegan(), SpeechEnded(ENDPOINT), TurnEnded(1))[0].state is State.LISTENING


def test_too_short_speech_is_taken_back() -> None:
    """The turn is cancelled and listening goes on."""
    now, commands = play("always", SpeechBegan(), SpeechDropped())
    assert now.state is State.LISTENING
    assert commands[-1] == CancelTurn(1, "too short")


def test_the_button_cuts_off_an_answer() -> None:
    """Pressing it while the agent speaks cancels that turn and listens."""
    now, commands = play(
        "button", Activated("button"), SpeechBegan(), SpeechEnded(ENDPOINT), ReplyBegan(1), Activated("button")
    )
    assert now.state is State.LISTENING
    assert commands[-2:] == [CancelTurn(1, "button"), ResetHearing()]


def test_facts_of_an_older_turn_change_nothing() -> None:
    """What a cut-off turn still reports does not touch the next one."""
    now, _ = play(
        "always", SpeechBegan(), SpeechEnded(ENDPOINT), Interrupted("stop"), SpeechBegan(), SpeechEnded(ENDPOINT)
    )
    assert now.turn_id == 2
    assert step(now, ReplyBegan(1)) == (now, ())
    assert step(now, TurnEnded(1)) == (now, ())


def test_announcements_wait_for_the_turn_and_keep_their_order() -> None:
    """Two timers that ring during a turn are announced after it, one after the other."""
    now, commands = play(
        "always",
        SpeechBegan(),
        AnnouncementDue("one"),
        AnnouncementDue("two"),
        SpeechEnded(ENDPOINT),
        ReplyBegan(1),
        TurnEnded(1),
        ReplyBegan(2),
        TurnEnded(2),
        ReplyBegan(3),
        TurnEnded(3),
    )
    assert [command for command in commands if isinstance(command, Announce)] == [
        Announce(2, "one"),
        Announce(3, "two"),
    ]
    assert now.state is State.LISTENING


def test_an_announcement_is_made_at_once_when_idle_even_if_muted() -> None:
    """Muting closes the ears, not the mouth."""
    now, commands = play("wake_word", MuteChanged(muted=True), AnnouncementDue("tea"))
    assert commands[-1] == Announce(1, "tea")
    assert step(now, TurnEnded(1))[0].state is State.IDLE


def test_muting_ends_hearing_but_lets_an_answer_finish() -> None:
    """Half an utterance is dropped; a reply is spoken to its end and then nothing listens."""
    now, commands = play("always", SpeechBegan(), MuteChanged(muted=True))
    assert now.state is State.IDLE
    assert commands[-1] == CancelTurn(1, "muted")
    now, _ = play("always", SpeechBegan(), SpeechEnded(ENDPOINT), ReplyBegan(1), MuteChanged(muted=True))
    assert now.state is State.SPEAKING
    now, _ = step(now, TurnEnded(1))
    assert now.state is State.IDLE
    assert step(now, Activated("okay_nabu")) == (now, ())
    assert step(now, MuteChanged(muted=False))[0].state is State.LISTENING


FACTS = st.one_of(
    st.sampled_from(
        [
            Activated("button"),
            ListeningLapsed(),
            SpeechBegan(),
            SpeechEnded(ENDPOINT),
            SpeechDropped(),
            Interrupted("stop"),
            MuteChanged(muted=True),
            MuteChanged(muted=False),
            AnnouncementDue("ding"),
        ]
    ),
    st.builds(ReplyBegan, st.integers(0, 8)),
    st.builds(TurnEnded, st.integers(0, 8)),
)


@given(st.sampled_from(["always", "button", "wake_word"]), st.lists(FACTS, max_size=60))
def test_turns_never_overlap(mode: Mode, facts: list[Fact]) -> None:
    """Whatever happens: ids grow, one turn lives at a time, and every opened turn is closed, cancelled or running."""
    now = Conversation.begin(mode)
    running: int | None = None
    for fact in facts:
        before = now
        now, commands = step(now, fact)
        assert now.turn_id >= before.turn_id
        if isinstance(fact, TurnEnded) and before.in_turn and fact.turn_id == before.turn_id:
            running = None
        for command in commands:
            if isinstance(command, OpenTurn | Announce):
                assert running is None
                running = command.turn_id
            elif isinstance(command, CancelTurn):
                assert command.turn_id == running
                running = None
        assert now.in_turn == (running is not None)
        assert len(now.waiting) <= 16
