"""Garbage is collected once a minute, between turns, and anew in all of it after a change; on virtual time."""

from __future__ import annotations

import asyncio
import gc
import weakref
from dataclasses import dataclass, field

from virtual_time import in_virtual_time

from edge_agent.app.tidying import EVERY_S, PythonCollector, Tidying
from edge_agent.app.vitality import Signs


@dataclass
class Rig:
    """An agent to look at, and a collector that notes when it is called."""

    signs: Signs | None = field(default_factory=Signs)
    is_warm: bool = True
    is_loaded: bool = True
    calls: list[tuple[int, str]] = field(default_factory=list)

    def settle(self) -> None:
        """Note it."""
        self._note("settle")

    def extend(self) -> None:
        """Note it."""
        self._note("extend")

    def collect(self) -> None:
        """Note it."""
        self._note("collect")

    def _note(self, what: str) -> None:
        self.calls.append((round(asyncio.get_running_loop().time() - self.began_s), what))

    async def watch(
        self, seconds: float, *then: tuple[float, Signs | None], loads_at_s: float | None = None
    ) -> list[tuple[int, str]]:
        """Let it tidy up for so long; at those moments there is something else to see."""
        loop = asyncio.get_running_loop()
        self.began_s = loop.time()
        tidying = Tidying(lambda: self.signs, lambda: self.is_warm, self)
        if self.is_loaded:
            tidying.settle()
        task = asyncio.create_task(tidying.run_loop())
        if loads_at_s is not None:
            loop.call_later(loads_at_s, tidying.settle)
        for at_s, signs in then:
            await asyncio.sleep(self.began_s + at_s - loop.time())
            self.signs = signs
        await asyncio.sleep(self.began_s + seconds - loop.time())
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return self.calls


@in_virtual_time
async def test_all_of_it_once_then_what_is_new_every_minute() -> None:
    """What a start has left lives as long as the service: it is settled before the loop begins to look around."""
    assert await Rig().watch(3.5 * EVERY_S) == [(0, "settle"), (60, "extend"), (120, "collect"), (180, "collect")]


@in_virtual_time
async def test_a_turn_is_waited_for() -> None:
    """It would stop the voice."""
    rig = Rig(Signs(turn="speaking"))
    assert await rig.watch(100, (85.5, Signs())) == [(0, "settle"), (86, "extend")]


@in_virtual_time
async def test_after_a_change_it_is_all_of_it_again() -> None:
    """Not while it goes on."""
    seen = await Rig().watch(250, (110, Signs(changes=1, is_changing=True)), (130.5, Signs(changes=1)))
    assert seen == [(0, "settle"), (60, "extend"), (131, "settle"), (191, "collect")]


@in_virtual_time
async def test_a_change_that_loaded_all_anew_was_settled_then() -> None:
    """It is the same as a start: not once more while somebody may speak."""
    rig = Rig()
    assert await rig.watch(130, (70, Signs(changes=1)), loads_at_s=65) == [
        (0, "settle"),
        (60, "extend"),
        (65, "settle"),
        (120, "extend"),
    ]


@in_virtual_time
async def test_a_start_is_left_alone() -> None:
    """Neither before there is an agent nor while its model is loaded."""
    rig = Rig(signs=None, is_loaded=False)
    assert await rig.watch(200, (90.5, Signs())) == [(91, "settle"), (151, "collect")]
    assert await Rig(is_warm=False, is_loaded=False).watch(200) == []


def test_what_was_settled_is_left_out_until_it_is_settled_again() -> None:
    """With Python's own collector: what became garbage after it was settled goes with the next change."""
    collector = PythonCollector()
    try:
        old = _Knot()
        collector.settle()
        new = _Knot()
        seen = [weakref.ref(old), weakref.ref(new)]
        del old, new
        collector.collect()
        assert [knot() is not None for knot in seen] == [True, False]
        kept = _Knot()
        collector.extend()
        seen.append(weakref.ref(kept))
        del kept
        collector.collect()
        assert seen[2]() is not None
        collector.settle()
        assert [knot() is not None for knot in seen] == [False, False, False]
    finally:
        gc.unfreeze()


class _Knot:
    """Holds itself."""

    def __init__(self) -> None:
        self.me = self
