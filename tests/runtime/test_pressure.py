"""The pressure ladder: up at once, down slowly, on recorded boards and on anything Hypothesis thinks of."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar, cast

import boards
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import PoolBusyError
from edge_agent.runtime.pool import Pool
from edge_agent.runtime.pressure import (
    Levels,
    PressureLadder,
    PressureState,
    Rung,
    Shortage,
    Thresholds,
    allowance,
    pressure_loop,
)
from edge_agent.runtime.sensors import Reading, Sensors, Throttled

T = TypeVar("T")

_MIB = 1 << 20


class Device:
    """A board, its sensors and a ladder, on a clock that each look moves by `every_s`."""

    def __init__(self, board: boards.Board, every_s: float = 2.0) -> None:
        self.ladder = PressureLadder()
        self.sensors = Sensors(board.root, cores=4)
        self.every_s = every_s
        self.now_s = 0.0

    def look(self, times: int = 1, lag_s: float | None = 0.0) -> Rung:
        """Take in as many readings."""
        for _ in range(times):
            self.now_s += self.every_s
            self.ladder.step(self.sensors.read(), lag_s, self.now_s)
        return self.ladder.rung

    def why(self) -> tuple[str, ...]:
        """Return the ladder's reasons."""
        return self.ladder.reasons

    def rungs(self, for_s: float) -> list[Rung]:
        """Return the rungs of a while, each once."""
        seen = [self.ladder.rung]
        for _ in range(round(for_s / self.every_s)):
            if self.look() != seen[-1]:
                seen.append(self.ladder.rung)
        return seen


@pytest.mark.parametrize("make", [boards.raspberry_pi_4, boards.raspberry_pi_5])
def test_a_raspberry_pi_goes_up_every_rung_and_down_again(
    tmp_path: Path, make: Callable[[Path], boards.RaspberryPi]
) -> None:
    """Heated to 85 °C and cooled again, it names the temperature, and comes down one rung after another."""
    board = make(tmp_path)
    device = Device(board)
    assert device.look() is Rung.NORMAL
    assert device.why() == ()
    for temperature_c, rung in ((74.9, Rung.NORMAL), (75, Rung.WARM), (80, Rung.HOT), (85, Rung.CRITICAL)):
        board.heat(temperature_c)
        assert device.look() is rung
    assert device.why() == ("temperature 85 °C",)
    board.heat(82.5)
    assert device.rungs(200) == [Rung.CRITICAL]
    board.heat(60)
    assert device.rungs(200) == [Rung.CRITICAL, Rung.HOT, Rung.WARM, Rung.NORMAL]
    assert device.why() == ()


@pytest.mark.parametrize("make", [boards.raspberry_pi_4, boards.raspberry_pi_5])
def test_a_throttled_raspberry_pi_at_85_degrees_is_critical(
    tmp_path: Path, make: Callable[[Path], boards.RaspberryPi]
) -> None:
    """One look is enough, and every cause is named, the worst first."""
    board = make(tmp_path)
    board.heat(85.2)
    board.throttle(0xE000E)
    device = Device(board)
    assert device.look() is Rung.CRITICAL
    assert device.why() == ("temperature 85.2 °C", "throttled", "clock capped", "soft temperature limit")


@pytest.mark.parametrize("make", [boards.raspberry_pi_4, boards.raspberry_pi_5])
def test_under_voltage_makes_a_cool_board_hot(tmp_path: Path, make: Callable[[Path], boards.RaspberryPi]) -> None:
    """Half the threads draw less current; what was seen earlier does not count, and it comes back by itself."""
    board = make(tmp_path)
    board.throttle(0x50005)
    device = Device(board)
    assert device.look() is Rung.HOT
    assert device.why() == ("under-voltage", "throttled")
    board.throttle(0x50000)
    assert device.look() is Rung.HOT
    assert device.why() == ("recovering",)
    assert device.rungs(100) == [Rung.HOT, Rung.WARM, Rung.NORMAL]


def test_the_voltage_drivers_alarm_is_enough(tmp_path: Path) -> None:
    """A kernel without the firmware's file knows under-voltage all the same."""
    board = boards.raspberry_pi_5(tmp_path)
    board.remove(board.firmware)
    board.under_voltage(alarm=True)
    assert Device(board).look() is Rung.HOT


def test_the_soft_limit_of_a_raspberry_pi_3_is_warm(tmp_path: Path) -> None:
    """A 3B+ slows down a little from 60 °C on, and stays there for hours."""
    board = boards.raspberry_pi_4(tmp_path, temperature_c=61)
    board.throttle(8)
    device = Device(board)
    assert device.rungs(200) == [Rung.NORMAL, Rung.WARM]
    assert device.why() == ("soft temperature limit",)


def test_a_temperature_around_a_threshold_does_not_flap(tmp_path: Path) -> None:
    """A degree up and down, once a look, is one change."""
    board = boards.raspberry_pi_4(tmp_path)
    device = Device(board)
    changes = 0
    for look in range(300):
        board.heat(80.4 if look % 2 else 79.4)
        before = device.ladder.rung
        changes += device.look() != before
    assert (device.ladder.rung, changes) == (Rung.HOT, 2)


def test_a_board_with_limits_of_its_own_is_held_to_them(tmp_path: Path) -> None:
    """An S912 slows down at 70 °C, so that is hot; a higher limit raises nothing."""
    board = boards.amlogic(tmp_path)
    device = Device(board)
    for temperature_c, rung in (
        (64, Rung.NORMAL),
        (65, Rung.WARM),
        (70, Rung.HOT),
        (84, Rung.HOT),
        (85, Rung.CRITICAL),
    ):
        board.zone(0, "soc_thermal", temperature_c)
        assert device.look() is rung
    cool = boards.rk3588(tmp_path / "rk3588")
    cool.zone(1, "bigcore0-thermal", 80)
    assert Device(cool).look() is Rung.HOT


def test_a_machine_that_switches_off_early_gives_up_earlier() -> None:
    """5 °C before the kernel pulls the plug it is critical, and the levels stay in order."""
    levels = Thresholds().temperature_levels(Reading(soft_limit_c=95.0, critical_limit_c=80.0))
    assert (levels.warm, levels.hot, levels.critical) == (75.0, 75.0, 75.0)


def test_a_kernel_without_psi_goes_by_the_load(tmp_path: Path) -> None:
    """Sixteen tasks for four cores are hot, once they were seen twice, and never critical."""
    board = boards.raspberry_pi_4(tmp_path)
    board.load(16)
    device = Device(board)
    assert device.look() is Rung.NORMAL
    assert device.look() is Rung.HOT
    assert device.why() == ("load 4.0 a core",)
    board.load(400)
    assert device.look(5) is Rung.HOT


def test_a_control_groups_memory_drives_the_ladder(tmp_path: Path) -> None:
    """On 512 MiB the limits are 77, 38 and 19 MiB, whatever the machine around it has."""
    board = boards.container(tmp_path)
    device = Device(board)
    for rest_mib, rung in ((80, Rung.NORMAL), (76, Rung.WARM), (38, Rung.HOT), (19, Rung.CRITICAL)):
        board.write("sys/fs/cgroup/memory.current", (512 + 60 - rest_mib) * _MIB)
        assert device.look() is rung
    assert device.why() == ("memory: 19 MiB left",)
    board.write("sys/fs/cgroup/memory.current", 200 * _MIB)
    assert device.rungs(200) == [Rung.CRITICAL, Rung.HOT, Rung.WARM, Rung.NORMAL]


def test_memory_stalls_are_critical_before_the_system_kills(tmp_path: Path) -> None:
    """Where everything waits for memory 40 % of the time, the language model goes."""
    board = boards.rk3588(tmp_path)
    board.stalls(memory=60, memory_full=45)
    device = Device(board)
    assert [device.look(), device.look()] == [Rung.NORMAL, Rung.CRITICAL]
    assert device.why() == (
        "memory: everything waits 45 % of the time",
        "memory: something waits 60 % of the time",
    )


def test_one_late_turn_of_the_loop_is_forgiven(tmp_path: Path) -> None:
    """A single stall is no pressure; two in a row are, to the degree that both were."""
    device = Device(boards.raspberry_pi_4(tmp_path))
    assert device.look(lag_s=5.0) is Rung.NORMAL
    assert device.look(lag_s=0.0) is Rung.NORMAL
    assert device.look(lag_s=5.0) is Rung.NORMAL
    assert device.look(lag_s=0.35) is Rung.HOT
    assert device.why() == ("loop 350 ms late",)
    assert device.look(lag_s=1.2) is Rung.HOT
    assert device.look(lag_s=1.2) is Rung.CRITICAL
    assert device.look(20, lag_s=None) is Rung.HOT


def test_one_spike_is_enough_to_stay(tmp_path: Path) -> None:
    """The calm is counted anew from each of them."""
    device = Device(boards.raspberry_pi_4(tmp_path))
    assert device.look(2, lag_s=0.4) is Rung.HOT
    for _ in range(5):
        assert device.look(14, lag_s=0.0) is Rung.HOT
        assert device.look(lag_s=0.4) is Rung.HOT
    assert device.look(16, lag_s=0.0) is Rung.WARM


def test_the_calm_begins_when_the_cause_is_gone() -> None:
    """Warm is left 30 s after the last look that found it warm, not 30 s after hot was left."""
    ladder = PressureLadder()
    rungs = [
        ladder.step(Reading(temperature_c=temperature_c), None, now_s)
        for now_s, temperature_c in ((0, 81), (1, 76), (31, 76), (62, 50), (91, 50), (92, 50))
    ]
    assert rungs == [Rung.HOT, Rung.HOT, Rung.WARM, Rung.WARM, Rung.WARM, Rung.NORMAL]


def test_the_time_on_a_rung_is_kept() -> None:
    """`since_s` is the first look's time, then each change's."""
    ladder = PressureLadder()
    assert ladder.since_s is None
    for now_s, temperature_c, since_s in ((5, 50, 5), (6, 50, 5), (7, 81, 7), (9, 82, 7), (10, 70, 7), (40, 70, 40)):
        ladder.step(Reading(temperature_c=temperature_c), None, now_s)
        assert ladder.since_s == since_s


def test_each_rung_allows_no_more_than_the_one_below() -> None:
    """From everything to intents alone."""
    allowed = [allowance(rung) for rung in Rung]
    assert [one.idle_work for one in allowed] == [True, False, False, False]
    assert [one.llm for one in allowed] == [True, True, True, False]
    assert [one.llm_threads(3) for one in allowed] == [3, 3, 1, 0]
    assert [one.llm_threads(1) for one in allowed] == [1, 1, 1, 0]
    assert [one.answer_tokens(200) for one in allowed] == [200, 150, 100, 0]
    assert [one.answer_tokens(1) for one in allowed] == [1, 1, 1, 0]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Levels(2, 1, 3),
        lambda: Levels(1, 2, 1.5),
        lambda: Levels(1, 2, margin=-1),
        lambda: Levels(math.nan, 2),
        lambda: Shortage(1, 2, 0),
        lambda: Shortage(0, 0, 0),
        lambda: Shortage(margin_share=-0.1),
        lambda: Shortage(most_share=0),
    ],
)
def test_thresholds_out_of_order_are_refused(make: Callable[[], object]) -> None:
    """They would make a ladder that skips or sticks."""
    with pytest.raises(ValueError, match=r"levels|shortage|shares"):
        make()


def _maybe(values: st.SearchStrategy[float]) -> st.SearchStrategy[float | None]:
    return st.none() | values


_PERCENT = _maybe(st.floats(0, 100))
_READINGS = st.builds(
    Reading,
    temperature_c=_maybe(st.floats(60, 95)),
    soft_limit_c=_maybe(st.sampled_from([60.0, 70.0, 95.0])),
    critical_limit_c=_maybe(st.sampled_from([80.0, 90.0, 115.0])),
    throttled=st.none() | st.sampled_from([0, 0, 0, 1, 4, 8, 0x50000, 0x50005]).map(Throttled),
    memory_total_bytes=st.none() | st.sampled_from([512 * _MIB, 4096 * _MIB]),
    memory_available_bytes=st.none() | st.integers(0, 512).map(lambda mib: mib * _MIB),
    cpu_stall_percent=_PERCENT,
    memory_stall_percent=_PERCENT,
    memory_full_stall_percent=_PERCENT,
    load_per_core=_maybe(st.floats(0, 8)),
)
_CALM = Reading(temperature_c=50.0, throttled=Throttled(0), memory_available_bytes=4096 * _MIB, cpu_stall_percent=0.0)
_STEPS = st.lists(
    st.tuples(
        st.just(_CALM) | _READINGS,
        st.sampled_from([None, 0.0, 0.0, 0.2, 0.5, 2.0]),
        st.sampled_from([0.5, 2.0, 10.0, 31.0, 100.0]),
    ),
    max_size=40,
)


def _steady_demand(thresholds: Thresholds, reading: Reading) -> Rung:
    """Return what the ladder must answer at once, told another way than the ladder does."""
    rungs = [Rung.NORMAL]
    if reading.temperature_c is not None:
        rungs.append(thresholds.temperature_levels(reading).rung(reading.temperature_c))
    if reading.throttled is not None and reading.throttled & 0b111:
        rungs.append(Rung.HOT)
    if reading.throttled is not None and reading.throttled & 0b1000:
        rungs.append(Rung.WARM)
    if reading.memory_available_bytes is not None:
        rungs.append(thresholds.memory.rung(reading.memory_available_bytes, reading.memory_total_bytes))
    return max(rungs)


def _noisy_demands(thresholds: Thresholds, reading: Reading, lag_s: float | None) -> list[Rung]:
    values = (
        (thresholds.cpu_stall_percent, reading.cpu_stall_percent),
        (thresholds.memory_stall_percent, reading.memory_stall_percent),
        (thresholds.memory_full_stall_percent, reading.memory_full_stall_percent),
        (thresholds.load_per_core, reading.load_per_core),
        (thresholds.loop_lag_s, lag_s),
    )
    return [Rung.NORMAL if value is None else levels.rung(value) for levels, value in values]


@settings(derandomize=True, deadline=None, max_examples=300)
@given(steps=_STEPS)
def test_hysteresis_holds_whatever_comes(steps: list[tuple[Reading, float | None, float]]) -> None:
    """What must be so after every step.

    The rung is never below what the reading demands, rises only to what some source demands, falls by one at a time,
    not within `calm_s` of the last change or of a cause, and never while a threshold of its own is exceeded.
    """
    ladder = PressureLadder()
    thresholds = ladder.thresholds
    now_s, caused_s = 0.0, -math.inf
    noisy_before = [Rung.NORMAL] * 5
    for reading, lag_s, elapsed_s in steps:
        now_s += elapsed_s
        before = ladder.rung
        rung = ladder.step(reading, lag_s, now_s)
        noisy = _noisy_demands(thresholds, reading, lag_s)
        steady = _steady_demand(thresholds, reading)
        confirmed = max(min(pair) for pair in zip(noisy, noisy_before, strict=True))
        assert rung >= max(steady, confirmed)
        if rung > before:
            assert rung == max(steady, confirmed)
        if rung < before:
            assert rung == before - 1
            assert max(steady, *noisy) < before
            assert now_s - caused_s >= thresholds.calm_s
        if rung != before or max(steady, *noisy) >= rung > Rung.NORMAL:
            caused_s = now_s
        assert (rung is Rung.NORMAL) == (ladder.reasons == ())
        noisy_before = noisy


@settings(derandomize=True, deadline=None, max_examples=200)
@given(steps=_STEPS)
def test_calm_always_leads_back_to_normal(steps: list[tuple[Reading, float | None, float]]) -> None:
    """From wherever it came, three rungs take three spells of calm and the look that begins them."""
    ladder = PressureLadder()
    now_s = 0.0
    for reading, lag_s, elapsed_s in steps:
        now_s += elapsed_s
        ladder.step(reading, lag_s, now_s)
    for _ in range(4):
        now_s += ladder.thresholds.calm_s
        ladder.step(_CALM, 0.0, now_s)
    assert ladder.rung is Rung.NORMAL


class InlinePool:
    """A pool that runs calls at once, and refuses where it is told to."""

    def __init__(self, refuse: Collection[int] = ()) -> None:
        self.refuse = refuse
        self.calls = 0

    async def run(self, call: Callable[[], T], **_options: object) -> T:
        """Run `call` here."""
        self.calls += 1
        if self.calls in self.refuse:
            raise PoolBusyError("general", 64)
        return call()


class ScriptedSensors:
    """Plays readings in order, then cancels the loop that reads them."""

    def __init__(self, *readings: Reading) -> None:
        self._readings = iter(readings)

    def read(self) -> Reading:
        """Return the next one."""
        try:
            return next(self._readings)
        except StopIteration:
            raise asyncio.CancelledError from None


async def _play(
    *readings: Reading, pool: InlinePool | None = None, lag_s: float | None = None
) -> tuple[list[PressureState], list[PressureState]]:
    changes: list[PressureState] = []
    looks: list[PressureState] = []
    ticks = iter(range(0, 10_000, 31))
    with pytest.raises(asyncio.CancelledError):
        await pressure_loop(
            cast("Sensors", ScriptedSensors(*readings)),
            PressureLadder(),
            cast("Pool", pool or InlinePool()),
            lambda: lag_s,
            changes.append,
            every_s=0,
            on_reading=looks.append,
            clock=lambda: float(next(ticks)),
        )
    return changes, looks


async def test_the_loop_tells_the_first_state_and_each_change(caplog: pytest.LogCaptureFixture) -> None:
    """Three readings on the same rung are told once; a rise is a warning, a fall is not."""
    caplog.set_level(logging.INFO)
    calm, hot = Reading(temperature_c=50), Reading(temperature_c=81.5)
    changes, looks = await _play(calm, calm, hot, hot, calm, calm, calm, calm)
    assert [(state.rung, state.since_s) for state in changes] == [
        (Rung.NORMAL, 0.0),
        (Rung.HOT, 62.0),
        (Rung.WARM, 155.0),
        (Rung.NORMAL, 186.0),
    ]
    assert len(looks) == 8
    assert str(changes[1]) == "hot: temperature 81.5 °C"
    assert not changes[1].allowance.idle_work
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "pressure hot: temperature 81.5 °C"),
        ("INFO", "pressure warm: recovering"),
        ("INFO", "pressure normal"),
    ]


async def test_a_full_pool_does_not_look_like_calm(caplog: pytest.LogCaptureFixture) -> None:
    """Refused readings leave the rung where it is, and are logged once in a row."""
    hot = Reading(temperature_c=81.5)
    changes, looks = await _play(hot, hot, pool=InlinePool(refuse={2, 3, 4, 5}))
    assert [state.rung for state in changes] == [Rung.HOT]
    assert len(looks) == 2
    assert sum("can't look" in record.message for record in caplog.records) == 1


async def test_the_loops_own_lag_is_taken_in() -> None:
    """A loop that is half a second late twice is hot."""
    changes, _ = await _play(_CALM, _CALM, lag_s=0.5)
    assert [state.rung for state in changes] == [Rung.NORMAL, Rung.HOT]


async def test_the_loop_reads_on_a_real_pool_and_ends_when_cancelled(tmp_path: Path) -> None:
    """A recorded board, a thread of the pool, and nothing left behind."""
    boards.raspberry_pi_5(tmp_path, temperature_c=85)
    told: asyncio.Future[PressureState] = asyncio.get_running_loop().create_future()
    pool = Pool("general")
    task = asyncio.create_task(
        pressure_loop(Sensors(tmp_path), PressureLadder(), pool, lambda: None, told.set_result, every_s=60)
    )
    state = await asyncio.wait_for(told, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await pool.close()
    assert state.rung is Rung.CRITICAL
    assert state.reading == await asyncio.to_thread(Sensors(tmp_path).read)
