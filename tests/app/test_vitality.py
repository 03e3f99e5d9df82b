"""The judge of progress and the feeding of the watchdog, on virtual time."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
from service_manager import service_manager
from virtual_time import in_virtual_time

from edge_agent.app.vitality import (
    CHANGE_S,
    FRAMES_S,
    GRACE_S,
    LATE_S,
    OUTPUT_S,
    SOUND_CALL_S,
    TURN_S,
    Signs,
    Vitality,
    Watchdog,
)
from edge_agent.runtime.notify import Notifier

Scene = Callable[[float], Signs]


def hearing(now_s: float) -> Signs:
    """Fifty frames a second, and nothing else."""
    return Signs(frames=round(now_s * 50))


def verdicts(scene: Scene, until_s: float) -> list[tuple[int, str]]:
    """Judge a look a second; return when the verdict began to be another kind of one, with its first words."""
    vitality, changes, last = Vitality(), [], ""
    for now_s in range(round(until_s) + 1):
        verdict = vitality.judge(scene(float(now_s)), float(now_s))
        if bool(verdict) is not bool(last):
            changes.append((now_s, verdict))
        last = verdict
    return changes


def test_while_frames_come_it_is_alive() -> None:
    """For hours."""
    assert verdicts(hearing, 7200) == []


def test_frames_that_stop_without_a_reason_are_not_life() -> None:
    """A capture thread has died, and nobody has noticed."""
    ((at_s, verdict),) = verdicts(lambda now_s: hearing(min(now_s, 100)), 200)
    assert at_s == 100 + FRAMES_S + 1
    assert verdict == "no sound has come in for 11 s, and nobody knows why"


def test_frames_that_come_again_are_life_again() -> None:
    """Whatever it was."""
    found = verdicts(lambda now_s: hearing(now_s if not 100 < now_s < 130 else 100), 200)
    assert [(at_s, bool(verdict)) for at_s, verdict in found] == [(111, True), (130, False)]


def test_a_microphone_that_is_away_is_no_reason_to_restart() -> None:
    """For as long as its supervisor tries again when it has said it would: for days."""
    promised = 0.0

    def scene(now_s: float) -> Signs:
        nonlocal promised
        promised = now_s + 30 if now_s >= promised else promised
        return Signs(frames=7, trouble="no microphone matches 'USB'", next_sign_s=promised)

    assert verdicts(scene, 86_400) == []


def test_a_supervisor_that_breaks_its_promise_is_not_alive() -> None:
    """It hangs while it opens the device."""
    ((at_s, verdict),) = verdicts(lambda _: Signs(trouble="absent", next_sign_s=60.0), 100)
    assert at_s == 60 + GRACE_S + 1
    assert verdict.startswith("the microphone is in trouble, and was to be tried again 6 s ago")


def test_a_promise_without_trouble_is_no_excuse() -> None:
    """Frames are due; nobody has said that they are not."""
    ((at_s, _),) = verdicts(lambda _: Signs(next_sign_s=1e9), 50)
    assert at_s == FRAMES_S + 1


def test_a_sound_system_that_hangs_for_good_is_not_life() -> None:
    """The microphone's supervisor keeps every promise, and no attempt of its can come to anything in this process."""

    def scene(now_s: float) -> Signs:
        hung = 3 if now_s >= 100 else None
        return Signs(
            frames=7, trouble="the sound system does not answer for 4 s", next_sign_s=now_s + 31, sound_call=hung
        )

    ((at_s, verdict),) = verdicts(scene, 1000)
    assert at_s == 100 + SOUND_CALL_S + 1
    assert verdict == "a call into the sound system has hung for 301 s; only a new process gets out of it"


def test_calls_into_the_sound_system_that_return_are_life() -> None:
    """However many there are, and however long none is; what was stopped as a whole has its time again."""

    def scene(now_s: float) -> Signs:
        number = int(now_s // 200)
        return Signs(frames=round(now_s * 50), sound_call=number if number % 4 else None)

    assert verdicts(scene, 7200) == []
    vitality, hung = Vitality(), replace(hearing(1), sound_call=5)
    vitality.judge(hung, 0)
    vitality.resume()
    assert vitality.judge(hung, 1000) == ""
    assert vitality.judge(replace(hung, frames=60, is_changing=True), 1000 + SOUND_CALL_S) == ""
    assert "hung" in vitality.judge(replace(hung, frames=70), 1001 + SOUND_CALL_S)


def test_an_output_that_is_stuck_is_not_life() -> None:
    """Something is pending, nobody holds it, and nothing is played."""

    def scene(now_s: float) -> Signs:
        return replace(hearing(now_s), played_s=min(now_s, 50.0), pending_s=1.5)

    ((at_s, verdict),) = verdicts(scene, 100)
    assert at_s == 50 + OUTPUT_S + 1
    assert verdict == "the speaker has played nothing for 11 s, and 1.5 s are pending"


@pytest.mark.parametrize(
    "output",
    [
        lambda now_s: {"played_s": 3.0, "pending_s": 1.0, "is_held": True},
        lambda now_s: {"played_s": 3.0, "pending_s": 0.0},
        lambda now_s: {"played_s": now_s, "pending_s": 1.0},
        # An answer every 25 s, each on a speaker that was opened anew and has played as much before as the last one.
        lambda now_s: {"played_s": 0.0, "pending_s": 1.0 if now_s % 25 < 8 else 0.0},
    ],
    ids=["held", "nothing pending", "playing", "one answer after the other"],
)
def test_an_output_that_has_a_reason_is_alive(output: Callable[[float], dict[str, float]]) -> None:
    """A held answer, or none, is no stall."""
    assert verdicts(lambda now_s: replace(hearing(now_s), **output(now_s)), 600) == []  # type: ignore[arg-type]


def test_a_turn_that_outlasts_every_bound_is_not_alive() -> None:
    """An engine's thread hangs, and whatever was to give it up, too."""
    ((at_s, verdict),) = verdicts(lambda now_s: replace(hearing(now_s), turn=("thinking", 3)), TURN_S + 100)
    assert at_s == TURN_S + 1
    assert "nothing has happened in the turn" in verdict


def test_long_turns_and_long_pauses_are_alive() -> None:
    """A turn that advances may be long, and between turns there may be days."""
    assert verdicts(lambda now_s: replace(hearing(now_s), turn=("speaking", now_s // 60)), 10 * TURN_S) == []
    assert verdicts(lambda now_s: replace(hearing(now_s), turn=None), 10 * TURN_S) == []


def test_a_change_may_take_its_time_and_no_longer() -> None:
    """While the agent is another one there are no frames; a change that hangs is found out."""

    def scene(now_s: float) -> Signs:
        return hearing(now_s) if now_s < 50 else Signs(changes=1, is_changing=True)

    ((at_s, verdict),) = verdicts(scene, 50 + CHANGE_S + 50)
    assert at_s == 50 + CHANGE_S + 1
    assert verdict.startswith("a change of the configuration")


def test_after_a_change_everything_has_its_whole_time_again() -> None:
    """The new microphone may take its first seconds; and one change after the other is no endless one."""
    assert verdicts(lambda now_s: Signs(changes=round(now_s) // 200, is_changing=now_s % 200 < 195), 3000) == []


def test_a_late_loop_is_not_fed_from() -> None:
    """Even if everything else goes on; a single delay has passed when it is seen."""
    late = {10, 20, 21, *range(30, 36)}
    found = verdicts(lambda now_s: replace(hearing(now_s), lag_s=LATE_S + 0.5 if now_s in late else 0.1), 60)
    assert found == [(32, "the event loop is 2.5 s late"), (36, "")]


class Fed(Notifier):
    """Writes down when it was fed."""

    def __init__(self, watchdog_s: float | None) -> None:
        super().__init__(None)
        self.watchdog_s = watchdog_s
        self.times: list[float] = []
        self.takes = True

    def feed(self) -> bool:
        """Write down."""
        if self.takes:
            self.times.append(asyncio.get_running_loop().time())
        return self.takes


async def watched(watchdog: Watchdog, seconds: float) -> None:
    """Let it feed for so long."""
    feeding = asyncio.create_task(watchdog.feed_loop())
    await asyncio.sleep(seconds)
    feeding.cancel()
    await asyncio.wait({feeding})


@in_virtual_time
async def test_it_is_fed_three_times_an_interval() -> None:
    """And by nobody where no interval is asked for."""
    fed, loop = Fed(30.0), asyncio.get_running_loop()
    watchdog = Watchdog(fed, lambda: hearing(loop.time()))
    await watched(watchdog, 65)
    assert fed.times == pytest.approx([0, 10, 20, 30, 40, 50, 60])
    assert watchdog.describe() == {
        "interval_s": 30.0,
        "fed": 7,
        "longest_gap_s": 10.0,
        "withheld": 0,
        "verdict": "",
    }
    unwatched = Fed(None)
    await watched(Watchdog(unwatched, lambda: hearing(loop.time())), 65)
    assert unwatched.times == []


@in_virtual_time
async def test_it_is_fed_while_there_is_no_agent_yet() -> None:
    """The models are being loaded, and the loop runs."""
    fed = Fed(3.0)
    await watched(Watchdog(fed, lambda: None), 6.5)
    assert fed.times == pytest.approx([0, 1, 2, 3, 4, 5, 6])


@in_virtual_time
async def test_feeding_stops_with_one_line_and_begins_again() -> None:
    """The reason is told once, however long it lasts."""
    fed, loop, told = Fed(30.0), asyncio.get_running_loop(), list[str]()
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("edge_agent.app.vitality")
    logger.addHandler(handler)
    try:
        scene = Watchdog(fed, lambda: hearing(loop.time() if not 20 < loop.time() < 90 else 20), told.append)
        await watched(scene, 95)
    finally:
        logger.removeHandler(handler)
    assert fed.times == pytest.approx([0, 10, 20, 30, 90])
    assert scene.withheld == 1
    assert scene.longest_gap_s == pytest.approx(60)
    assert [bool(verdict) for verdict in told] == [True, False]
    assert records == [
        "not alive: no sound has come in for 11 s, and nobody knows why; the watchdog is not fed until that ends",
        "alive again: the watchdog is fed",
    ]


@in_virtual_time
async def test_a_feed_that_was_not_taken_is_tried_again_soon() -> None:
    """The manager's queue was full."""
    fed, loop = Fed(30.0), asyncio.get_running_loop()
    fed.takes = False

    def take_again() -> None:
        fed.takes = True

    loop.call_later(14.5, take_again)
    await watched(Watchdog(fed, lambda: hearing(loop.time())), 26)
    assert fed.times == pytest.approx([15, 25])


@in_virtual_time
async def test_what_was_stopped_for_a_while_has_its_time_again() -> None:
    """SIGSTOP, SIGCONT: for two minutes nothing could advance, and nothing is wrong."""
    fed, loop, told = Fed(30.0), asyncio.get_running_loop(), list[str]()
    stopped_s = 0.0

    def stop() -> None:
        nonlocal stopped_s
        stopped_s = 120.0
        loop.jump(120.0)  # type: ignore[attr-defined]

    loop.call_later(40, stop)
    await watched(Watchdog(fed, lambda: hearing(loop.time() - stopped_s), told.append), 200)
    assert told == []
    assert fed.times[-1] >= 190


async def test_a_blocked_loop_can_not_feed() -> None:
    """On a real loop, with a real socket: while a callback runs there is no sign of life, whatever is blocked in it."""
    with service_manager() as manager:
        notifier = Notifier.from_environment(manager.environment(watchdog_s=0.24))
        watchdog = Watchdog(notifier, lambda: None)
        feeding = asyncio.create_task(watchdog.feed_loop())
        await asyncio.sleep(0.3)
        time.sleep(0.7)  # noqa: ASYNC251 - to block the loop is the point
        await asyncio.sleep(0.3)
        feeding.cancel()
        await asyncio.wait({feeding})
        notifier.close()
        feeds = manager.times("WATCHDOG")
    gaps = [after - before for before, after in itertools.pairwise(feeds)]
    assert max(gaps) >= 0.65
    assert len(feeds) >= 4
    assert watchdog.longest_gap_s >= 0.65
