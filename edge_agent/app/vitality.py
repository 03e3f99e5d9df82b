"""Whether the agent is alive in the sense that counts: sound goes in, sound goes out, turns end. Feeds the watchdog.

"Alive and deaf" is what a watchdog that a timer feeds never notices. This one is fed for progress alone, and by a task
on the event loop, so that a loop that is blocked can't feed it.

    frames advance ───────┐ or the microphone is known to be in trouble, and its supervisor keeps its promises
    output advances ──────┤ while something is pending and not held
    sound calls return ───┤
    the turn advances ────┼─▶ judge ─▶ WATCHDOG=1, a third of the interval apart
    the loop is punctual ─┘            or the reason why not, logged once
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from edge_agent.devices.portaudio import call_in_progress

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from edge_agent.app.body import Body
    from edge_agent.runtime.notify import Notifier

_log = logging.getLogger(__name__)

FRAMES_S = 10.0
"""So long no frame may come from a microphone that is not known to be in trouble. `Listening` notices a silent device
after 2 s, or 5 s for its first sound; a slow recognizer may hold frames up for a while."""
GRACE_S = 5.0
"""What the microphone's supervisor may be late by."""
OUTPUT_S = 10.0
"""So long the speaker may play nothing of what is pending; `Speaker` gives a stalled device up after 2 s."""
TURN_S = 720.0
"""So long nothing may happen in a turn. Each of its jobs has a bound, the longest 600 s, for a whole answer of the
language model, and 120 s, for a sentence; then the job is stopped and the turn ends."""
SOUND_CALL_S = 300.0
"""A call into the sound system takes milliseconds, seconds where a server is in a bad way. One that does not return, as
the closing of a card that was pulled out may do, keeps every later one from its turn: the microphone is tried again for
ever, in vain. Only a new process gets out of that."""
CHANGE_S = 300.0
"""What a change of the configuration may take: it is broken off after 120 s, and waits 30 s for a turn, twice."""
LATE_S = 2.0
"""A loop that is late by more is no place to answer from."""
_LATE_LOOKS = 3
"""In so many looks in a row: a single delay has passed when it is seen."""
_LOOK_S = 1.0
_LOOKS_IN_INTERVAL = 12
_FEEDS_IN_INTERVAL = 3
_ASLEEP = 5
"""Looks that were missed: the process was stopped or starved, and nothing could advance meanwhile."""


@dataclass(frozen=True, slots=True)
class Signs:
    """What can be seen from outside of a running agent.

    Attributes:
        frames: How many were heard, through the VAD.
        trouble: Why nothing usable is heard; empty while it is.
        next_sign_s: Until when the microphone's supervisor has promised its next sign of life, in the loop's time.
        lag_s: How late the loop is.
        played_s: What the open speaker has played.
        pending_s: What it still has to play.
        is_held: Whether that waits on purpose.
        sound_call: Number of the call that is in the sound system; None where none is.
        turn: Where the turn that goes on is; None between turns. A turn that advances changes it.
        changes: Counts changes of the configuration, begun ones included.
        is_changing: Whether one goes on, or there is no running agent at all.
    """

    frames: int = 0
    trouble: str = ""
    next_sign_s: float = 0.0
    lag_s: float = 0.0
    played_s: float = 0.0
    pending_s: float = 0.0
    is_held: bool = False
    sound_call: int | None = None
    turn: Hashable = None
    changes: int = 0
    is_changing: bool = False


def signs_of(body: Body | None, lag_s: float, changes: int, *, is_changing: bool) -> Signs:
    """Look at a running agent; without a body, which is another one while the core is changed, it is being changed."""
    if body is None:
        return Signs(lag_s=lag_s, changes=changes, is_changing=True)
    now, mouth, listening = body.voice.runner.conversation, body.lasting.mouth, body.listening
    return Signs(
        frames=body.voice.ears.frames_heard,
        trouble=listening.trouble,
        next_sign_s=listening.next_sign_s,
        lag_s=lag_s,
        played_s=mouth.played_s,
        pending_s=mouth.pending_s,
        is_held=mouth.is_held,
        sound_call=call_in_progress(),
        turn=(now.state, now.turn_id, now.newest_id, mouth.played_s) if now.in_turn else None,
        changes=changes,
        is_changing=is_changing,
    )


class _Unchanged:
    """How long a value has been the same."""

    def __init__(self) -> None:
        self._value: object = self
        self._since_s = 0.0

    def for_s(self, value: object, now_s: float) -> float:
        """Return for how long it has been `value`."""
        if value != self._value:
            self._value, self._since_s = value, now_s
        return now_s - self._since_s

    def forget(self) -> None:
        """It is new whatever it is."""
        self._value = self


class Vitality:
    """Judges one look after the other. Pure: the time is told."""

    def __init__(self) -> None:
        self._frames = _Unchanged()
        self._played = _Unchanged()
        self._turn = _Unchanged()
        self._sound_call = _Unchanged()
        self._change = _Unchanged()
        self._late_looks = 0

    def judge(self, signs: Signs, now_s: float) -> str:
        """Return why the agent is not alive; empty while it is."""
        change_s = self._change.for_s((signs.changes, signs.is_changing), now_s)
        called_s = self._sound_call.for_s(signs.sound_call, now_s)
        self._late_looks = self._late_looks + 1 if signs.lag_s > LATE_S else 0
        if self._late_looks >= _LATE_LOOKS:
            return f"the event loop is {signs.lag_s:.1f} s late"
        if signs.is_changing:
            self._forget()
            return f"a change of the configuration takes longer than {CHANGE_S:g} s" if change_s > CHANGE_S else ""
        if signs.sound_call is not None and called_s > SOUND_CALL_S:
            return f"a call into the sound system has hung for {called_s:.0f} s; only a new process gets out of it"
        return self._hears(signs, now_s) or self._plays(signs, now_s) or self._answers(signs, now_s)

    def resume(self) -> None:
        """The process has not run for a while: what did not advance meanwhile has its whole time again."""
        self._forget()
        self._sound_call.forget()
        self._change.forget()

    def _forget(self) -> None:
        for sign in (self._frames, self._played, self._turn):
            sign.forget()

    def _hears(self, signs: Signs, now_s: float) -> str:
        silent_s = self._frames.for_s(signs.frames, now_s)
        if silent_s <= FRAMES_S:
            return ""
        if not signs.trouble:
            return f"no sound has come in for {silent_s:.0f} s, and nobody knows why"
        overdue_s = now_s - signs.next_sign_s
        if overdue_s > GRACE_S:
            return f"the microphone is in trouble, and was to be tried again {overdue_s:.0f} s ago"
        return ""

    def _plays(self, signs: Signs, now_s: float) -> str:
        is_due = signs.pending_s > 0 and not signs.is_held
        stuck_s = self._played.for_s((signs.played_s, is_due), now_s)
        if is_due and stuck_s > OUTPUT_S:
            return f"the speaker has played nothing for {stuck_s:.0f} s, and {signs.pending_s:.1f} s are pending"
        return ""

    def _answers(self, signs: Signs, now_s: float) -> str:
        same_s = self._turn.for_s(signs.turn, now_s)
        if signs.turn is not None and same_s > TURN_S:
            return f"nothing has happened in the turn for {same_s:.0f} s, longer than anything may take"
        return ""


class Watchdog:
    """Looks at the agent over and over, and feeds the service manager's watchdog while it is alive.

    Args:
        notifier: The way to the service manager. Where it has no watchdog it is looked all the same, for the log.
        signs: Looks; None before there is an agent, when only the loop is judged, by the feeding itself.
        on_verdict: Is told why the agent is not alive, once, and nothing when it is again.
        clock: The loop's time.

    Attributes:
        verdict: Why the agent is not alive; empty while it is.
        fed: How often the watchdog was fed.
        withheld: How often it was not alive after it had been.
        longest_gap_s: The longest time between two feeds.
    """

    def __init__(
        self,
        notifier: Notifier,
        signs: Callable[[], Signs | None],
        on_verdict: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._notifier = notifier
        self._signs = signs
        self._on_verdict = on_verdict
        self._clock = clock
        self._vitality = Vitality()
        self.verdict = ""
        self.fed = 0
        self.withheld = 0
        self.longest_gap_s = 0.0

    def describe(self) -> dict[str, Any]:
        """Return the account as plain data; `interval_s` is None where nobody watches."""
        return {
            "interval_s": self._notifier.watchdog_s,
            "fed": self.fed,
            "longest_gap_s": round(self.longest_gap_s, 2),
            "withheld": self.withheld,
            "verdict": self.verdict,
        }

    async def feed_loop(self) -> NoReturn:
        """Look, and feed, until cancelled."""
        clock = self._clock or asyncio.get_running_loop().time
        interval_s = self._notifier.watchdog_s
        look_s = _LOOK_S if interval_s is None else min(_LOOK_S, interval_s / _LOOKS_IN_INTERVAL)
        fed_s = looked_s = clock()
        due_s = fed_s
        while True:
            now_s = clock()
            if now_s - looked_s > _ASLEEP * look_s:
                self._vitality.resume()
            looked_s = now_s
            signs = self._signs()
            self._tell("" if signs is None else self._vitality.judge(signs, now_s))
            if interval_s is not None and not self.verdict and now_s >= due_s and self._notifier.feed():
                self.longest_gap_s = max(self.longest_gap_s, now_s - fed_s)
                self.fed += 1
                fed_s, due_s = now_s, now_s + interval_s / _FEEDS_IN_INTERVAL
            await asyncio.sleep(look_s)

    def _tell(self, verdict: str) -> None:
        was_alive, is_alive = not self.verdict, not verdict
        self.verdict = verdict
        if was_alive is is_alive:
            return
        if is_alive:
            _log.warning("alive again: the watchdog is fed")
        else:
            self.withheld += 1
            _log.error("not alive: %s; the watchdog is not fed until that ends", verdict)
        self._on_verdict(verdict)
