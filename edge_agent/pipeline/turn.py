"""The turn state machine: pure; facts in, commands out.

              Activated              SpeechBegan            SpeechEnded            ReplyBegan
      IDLE ──────────────▶ LISTENING ───────────▶ HEARING ──────────────▶ THINKING ───────────▶ SPEAKING
       ▲ ▲ ListeningLapsed │   ▲                   │ SpeechDropped          │ TurnEnded            │ TurnEnded
       │ └─────────────────┘   └───────────────────┘                        │                      │
       └─────────────────────(mode always: LISTENING)◀──────────────────────┴──────────────────────┘

A turn's id is given when its first syllable is heard (or an announcement begins) and only grows. `Interrupted` ends
any turn at once. Muting ends a turn that is being heard; one being answered is finished.

Speech while a turn is answered makes a rival. The answer is held, not lost, until it is known what was said:

      THINKING,    SpeechBegan               InterruptionConfirmed, TurnEnded of the answer
      SPEAKING  ──────────────▶ with rival ────────────────────────────────────────────────▶ HEARING, THINKING
          ▲      HoldReply, OpenTurn  │ InterruptionDismissed, SpeechDropped, TurnEnded of the rival
          └───────────────────────────┘ ResumeReply

After an answer the agent may listen on without being activated again, for a follow-up or for what it has asked.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

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
    Invitation,
    ListeningLapsed,
    ModeChanged,
    MuteChanged,
    ReplyBegan,
    SpeechBegan,
    SpeechDropped,
    SpeechEnded,
    TurnEnded,
)

Mode = Literal["always", "button", "wake_word"]

_WAITING_LIMIT = 16
"""Announcements kept while a turn goes on; more than the timers anyone sets at once, and bounded."""


@dataclass(frozen=True, slots=True)
class Rival:
    """An utterance that is heard while an older turn is answered.

    Attributes:
        closed: It has been said to its end; its words are not known yet.
    """

    turn_id: int
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Conversation:
    """The machine's whole state.

    Attributes:
        turn_id: The turn that goes on, or the last one.
        newest_id: The highest id given so far; a dismissed rival's is not given again.
        invitation: While LISTENING, what for; `nothing` where that is due to an activation, or always so. Of a turn
            that began in another one's answer: what that one had invited to.
        returns_to: What the agent listened for when an announcement came in between; None where it did not.
        waiting: Announcements that are due.
    """

    mode: Mode
    state: State
    turn_id: int = 0
    newest_id: int = 0
    muted: bool = False
    rival: Rival | None = None
    invitation: Invitation = "nothing"
    returns_to: Invitation | None = None
    waiting: tuple[AnnouncementDue, ...] = ()

    @classmethod
    def begin(cls, mode: Mode) -> Conversation:
        """Return the state at start: listening in mode `always`, else idle."""
        return cls(mode, State.LISTENING if mode == "always" else State.IDLE)

    @property
    def in_turn(self) -> bool:
        """True while a turn is heard, thought about or answered."""
        return self.state in {State.HEARING, State.THINKING, State.SPEAKING}

    @property
    def answers(self) -> bool:
        """True while a turn is thought about or answered."""
        return self.state in {State.THINKING, State.SPEAKING}

    @property
    def resting(self) -> State:
        """The state between turns."""
        return State.LISTENING if self.mode == "always" and not self.muted else State.IDLE


Step = tuple[Conversation, tuple[Command, ...]]


def step(now: Conversation, fact: Fact) -> Step:
    """Return the next state and what is to be done. A fact that does not fit the state changes nothing."""
    after, commands = _apply(now, fact)
    if after.waiting and not after.in_turn:
        after, more = _announce(replace(after, waiting=after.waiting[1:]), after.waiting[0])
        commands = (*commands, *more)
    if (after.state, after.muted) != (now.state, now.muted):
        commands = (*commands, ShowState(after.state, after.muted))
    return after, commands


def _apply(now: Conversation, fact: Fact) -> Step:  # noqa: C901, PLR0911, PLR0912 - one line a fact
    match fact:
        case Activated():
            return _activated(now, fact)
        case ListeningLapsed():
            return _listening_lapsed(now)
        case SpeechBegan():
            return _speech_began(now, fact)
        case SpeechEnded():
            return _speech_ended(now, fact)
        case SpeechDropped():
            return _speech_dropped(now)
        case ReplyBegan():
            return _reply_began(now, fact)
        case TurnEnded():
            return _turn_ended(now, fact)
        case InterruptionConfirmed():
            return _interruption_confirmed(now, fact)
        case InterruptionDismissed():
            return _interruption_dismissed(now, fact.turn_id)
        case Interrupted():
            return _interrupted(now, fact)
        case MuteChanged():
            return _mute_changed(now, fact)
        case ModeChanged(mode):
            return _mode_changed(now, mode)
        case AnnouncementDue():
            return _announcement_due(now, fact)


def _activated(now: Conversation, fact: Activated) -> Step:
    if now.muted:
        return now, ()
    if now.state is State.LISTENING:
        # An invitation becomes the longer time that an activation gives.
        return replace(now, invitation="nothing", returns_to=None), (
            (ResetHearing(),) if now.invitation != "nothing" else ()
        )
    return replace(now, state=State.LISTENING, rival=None, invitation="nothing", returns_to=None), (
        *_cancel_all(now, fact.by),
        ResetHearing(),
        *([] if now.mode == "always" else [Chime("listening")]),
    )


def _listening_lapsed(now: Conversation) -> Step:
    if now.state is not State.LISTENING or now.mode == "always":
        return now, ()
    after, commands = _rest(now)
    # After a follow-up that nobody took up a tone would only be in the way.
    return after, (*commands, Chime("nothing")) if now.invitation == "nothing" else commands


def _speech_began(now: Conversation, fact: SpeechBegan) -> Step:
    if now.muted:
        return now, ()
    opened = now.newest_id + 1
    if now.state is State.LISTENING:
        hearing = replace(now, state=State.HEARING, turn_id=opened, newest_id=opened, returns_to=None)
        return hearing, (OpenTurn(opened, fact.since_s),)
    if now.answers and now.rival is None:
        return replace(now, rival=Rival(opened), newest_id=opened), (
            HoldReply(now.turn_id),
            OpenTurn(opened, fact.since_s),
        )
    return now, ()


def _speech_ended(now: Conversation, fact: SpeechEnded) -> Step:
    if now.rival is not None and not now.rival.closed:
        rival = replace(now.rival, closed=True)
        return replace(now, rival=rival), (CloseUtterance(rival.turn_id, fact.endpoint, fact.lag_s),)
    if now.state is not State.HEARING:
        return now, ()
    return replace(now, state=State.THINKING), (CloseUtterance(now.turn_id, fact.endpoint, fact.lag_s),)


def _speech_dropped(now: Conversation) -> Step:
    if now.rival is not None and not now.rival.closed:
        after, commands = _interruption_dismissed(now, now.rival.turn_id)
        return after, (CancelTurn(now.rival.turn_id, "too short"), *commands)
    if now.state is not State.HEARING:
        return now, ()
    return replace(now, state=State.LISTENING), (CancelTurn(now.turn_id, "too short"),)


def _reply_began(now: Conversation, fact: ReplyBegan) -> Step:
    if now.state is not State.THINKING or fact.turn_id != now.turn_id:
        return now, ()
    return replace(now, state=State.SPEAKING), ()


def _turn_ended(now: Conversation, fact: TurnEnded) -> Step:
    if now.rival is not None and fact.turn_id == now.rival.turn_id:
        return _interruption_dismissed(now, fact.turn_id)
    if not now.in_turn or fact.turn_id != now.turn_id:
        return now, ()
    if now.rival is not None:
        return replace(_succeed(now, now.rival), invitation=fact.then), ()
    return _rest(now, fact.then)


def _interruption_confirmed(now: Conversation, fact: InterruptionConfirmed) -> Step:
    if now.rival is None or fact.turn_id != now.rival.turn_id:
        return now, ()
    return _succeed(now, now.rival), (CancelTurn(now.turn_id, fact.by),)


def _interruption_dismissed(now: Conversation, turn_id: int) -> Step:
    if now.rival is None or turn_id != now.rival.turn_id:
        return now, ()
    return replace(now, rival=None), (ResumeReply(now.turn_id),)


def _succeed(now: Conversation, rival: Rival) -> Conversation:
    """Make the rival the turn that goes on."""
    state = State.THINKING if rival.closed else State.HEARING
    return replace(now, state=state, turn_id=rival.turn_id, rival=None, invitation="nothing", returns_to=None)


def _interrupted(now: Conversation, fact: Interrupted) -> Step:
    if not now.in_turn:
        return now, ()
    after, commands = _rest(replace(now, rival=None))
    return after, (*_cancel_all(now, fact.by), *commands)


def _mute_changed(now: Conversation, fact: MuteChanged) -> Step:
    after = replace(now, muted=fact.muted)
    if now.state is State.HEARING and fact.muted:
        return replace(after, state=State.IDLE), (CancelTurn(now.turn_id, "muted"),)
    if now.rival is not None and fact.muted:
        dismissed, commands = _interruption_dismissed(after, now.rival.turn_id)
        return dismissed, (CancelTurn(now.rival.turn_id, "muted"), *commands)
    if now.in_turn:
        return after, ()
    return replace(after, state=after.resting, invitation="nothing"), (ResetHearing(),)


def _mode_changed(now: Conversation, mode: Mode) -> Step:
    after = replace(now, mode=mode, returns_to=None)
    if now.in_turn:
        return after, ()
    return replace(after, state=after.resting, invitation="nothing"), (ResetHearing(),)


def _announcement_due(now: Conversation, fact: AnnouncementDue) -> Step:
    if now.in_turn:
        return replace(now, waiting=(*now.waiting, fact)[:_WAITING_LIMIT]), ()
    return _announce(now, fact)


def _announce(now: Conversation, due: AnnouncementDue) -> Step:
    opened = now.newest_id + 1
    begun = replace(
        now,
        state=State.THINKING,
        turn_id=opened,
        newest_id=opened,
        invitation="nothing",
        returns_to=now.invitation if now.state is State.LISTENING and now.mode != "always" else now.returns_to,
    )
    return begun, (Announce(opened, due.text, due.alert),)


def _rest(now: Conversation, then: Invitation = "nothing") -> Step:
    """Go to the state between turns; back to listening where an announcement came in between."""
    can_listen = now.mode != "always" and not now.muted
    listens = can_listen and (then != "nothing" or now.returns_to is not None)
    invited = then if then != "nothing" else now.returns_to or "nothing"
    return (
        replace(
            now,
            state=State.LISTENING if listens else now.resting,
            invitation=invited if listens else "nothing",
            returns_to=None,
        ),
        (ResetHearing(),),
    )


def _cancel_all(now: Conversation, reason: str) -> tuple[Command, ...]:
    turns = [now.turn_id] if now.in_turn else []
    turns += [now.rival.turn_id] if now.rival is not None else []
    return tuple(CancelTurn(turn_id, reason) for turn_id in turns)
