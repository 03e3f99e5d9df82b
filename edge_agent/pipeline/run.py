"""The runner: carries out what the turn state machine says, on real stages."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Self

from edge_agent.errors import EdgeAgentError
from edge_agent.pipeline.chimes import Chimes
from edge_agent.pipeline.commands import (
    Announce,
    CancelTurn,
    Chime,
    CloseUtterance,
    HoldReply,
    OpenTurn,
    ResetHearing,
    ResumeReply,
    ShowState,
    State,
)
from edge_agent.pipeline.conversing import announce, converse, remember
from edge_agent.pipeline.facts import (
    AnnouncementDue,
    Interrupted,
    InterruptionConfirmed,
    InterruptionDismissed,
    ListeningLapsed,
    TurnEnded,
)
from edge_agent.pipeline.hearing import PauseMark, QuietMark, Utterance
from edge_agent.pipeline.report import TurnClock, TurnReport
from edge_agent.pipeline.stages import STOPPING, Turn
from edge_agent.pipeline.turn import step
from edge_agent.runtime.fields import log_fields
from edge_agent.runtime.metrics import Metrics
from edge_agent.runtime.tasks import TrackedTasks, run_isolated

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

    from edge_agent.audio import AudioChunk
    from edge_agent.events import Endpoint
    from edge_agent.pipeline.answering import Understanding
    from edge_agent.pipeline.commands import Command
    from edge_agent.pipeline.facts import Fact, Invitation
    from edge_agent.pipeline.observer import Observer
    from edge_agent.pipeline.stages import Stages
    from edge_agent.pipeline.turn import Conversation
    from edge_agent.runtime.channel import ChannelStatistics

_log = logging.getLogger(__name__)

_GOES_ON_S = 1.5
"""Speech that begins so soon after an utterance was called finished may go on with it: next to nothing of the answer
was heard."""
_PRE_ROLL_S = 0.3
"""About what an utterance holds from before its onset."""


class Runner:
    """Holds the conversation's state; starts and ends turns. Everything here belongs to the loop.

    An async context manager: leaving it waits for the running turn, or ends it where leaving is due to an error.

    Attributes:
        stages: May be replaced: another recognizer is used from the next utterance on, another voice from the next
            answer on. Another reasoner only while no turn goes on.
        on_reset_hearing: Is called when a new listening phase begins.
        on_understood: Is told what was understood in the pause of that number, which goes on.
        on_gone_on: Is told that an utterance goes on with the one before it, which had been called finished too early.
    """

    def __init__(
        self, stages: Stages, conversation: Conversation, observer: Observer, metrics: Metrics | None = None
    ) -> None:
        self.stages = stages
        self.observer = observer
        self.metrics = metrics or Metrics()
        self._now = conversation
        self._turns: dict[int, Turn] = {}
        self._latest: Turn | None = None
        self._tasks = TrackedTasks(self.metrics)
        self._chimes = Chimes(stages.chime, self._tasks, self.metrics)
        self._resting = asyncio.Event()
        self._resting.set()
        self._closing = False
        self.on_reset_hearing: Callable[[], None] = lambda: None
        self.on_understood: Callable[[int, Understanding], None] = lambda _number, _understanding: None
        self.on_gone_on: Callable[[], None] = lambda: None

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        self.observer.state_changed(self._now.state, muted=self._now.muted)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = kind is not None
        await self._tasks.__aexit__(kind, error, trace)

    @property
    def state(self) -> State:
        """What the agent is doing."""
        return self._now.state

    @property
    def muted(self) -> bool:
        """True while the microphone is muted."""
        return self._now.muted

    @property
    def invitation(self) -> Invitation:
        """What the agent listens for without having been activated."""
        return self._now.invitation

    @property
    def has_rival(self) -> bool:
        """True while somebody speaks, or has spoken, into an answer, and it is not known what."""
        return self._now.rival is not None

    @property
    def conversation(self) -> Conversation:
        """The state machine's whole state, for the runner that comes after this one."""
        return self._now

    def channels(self) -> tuple[ChannelStatistics, ...]:
        """Return the channels of the last turn."""
        return () if self._latest is None else self._latest.channels()

    def recent_level(self, window_s: float) -> float:
        """Return how loud what was played in the last `window_s` was: RMS, 0 to 1."""
        turn = self._turns.get(self._now.turn_id)
        sink = None if turn is None else turn.sink
        return self.stages.recent_level(window_s) if sink is None else sink.recent_level(window_s)

    def post(self, fact: Fact) -> None:
        """Tell the state machine a fact and carry out what it says, at once."""
        if self._closing:
            return
        before = self._now
        self._now, commands = step(before, fact)
        for command in commands:
            self._carry_out(command)
        if isinstance(fact, ListeningLapsed) and self._now.state is not before.state:
            self.stages.reasoner.expire()
        if self._now.in_turn:
            self._resting.clear()
        else:
            self._resting.set()

    async def rested(self) -> None:
        """Wait until no turn is going on."""
        await self._resting.wait()

    async def settled(self) -> None:
        """Wait until the turns that live now have ended: nothing uses the stages any more that they began with."""
        if tasks := {turn.task for turn in self._turns.values() if turn.task is not None}:
            await asyncio.wait(tasks)

    async def hear_more(self, frame: AudioChunk) -> None:
        """Hand a frame of the utterance to the recognizer; waits while it is behind."""
        if (turn := self._heard_turn) is not None:
            await turn.utterance.put(frame)

    async def pause(self, mark: PauseMark | QuietMark) -> None:
        """Say that a pause began within the utterance, or may begin, or that speech has resumed."""
        if (turn := self._heard_turn) is not None:
            await turn.utterance.put(mark)

    async def considered(self) -> float:
        """Wait until the pause that has just begun was used; return the seconds that took."""
        return 0.0 if (turn := self._heard_turn) is None else await turn.utterance.considered()

    def announce(self, text: str, *, alert: bool = False) -> None:
        """Say `text` as a turn of its own, as soon as no other goes on; an alert begins with a tone."""
        self.post(AnnouncementDue(text, alert))

    def interrupt(self, by: str) -> None:
        """Stop whatever turn goes on."""
        self.post(Interrupted(by))

    def weigh(self, turn: Turn, understanding: Understanding, mark: PauseMark | None) -> Understanding | None:
        """Decide whether what was said into an answer interrupts it; what was said otherwise is always meant.

        Args:
            turn: Whose utterance it is.
            understanding: What was understood.
            mark: The pause, which still goes on; None at the utterance's end.

        Returns what is to be answered; None where it is not, or not yet, known to be meant for the agent.
        """
        if not turn.began_in_answer or turn.is_confirmed:
            return self.stages.believes(understanding)
        if not understanding.transcript.final:
            return None  # probable words are enough to begin an answer, and too little to end one
        endpoint = turn.report.endpoint
        spoke_s = 0.0 if mark is not None or endpoint is None else endpoint.speech_end_s - _PRE_ROLL_S
        meant = self.stages.interrupts(understanding, spoke_s)
        is_rival = self._now.rival is not None and self._now.rival.turn_id == turn.turn_id
        if meant is None and not is_rival and (self._now.mode == "always" or self._now.invitation != "nothing"):
            # The answer has ended by itself meanwhile, and after it one may speak anyway.
            meant = self.stages.believes(understanding)
        if meant is not None:
            turn.is_confirmed = True
            if self.gone_on_with(turn):
                self.on_gone_on()
            by = "stop word" if meant.match is not None and meant.match.intent in STOPPING else "speech"
            self.post(InterruptionConfirmed(turn.turn_id, by))
        elif mark is None:
            self._dismiss(turn, understanding)
        return meant

    def _dismiss(self, turn: Turn, understanding: Understanding) -> None:
        if (old := self._turns.get(self._now.turn_id)) is not None and old is not turn:
            old.note_now("interruption", f"dismissed: {understanding.transcript.text!r} does not interrupt")
        _log.info(
            "what was said into turn %d does not interrupt it", self._now.turn_id, extra={"EDGE_TURN": turn.turn_id}
        )
        turn.dismissed = True
        self.post(InterruptionDismissed(turn.turn_id))
        self._cancel(turn.turn_id, "no interruption")

    @property
    def heard_turn_id(self) -> int:
        """The turn whose utterance is being heard, or was last."""
        rival = self._now.rival
        return self._now.turn_id if rival is None else rival.turn_id

    @property
    def _heard_turn(self) -> Turn | None:
        return self._turns.get(self.heard_turn_id)

    def _carry_out(self, command: Command) -> None:
        match command:
            case OpenTurn(turn_id, since_s):
                self._open_turn(turn_id, since_s)
            case CloseUtterance(turn_id, endpoint, lag_s):
                self._close_utterance(turn_id, endpoint, lag_s)
            case Announce(turn_id, text, alert):
                report = TurnReport(turn_id, reply=text, source="intent", alert=alert, announced=text)
                self._start(self._new_turn(report), announce)
            case HoldReply(turn_id):
                self._hold(turn_id, held=True)
            case ResumeReply(turn_id):
                self._hold(turn_id, held=False)
            case CancelTurn(turn_id, reason):
                self._cancel(turn_id, reason)
            case Chime(name):
                self._chimes.play(name)
            case ResetHearing():
                self.on_reset_hearing()
            case ShowState(state, muted):
                self.observer.state_changed(state, muted=muted)

    def gone_on_with(self, turn: Turn) -> str:
        """Return what was said just before `turn` and had no effect yet: it may go on with that; else nothing."""
        old = turn.older
        if old is None or old.report.intent is not None:
            return ""
        if old.player is not None and old.player.heard_text():
            return ""  # whoever has heard words of the answer says something new
        outcome = None if old.reply is None else old.reply.answer.outcome
        return "" if outcome is not None and outcome.call else old.report.heard or ""

    def _open_turn(self, turn_id: int, since_s: float) -> None:
        turn = self._new_turn(TurnReport(turn_id))
        turn.clock.set_to(since_s)
        turn.began_in_answer = self._now.rival is not None
        turn.was_invited = self._now.invitation != "nothing" and not turn.began_in_answer
        old = self._turns.get(self._now.turn_id)
        if turn.began_in_answer and old is not None and old.report.endpoint is not None:
            ago_s = old.clock.now_s() - since_s - old.report.endpoint.decided_s
            turn.older = old if ago_s <= _GOES_ON_S else None
            old.older = None  # what that one had gone on with is in its own words
        self._start(turn, converse)

    def _new_turn(self, report: TurnReport) -> Turn:
        clock = self.metrics.clock
        turn = Turn(report, clock, TurnClock(clock), Utterance())
        turn.released.set()
        return turn

    def _close_utterance(self, turn_id: int, endpoint: Endpoint, lag_s: float) -> None:
        if (turn := self._turns.get(turn_id)) is None:
            return
        turn.report.endpoint = endpoint
        turn.clock.set_to(endpoint.decided_s + lag_s)
        turn.note_now("endpoint", endpoint.why or endpoint.reason.value)
        turn.utterance.close()

    def _hold(self, turn_id: int, *, held: bool) -> None:
        if (turn := self._turns.get(turn_id)) is None:
            return
        (turn.released.clear if held else turn.released.set)()
        turn.note_now("interruption", "somebody speaks: held" if held else "goes on")
        if turn.gate is not None:
            (turn.gate.hold if held else turn.gate.resume)()

    def _start(self, turn: Turn, work: Callable[[Runner, Turn], Coroutine[object, object, Invitation]]) -> None:
        self._latest = self._turns[turn.turn_id] = turn
        with log_fields(EDGE_TURN=turn.turn_id, EDGE_STAGE="turn"):
            turn.task = self._tasks.create_task(self._live(turn, work), name=f"turn.{turn.turn_id}")

    def _cancel(self, turn_id: int, reason: str) -> None:
        turn = self._turns.get(turn_id)
        if turn is None or turn.task is None or turn.cut_off:
            return
        if not turn.dismissed:
            _log.info("turn %d is cut off: %s", turn_id, reason, extra={"EDGE_TURN": turn_id})
        turn.cut_off = True
        turn.note_now("interruption", reason)
        turn.report.interrupted = turn.report.endpoint is not None or turn.report.alert
        turn.report.cut_off_by = reason
        remember(self, turn)
        if turn.gate is not None:
            turn.gate.shut()
        turn.task.cancel()

    async def _live(self, turn: Turn, work: Callable[[Runner, Turn], Coroutine[object, object, Invitation]]) -> None:
        """Run a turn to its end, whatever the end is: what goes wrong in it costs this turn alone."""
        then: Invitation = "nothing"

        async def run() -> None:
            nonlocal then
            then = await work(self, turn)

        try:
            error = await run_isolated(run(), f"turn.{turn.turn_id}.work", self.metrics)
            if error is not None:
                self._report(turn, error)
        except asyncio.CancelledError:
            if self._closing or not turn.cut_off:
                raise  # the agent shuts down
        finally:
            turn.utterance.end()
            turn.older = None
            self._turns.pop(turn.turn_id, None)
            try:
                self._tell_end(turn)
            finally:
                self.post(TurnEnded(turn.turn_id, then if self.stages.follow_up or then == "question" else "nothing"))

    def _tell_end(self, turn: Turn) -> None:
        report = turn.report
        if turn.dismissed or (report.endpoint is None and report.reply is None and not turn.failed):
            return
        # What was flushed is not played out.
        played_s = turn.clock.now_s() if turn.cut_off else turn.clock.played_out_s()
        report.timings.done_s = report.timings.done_s or played_s
        turn.finish_timeline()
        self.observer.turn_ended(report)

    def _report(self, turn: Turn, error: Exception) -> None:
        expected = isinstance(error, EdgeAgentError)
        message = str(error) if expected else f"turn {turn.turn_id} failed: {type(error).__name__}: {error}"
        # What was raised on purpose says all in its message; anything else is a defect, whose place is wanted.
        _log.error("turn %d: %s", turn.turn_id, message, exc_info=None if expected else error)
        turn.failed = True
        turn.note_now("fault", message)
        self.observer.fault(message)
        self._chimes.play("failed")
