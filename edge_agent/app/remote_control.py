"""What commands from outside do: the controls of the running agent."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from edge_agent.mqtt.controls import CommandError
from edge_agent.pipeline.answering import Chunked
from edge_agent.pipeline.commands import State
from edge_agent.pipeline.facts import MuteChanged
from edge_agent.pipeline.observer import SilentObserver
from edge_agent.reason.timers import Timer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from edge_agent.app.brain import Brain
    from edge_agent.mqtt.controls import Data
    from edge_agent.pipeline.answering import Answer
    from edge_agent.pipeline.ears import Ears
    from edge_agent.pipeline.report import TurnReport
    from edge_agent.pipeline.run import Runner
    from edge_agent.reason.ports import Volume
    from edge_agent.reason.timers import TimerBook

P = TypeVar("P")

_MOST_WAITING = 8
"""Announcements; half of what the conversation keeps, so that what rings finds room."""
_MOST_REPLY = 8000
"""Characters of an answer; a model that goes on and on is cut off here."""
_SERVED = frozenset((State.HEARING, State.THINKING, State.SPEAKING))
_HEARING = frozenset((State.LISTENING, State.HEARING))


@dataclass(frozen=True, slots=True)
class ControlledParts:
    """The agent's parts as they are at the moment; None while one is changed for another.

    Attributes:
        hears: Whether a microphone is open.
        kept: Returns when what an intent changed is on disk, or that takes too long.
        restart: Ends the service so that it is started again; None where nobody would start it.
        pull_model: Downloads a model by its name in the catalogue, and takes it into use.
    """

    runner: Callable[[], Runner | None]
    ears: Callable[[], Ears | None]
    brain: Callable[[], Brain | None]
    volume: Callable[[], Volume]
    hears: Callable[[], bool]
    kept: Callable[[], Awaitable[None]]
    restart: Callable[[], None] | None
    pull_model: Callable[[str], Awaitable[Data]]


@dataclass(eq=False, slots=True)
class _Saying:
    text: str
    ended: asyncio.Future[TurnReport]


class RemoteControl(SilentObserver):
    """Carries commands out on the running agent; has to observe it. Belongs to the loop.

    Args:
        parts: What it acts on.
        changed: Is told that something of the status is different.
    """

    def __init__(self, parts: ControlledParts, changed: Callable[[], None] = lambda: None) -> None:
        self._parts = parts
        self._changed = changed
        self._sayings: deque[_Saying] = deque()
        self._asking: asyncio.Timeout | None = None

    def state_changed(self, state: State, *, muted: bool) -> None:
        """Give a remote question up as soon as somebody speaks, or is spoken to."""
        if state in _SERVED and self._asking is not None and not self._asking.expired():
            self._asking.reschedule(asyncio.get_running_loop().time())

    def turn_ended(self, report: TurnReport) -> None:
        """Tell who had something said that it was; of equal texts the first one."""
        if report.announced is None or report.alert:
            return
        for saying in self._sayings:
            if saying.text == report.announced and not saying.ended.done():
                saying.ended.set_result(report)
                return

    async def say(self, text: str) -> Data:
        """Say `text` as a turn of its own; returns when that has ended.

        Raises:
            CommandError: Too much waits to be said, or nothing of it could be played.
        """
        runner = _present(self._parts.runner())
        if len(runner.conversation.waiting) >= _MOST_WAITING:
            raise CommandError("busy", f"{_MOST_WAITING} texts wait to be said; send it again later")
        saying = _Saying(text, asyncio.get_running_loop().create_future())
        self._sayings.append(saying)
        try:
            runner.announce(text)
            report = await saying.ended
        finally:
            self._sayings.remove(saying)
        is_cut_off = report.cut_off_by is not None
        if report.timings.first_audio_s is None and not is_cut_off:
            raise CommandError("failed", "nothing of it could be played; the status tells the fault")
        return {"interrupted": is_cut_off}

    async def ask(self, text: str) -> Data:
        """Answer typed text beside the conversation, which knows nothing of it; people go first.

        Raises:
            CommandError: Somebody is being served.
        """
        runner, brain = _present(self._parts.runner()), _present(self._parts.brain())
        if runner.state in _SERVED or runner.invitation != "nothing" or self._asking is not None:
            raise CommandError("busy", "somebody is being answered; send it again under another id")
        try:
            async with asyncio.timeout(None) as self._asking:
                answer = await brain.responder.answer_text(text)
                if answer.text is not None:
                    self._asking.reschedule(None)  # done is done: what is left is to tell it
                    await self._parts.kept()
                return await self._told(answer)
        except TimeoutError:
            raise CommandError(
                "busy", "somebody spoke to the device meanwhile; send it again under another id"
            ) from None
        finally:
            self._asking = None
            brain.responder.expire()  # what the agent asked back was not asked in the room
            self._changed()

    async def listen(self) -> Data:
        """Press the button, and let it go.

        Raises:
            CommandError: The microphone is muted or absent, or the answer that is given may not be cut off.
        """
        runner, ears = _present(self._parts.runner()), _present(self._parts.ears())
        if not self._parts.hears():
            raise CommandError("unavailable", "there is no microphone at the moment")
        if runner.muted:
            raise CommandError("unavailable", "the microphone is muted; send `unmute` first")
        ears.press()
        await ears.release()
        if runner.state not in _HEARING:
            raise CommandError("busy", "an answer is given, and interruption.by does not let a button cut it off")
        return {}

    async def stop(self) -> Data:
        """Cut off what is said or heard, and stop what rings."""
        runner, brain = _present(self._parts.runner()), _present(self._parts.brain())
        bell = brain.actor.bell
        silenced, rang = runner.conversation.in_turn, bool(bell.ringing)
        runner.interrupt("command")
        bell.stop()
        return {"silenced": silenced, "rang": rang}

    async def mute(self, *, muted: bool) -> Data:
        """Mute or unmute the microphone."""
        runner = _present(self._parts.runner())
        if runner.muted is not muted:
            runner.post(MuteChanged(muted))
        self._changed()
        return {"muted": runner.muted}

    async def set_volume(self, percent: int) -> Data:
        """Set the volume, and let a speaker that was silenced be heard again, as by voice.

        Raises:
            DeviceError: The device said no.
        """
        volume = self._parts.volume()
        if volume.muted:
            volume.set_muted(False)
        volume.set_percent(percent)
        self._changed()
        return {"percent": volume.percent}

    async def set_timer(self, seconds: float, name: str) -> Data:
        """Set a timer; returns when it is on disk.

        Raises:
            BusyError: There are too many already.
        """
        book = self._timers
        timer = book.set(seconds, name)
        await self._parts.kept()
        return {"timers": [_described(book, timer)]}

    async def cancel_timers(self, *, name: str, seconds: float | None, everything: bool) -> Data:
        """Cancel timers, also one that rings.

        Raises:
            CommandError: There is none such.
        """
        bell = _present(self._parts.brain()).actor.bell
        book = bell.timers
        meant = book.timers if everything else book.find(name, seconds)
        rings = [timer for timer in bell.reached_by(Timer) if everything or _is_called(timer, name, seconds)]
        if not meant and not rings and not everything:
            raise CommandError("failed", "there is no such timer; `list` tells which there are")
        cancelled = [_described(book, timer) for timer in (*rings, *meant)]
        if rings:
            bell.stop()
        for timer in meant:
            book.cancel(timer)
        await self._parts.kept()
        return {"timers": cancelled}

    async def list_timers(self) -> Data:
        """Return the timers that have not rung."""
        book = self._timers
        return {"timers": [_described(book, timer) for timer in book.timers]}

    async def pull_model(self, name: str) -> Data:
        """Download a model of the catalogue; returns when it is in place, and in use where it was chosen.

        Raises:
            CommandError: The agent starts, or the device is under pressure.
            EdgeAgentError: It can't be had; the message says why.
        """
        _present(self._parts.brain())
        data = await self._parts.pull_model(name)
        self._changed()
        return data

    def check_restart(self) -> Data:
        """Make sure that somebody would start the service again.

        Raises:
            CommandError: Nobody would.
        """
        if self._parts.restart is None:
            raise CommandError("unavailable", "the agent does not run as a service, and nobody would start it again")
        return {}

    def restart(self) -> None:
        """End the service."""
        if self._parts.restart is not None:
            self._parts.restart()

    @property
    def _timers(self) -> TimerBook:
        return _present(self._parts.brain()).actor.bell.timers

    async def _told(self, answer: Answer) -> Data:
        """Hear an answer out, in text."""
        reply = answer.text
        if reply is None and answer.sentences is not None:
            committed = asyncio.Event()
            committed.set()
            reply = await _joined(answer, Chunked(lambda: None, committed, self._kept))
        called = None if answer.outcome is None else answer.outcome.called
        return {
            "reply": reply or None,
            "intent": answer.intent if called is None else called.intent,
            "slots": dict(answer.slots if called is None else called.slots),
            "source": answer.source,
        }

    async def _kept(self) -> None:
        await self._parts.kept()


async def _joined(answer: Answer, how: Chunked) -> str:
    sentences: list[str] = []
    if answer.sentences is not None:
        async with aclosing(answer.sentences(how)) as spoken:
            async for sentence in spoken:
                sentences.append(sentence)
                if sum(map(len, sentences)) > _MOST_REPLY:
                    break
    return " ".join(sentences)[:_MOST_REPLY]


def _present(part: P | None) -> P:
    if part is None:
        raise CommandError("unavailable", "the agent starts, or changes its settings; send it again under another id")
    return part


def _is_called(timer: Timer, name: str, seconds: float | None) -> bool:
    return (not name or timer.name.casefold() == name.casefold()) and seconds in (None, timer.duration_s)


def _described(book: TimerBook, timer: Timer) -> Data:
    return {
        "id": timer.id,
        "name": timer.name,
        "seconds": round(timer.duration_s, 1),
        "left_s": round(book.left_s(timer), 1),
        "paused": timer.paused,
    }
