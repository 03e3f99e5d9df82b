"""Under pressure the agent gives up one thing after the other, and takes everything up again: recorded boards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import boards
import pytest
from boards import Board, RaspberryPi
from doubles import Notebook, ScriptedModel, said

from edge_agent.app.brain import Brain, RememberedVolume, open_brain
from edge_agent.app.core import Core, open_core
from edge_agent.app.places import Places
from edge_agent.app.strain import Strain, make_ladder
from edge_agent.audio import silence
from edge_agent.config.schema import Config
from edge_agent.runtime.pressure import PressureLadder, PressureState, Rung, pressure_loop
from edge_agent.runtime.sensors import Sensors
from edge_agent.speak.phrases import PhraseCache, PhraseKey


class Watcher(Notebook):
    """Also writes down pressure."""

    def __init__(self) -> None:
        super().__init__()
        self.rungs: list[Rung] = []

    def pressure_changed(self, pressure: PressureState) -> None:
        """Write down."""
        self.rungs.append(pressure.rung)


class Device:
    """An agent's brain on a recorded board."""

    def __init__(self, core: Core, brain: Brain, model: ScriptedModel, root: Path, watcher: Watcher) -> None:
        self.core, self.brain, self.model, self.root, self.watcher = core, brain, model, root, watcher
        self.cache = PhraseCache(1_000_000)
        self.cache.put(PhraseKey("voice", "hello"), [silence(1.0, 16_000)])
        self.strain = Strain(core, brain.responder, self.cache, watcher)
        self.ladder: PressureLadder = make_ladder(Config().pressure)
        self.now_s = 0.0

    async def live(self, seconds: float) -> Rung:
        """Let time pass, with a look at the sensors every two seconds, as `pressure_loop` has it."""
        for _ in range(int(seconds / 2)):
            before = self.ladder.rung if self.ladder.since_s is not None else None
            reading = await self.core.pools.general.run(Sensors(self.root).read, kind="sensors")
            rung = self.ladder.step(reading, 0.0, self.now_s)
            state = PressureState(rung, self.ladder.reasons, reading, self.ladder.since_s or 0.0)
            self.strain.look(state)
            if rung != before:
                self.strain.change(state)
            self.now_s += 2
        return self.ladder.rung

    async def ask(self, text: str) -> tuple[str, str]:
        """Return who answers and what."""
        answer = await self.brain.responder.answer_text(text)
        return answer.source, await said(answer)

    def threads(self) -> int:
        """Return what the language model would be granted now, alone."""
        claim = self.core.llm_claim
        assert claim.open(lambda: False)
        try:
            return claim.threads
        finally:
            claim.close()


@asynccontextmanager
async def open_device(root: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Device]:
    """A four-core board with a language model."""
    model, watcher = ScriptedModel(), Watcher()
    monkeypatch.setattr("edge_agent.app.brain.build_model", lambda *_: cast("Any", model))
    config = Config.model_validate({"cores": {"compute": 4, "reserve": 0}, "llm": {"max_answer_tokens": 100}})
    places = Places(models=root / "models", cache=root / "cache", state=root / "state")
    async with open_core(config) as core, open_brain(config, places, core, volume=RememberedVolume(50)) as brain:
        await brain.loaded()
        yield Device(core, brain, model, root / "board", watcher)


def soc_at(temperature_c: float) -> Callable[[Board], None]:
    """Set the temperature of `boards.amlogic`, whose kernel slows it down from 70 °C on."""
    return lambda board: board.zone(0, "soc_thermal", temperature_c, passive=70.0, critical=260.0)


def raspberry(distress: Callable[[RaspberryPi], None]) -> Callable[[Board], None]:
    """Do something to a board that is a Raspberry Pi."""

    def do(board: Board) -> None:
        assert isinstance(board, RaspberryPi)
        distress(board)

    return do


BOARDS: dict[str, tuple[Callable[[Path], Board], Callable[[Board], None], Rung]] = {
    "Pi 4 at 76 degrees": (boards.raspberry_pi_4, raspberry(lambda board: board.heat(76.0)), Rung.WARM),
    "Pi 4 at 85 degrees": (boards.raspberry_pi_4, raspberry(lambda board: board.heat(85.2)), Rung.CRITICAL),
    "Pi 5 at 85 degrees": (boards.raspberry_pi_5, raspberry(lambda board: board.heat(85.2)), Rung.CRITICAL),
    "Pi 4, throttled": (boards.raspberry_pi_4, raspberry(lambda board: board.throttle(0x40004)), Rung.HOT),
    "Pi 5, under-voltage": (
        boards.raspberry_pi_5,
        raspberry(lambda board: board.under_voltage(alarm=True)),
        Rung.HOT,
    ),
    "Pi 4, little memory": (boards.raspberry_pi_4, lambda board: board.memory(3792, 100), Rung.HOT),
    "an old kernel without PSI, warm": (boards.amlogic, soc_at(66.0), Rung.WARM),
    "an old kernel without PSI, hot": (boards.amlogic, soc_at(72.0), Rung.HOT),
    "an old kernel without PSI, loaded": (boards.amlogic, lambda board: board.load(40.0), Rung.HOT),
    "PSI, memory stalls": (boards.rk3588, lambda board: board.stalls(memory_full=20.0), Rung.HOT),
}
LEFT = {Rung.WARM: (4, 75), Rung.HOT: (2, 50)}
"""The language model's threads and its longest answer, of 4 and 100."""


@pytest.mark.parametrize("name", BOARDS)
async def test_a_board_in_distress_sheds_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The language model shrinks or falls silent, intents go on; when it is over, everything comes back by steps."""
    make, distress, rung = BOARDS[name]
    async with open_device(tmp_path, monkeypatch) as device:
        board = await asyncio.to_thread(make, device.root)
        assert await device.live(4) is Rung.NORMAL
        assert await device.ask("tell me about rain") == ("llm", "Well.")
        assert (device.threads(), device.model.asked) == (4, [100])

        await asyncio.to_thread(distress, board)
        assert await device.live(4) is rung
        assert not device.core.idle()
        assert device.cache.statistics().entries == (1 if rung is Rung.WARM else 0)
        assert (await device.ask("what time is it"))[0] == "intent"
        source, text = await device.ask("tell me about rain")
        if rung is Rung.CRITICAL:
            assert (source, device.model.asked) == ("none", [100])
            assert "overloaded" in text
            assert device.threads() == 1  # for an answer that had begun
        else:
            threads, tokens = LEFT[rung]
            assert (source, device.model.asked) == ("llm", [100, tokens])
            assert device.threads() == threads

        await asyncio.to_thread(make, device.root)
        assert await device.live(200) is Rung.NORMAL
        assert device.core.idle()
        assert (await device.ask("tell me about rain"))[0] == "llm"
        assert (device.threads(), device.model.asked[-1]) == (4, 100)
    steps = list(range(rung, -1, -1))
    assert device.watcher.rungs == steps


async def test_an_answer_that_had_begun_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a board that gets critical meanwhile: the sentence is said to its end, the next question is refused."""
    async with open_device(tmp_path, monkeypatch) as device:
        board = await asyncio.to_thread(boards.raspberry_pi_4, device.root)
        assert await device.live(4) is Rung.NORMAL
        begun = await device.brain.responder.answer_text("tell me about rain")
        await asyncio.to_thread(board.heat, 85.2)
        assert await device.live(4) is Rung.CRITICAL
        assert await said(begun) == "Well."
        assert (await device.ask("tell me about rain"))[0] == "none"


async def test_the_loop_that_looks_carries_it_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look is on a real pool; what it finds changes the device, and is there for the report."""
    async with open_device(tmp_path, monkeypatch) as device:
        board = await asyncio.to_thread(boards.raspberry_pi_4, device.root)
        looks = 0

        def clock() -> float:
            return 5.0 * looks

        def look(state: PressureState) -> None:
            nonlocal looks
            looks += 1
            device.strain.look(state)

        async def until(condition: Callable[[], bool]) -> None:
            async with asyncio.timeout(10):
                while not condition():  # noqa: ASYNC110 - it is many things that are waited for
                    await asyncio.sleep(0.001)

        watching = asyncio.create_task(
            pressure_loop(
                Sensors(device.root),
                device.ladder,
                device.core.pools.general,
                lambda: 0.0,
                device.strain.change,
                on_reading=look,
                every_s=0.001,
                clock=clock,
            )
        )
        try:
            await until(lambda: looks >= 3)
            assert device.strain.state is not None
            assert device.strain.state.rung is Rung.NORMAL
            assert (device.core.idle(), device.threads(), device.watcher.rungs) == (True, 4, [])

            await asyncio.to_thread(board.heat, 81.0)
            await until(lambda: device.watcher.rungs == [Rung.HOT])
            assert device.strain.state.reasons
            assert (device.core.idle(), device.threads()) == (False, 2)
            assert (await device.ask("tell me about rain"), device.model.asked) == (("llm", "Well."), [50])

            await asyncio.to_thread(board.heat, 48.0)
            await until(lambda: device.watcher.rungs == [Rung.HOT, Rung.WARM, Rung.NORMAL])
            assert (device.core.idle(), device.threads()) == (True, 4)
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        assert watching.cancelled()
