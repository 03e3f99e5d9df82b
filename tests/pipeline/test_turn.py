"""The turn state machine, fact by fact."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge_agent.events import Endpoint, EndpointReason
from edge_agent.pipeline.commands import (
    Announce,
    CancelTurn,
    Chime,
    CloseUtterance,
    Command,
    HoldReply,
    OpenTurn,
    ResetHearing,
    ResumeReply,
    ShowState,
    State,
)
from edge_agent.pipeline.facts import (
    Activated,
    AnnouncementDue,
    Fact,
    Interrupted,
    InterruptionConfirmed,
    InterruptionDismissed,
    ListeningLapsed,
    ModeChanged,
    MuteChanged,
    ReplyBegan,
    SpeechBegan,
    SpeechDropped,
    SpeechEnded,
    TurnEnded,
)
from edge_agent.pipeline.turn import Conversation, Mode, Rival, step

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


def test_another_mode_begins_between_turns() -> None:
    """What rests rests as the new mode has it; a turn that goes on ends first, and an invitation is over."""
    now, commands = play("wake_word", ModeChanged("always"))
    assert (now.mode, now.state, commands) == ("always", State.LISTENING, [ResetHearing()])
    now, _ = play("always", ModeChanged("button"))
    assert now.state is State.IDLE
    now, commands = play("always", SpeechBegan(), ModeChanged("button"))
    assert (now.state, commands) == (State.HEARING, [OpenTurn(1)])
    now, _ = step(now, SpeechEnded(ENDPOINT))
    now, _ = step(now, TurnEnded(1))
    assert now.state is State.IDLE
    now, _ = play("button", Activated("button"), ModeChanged("wake_word"))
    assert (now.state, now.invitation) == (State.IDLE, "nothing")
    now, _ = play("wake_word", MuteChanged(muted=True), ModeChanged("always"))
    assert now.state is State.IDLE


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
    assert commands[-3:] == [CancelTurn(1, "button"), ResetHearing(), Chime("listening")]


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


def test_an_announcement_is_made_when_the_turn_before_it_comes_to_nothing() -> None:
    """A click, muting, the button: whatever ends the turn, what waited for that does not wait for another one."""
    for end in (SpeechDropped(), MuteChanged(muted=True), Interrupted("stop"), TurnEnded(1)):
        now, commands = play("always", SpeechBegan(), AnnouncementDue("tea", alert=True), end)
        assert commands[-1] == Announce(2, "tea", alert=True)
        assert (now.state, now.turn_id, now.waiting) == (State.THINKING, 2, ())
    now, commands = play("always", SpeechBegan(), SpeechEnded(ENDPOINT), AnnouncementDue("tea"), Activated("button"))
    assert commands[-1] == Announce(2, "tea")
    assert now.waiting == ()


def test_an_announcement_gives_back_what_the_agent_listened_for() -> None:
    """An activation, a follow-up or a question that a timer rings into is still open after it, and then lapses."""
    asked: tuple[Fact, ...] = (*SPEAKING, TurnEnded(1, "question"))
    offered: tuple[Fact, ...] = (*SPEAKING, TurnEnded(1, "follow_up"))
    for before, invitation in ((), "nothing"), (asked, "question"), (offered, "follow_up"):
        now, _ = play("wake_word", Activated("okay_nabu"), *before, AnnouncementDue("tea"), AnnouncementDue("eggs"))
        for announced in ("tea", "eggs"):
            assert now.state is State.THINKING, announced
            now, _ = step(now, ReplyBegan(now.turn_id))
            now, _ = step(now, TurnEnded(now.turn_id))
        assert (now.state, now.invitation) == (State.LISTENING, invitation)
        assert step(now, SpeechBegan())[0].state is State.HEARING
        assert step(now, ListeningLapsed())[0].state is State.IDLE


def test_an_announcement_gives_nothing_back_that_was_taken_or_refused() -> None:
    """Neither where nobody was listened to before it, nor once the microphone is muted or the question answered."""
    now, _ = play("wake_word", AnnouncementDue("tea"), ReplyBegan(1), TurnEnded(1))
    assert now.state is State.IDLE
    now, _ = play("wake_word", Activated("okay_nabu"), AnnouncementDue("tea"), MuteChanged(muted=True), TurnEnded(1))
    assert now.state is State.IDLE
    spoken: tuple[Fact, ...] = (SpeechBegan(), SpeechEnded(ENDPOINT), ReplyBegan(2), TurnEnded(2))
    now, _ = play("wake_word", Activated("okay_nabu"), AnnouncementDue("tea"), TurnEnded(1), *spoken)
    assert now.state is State.IDLE
    now, _ = play("wake_word", Activated("okay_nabu"), AnnouncementDue("tea"), Activated("okay_nabu"), *spoken)
    assert now.state is State.IDLE


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


SPEAKING: tuple[Fact, ...] = (SpeechBegan(), SpeechEnded(ENDPOINT), ReplyBegan(1))


def test_speech_into_an_answer_holds_it() -> None:
    """Silence at once, nothing lost, and what is said is heard as a turn that may come to be."""
    now, commands = play("always", *SPEAKING, SpeechBegan())
    assert (now.state, now.turn_id, now.rival) == (State.SPEAKING, 1, Rival(2))
    assert commands[-2:] == [HoldReply(1), OpenTurn(2)]


def test_real_words_cut_the_answer_off() -> None:
    """The rival is then the turn, wherever it has got to; the old one is cancelled once."""
    now, commands = play("always", *SPEAKING, SpeechBegan(), InterruptionConfirmed(2, "speech"))
    assert (now.state, now.turn_id, now.rival) == (State.HEARING, 2, None)
    assert commands[-1] == CancelTurn(1, "speech")
    now, commands = play(
        "always", *SPEAKING, SpeechBegan(), SpeechEnded(ENDPOINT), InterruptionConfirmed(2, "speech"), TurnEnded(1)
    )
    assert (now.state, now.turn_id) == (State.THINKING, 2)
    assert commands[-2:] == [CloseUtterance(2, ENDPOINT, 0.0), CancelTurn(1, "speech")]


def test_a_cough_lets_the_answer_go_on() -> None:
    """Too short, without words, or failed: the answer resumes, and the next turn has a new id."""
    for dismissal in (SpeechDropped(), InterruptionDismissed(2), TurnEnded(2)):
        now, commands = play("always", *SPEAKING, SpeechBegan(), dismissal)
        assert (now.state, now.turn_id, now.rival) == (State.SPEAKING, 1, None)
        assert commands[-1] == ResumeReply(1)
        assert OpenTurn(3) in step(now, SpeechBegan())[1]


def test_an_answer_that_ends_while_somebody_speaks_leaves_the_turn_to_them() -> None:
    """Nothing to resume, nothing to cancel, and hearing is not started over."""
    now, commands = play("always", *SPEAKING, SpeechBegan(), TurnEnded(1))
    assert (now.state, now.turn_id, now.rival) == (State.HEARING, 2, None)
    assert commands[-1] == OpenTurn(2)


def test_the_button_ends_answer_and_rival() -> None:
    """Both are cancelled, and the agent listens."""
    now, commands = play("button", Activated("button"), *SPEAKING, SpeechBegan(), Activated("button"))
    assert (now.state, now.rival) == (State.LISTENING, None)
    assert [command for command in commands if isinstance(command, CancelTurn)] == [
        CancelTurn(1, "button"),
        CancelTurn(2, "button"),
    ]


def test_muting_dismisses_what_is_said_into_an_answer() -> None:
    """The answer goes on."""
    now, commands = play("always", *SPEAKING, SpeechBegan(), MuteChanged(muted=True))
    assert (now.state, now.rival, now.muted) == (State.SPEAKING, None, True)
    assert commands[-2:] == [CancelTurn(2, "muted"), ResumeReply(1)]


def test_after_an_answer_one_can_go_on_without_activation() -> None:
    """For a follow-up, or with what the agent has asked for; unless it is muted, and only until that lapses."""
    for then in ("follow_up", "question"):
        now, _ = play("wake_word", Activated("okay_nabu"), *SPEAKING, TurnEnded(1, then))
        assert (now.state, now.invitation) == (State.LISTENING, then)
        after, commands = step(now, ListeningLapsed())
        assert (after.state, after.invitation) == (State.IDLE, "nothing")
        assert not any(isinstance(command, Chime) for command in commands)
        assert step(now, SpeechBegan())[0].state is State.HEARING
    now, _ = play("wake_word", Activated("okay_nabu"), *SPEAKING, MuteChanged(muted=True), TurnEnded(1, "follow_up"))
    assert now.state is State.IDLE


def test_tones_say_that_the_agent_listens_and_that_it_heard_nothing() -> None:
    """After activation only: in mode always it listens anyway."""
    _, commands = play("wake_word", Activated("okay_nabu"), ListeningLapsed())
    assert [command for command in commands if isinstance(command, Chime)] == [Chime("listening"), Chime("nothing")]
    _, commands = play("always", *SPEAKING, Activated("button"))
    assert not any(isinstance(command, Chime) for command in commands)


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
            ModeChanged("always"),
            ModeChanged("wake_word"),
            AnnouncementDue("ding"),
        ]
    ),
    st.builds(ReplyBegan, st.integers(0, 8)),
    st.builds(TurnEnded, st.integers(0, 8), st.sampled_from(["nothing", "follow_up", "question"])),
    st.builds(InterruptionConfirmed, st.integers(0, 8), st.just("speech")),
    st.builds(InterruptionDismissed, st.integers(0, 8)),
)


@given(st.sampled_from(["always", "button", "wake_word"]), st.lists(FACTS, max_size=60))
def test_one_turn_lives_at_a_time_and_at_most_one_rival(mode: Mode, facts: list[Fact]) -> None:
    """Whatever happens: ids grow, every opened turn ends or is cancelled, and only one may sound, or is held."""
    now = Conversation.begin(mode)
    alive: set[int] = set()
    held: set[int] = set()
    newest = 0
    for fact in facts:
        before = now
        now, commands = step(now, fact)
        assert now.turn_id >= before.turn_id
        if isinstance(fact, TurnEnded) and (
            (before.in_turn and fact.turn_id == before.turn_id)
            or (before.rival is not None and fact.turn_id == before.rival.turn_id)
        ):
            alive.discard(fact.turn_id)
        if isinstance(fact, InterruptionDismissed) and before.rival is not None:
            alive -= {before.rival.turn_id} & {fact.turn_id}  # its own task told so, and ends
        for command in commands:
            match command:
                case OpenTurn(turn_id) | Announce(turn_id):
                    assert turn_id > newest
                    newest = turn_id
                    alive.add(turn_id)
                case CancelTurn(turn_id):
                    assert turn_id in alive
                    alive.discard(turn_id)
                case HoldReply(turn_id):
                    assert turn_id == now.turn_id
                    held.add(turn_id)
                case ResumeReply(turn_id):
                    assert turn_id in held
                    held.discard(turn_id)
        living = ({now.turn_id} if now.in_turn else set()) | ({now.rival.turn_id} if now.rival else set())
        assert alive == living
        # Whoever lives on without a rival is not held any more: nothing may stay silent for ever.
        assert now.rival is not None or not held & alive
        assert now.rival is None or now.answers
        assert len(now.waiting) <= 16


def test_who_calls_again_in_an_announcement_is_listened_to_once() -> None:
    """What was listened for before it is not given back on top."""
    called = (Activated("okay_nabu"), AnnouncementDue("tea"), Activated("okay_nabu"))
    now, commands = play("wake_word", *called, ListeningLapsed())
    assert now.state is State.IDLE
    assert commands[-1] == Chime("nothing")
