"""The one event loop: which it is, what it raises, and that the runtime works on it."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import EdgeAgentError, EngineError, ServiceError
from edge_agent.gateway.client import ask_service
from edge_agent.gateway.places import SocketPlace
from edge_agent.gateway.socket import serve_socket
from edge_agent.runtime.loop import run, single_error
from edge_agent.runtime.pool import Pool
from edge_agent.runtime.rates import RateLimiter
from edge_agent.runtime.scheduled import Task
from edge_agent.runtime.scheduler import Scheduler
from edge_agent.runtime.tasks import surely

VOSK = EngineError("vosk", "it died")
PIPER = EngineError("piper", "it died too")


@pytest.fixture(params=["the loop of a full install", "the loop of a small install"])
def loop_of(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test on the loop that is installed, and on the one that there is without uvloop."""
    if request.param == "the loop of a small install":
        monkeypatch.setitem(sys.modules, "uvloop", None)
        return "asyncio"
    return "asyncio" if importlib.util.find_spec("uvloop") is None else "uvloop"


async def _fail(*errors: BaseException) -> None:
    """Raise each error in a task of its own."""

    async def fail(error: BaseException) -> None:
        raise error

    async with asyncio.TaskGroup() as tasks:
        for error in errors:
            tasks.create_task(fail(error))


def test_the_fastest_loop_that_is_installed_runs(loop_of: str) -> None:
    """Without uvloop it is asyncio's own; the result is the coroutine's either way."""

    async def name() -> str:
        await asyncio.sleep(0)
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]

    assert run(name()) == loop_of


def test_each_run_has_a_loop_of_its_own_and_closes_it() -> None:
    """Nothing of one run is left for the next."""

    async def loop() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    first, second = run(loop()), run(loop())
    assert first is not second
    assert first.is_closed()
    assert second.is_closed()


@pytest.mark.usefixtures("loop_of")
def test_the_error_of_a_task_is_raised_as_it_was() -> None:
    """Callers need not know that there was a task; the group is the cause, so that its traceback is not lost."""
    with pytest.raises(EngineError, match="it died") as caught:
        run(_fail(VOSK))
    assert caught.value is VOSK
    assert isinstance(caught.value.__cause__, ExceptionGroup)


def test_different_defects_stay_together() -> None:
    """None of them may hide another."""
    with pytest.raises(ExceptionGroup) as caught:
        run(_fail(ValueError("one"), TypeError("two")))
    assert [str(error) for error in caught.value.exceptions] == ["one", "two"]


def test_an_error_outside_of_groups_is_raised_as_it_is() -> None:
    """There is nothing to unpack."""

    async def fail() -> None:
        raise VOSK

    with pytest.raises(EngineError) as caught:
        run(fail())
    assert caught.value is VOSK


@pytest.mark.parametrize(
    ("errors", "single"),
    [
        ([VOSK], 0),
        ([VOSK, PIPER], 0),
        ([PIPER, ExceptionGroup("inner", [VOSK])], 0),
        ([ValueError("same"), ValueError("same")], 0),
        ([ValueError("one"), ValueError("two")], None),
        ([ValueError("same"), TypeError("same")], None),
        ([VOSK, ValueError("a defect")], None),
    ],
)
def test_one_error_of_a_group_is_picked_only_where_it_tells_all(errors: list[Exception], single: int | None) -> None:
    """Several that were raised on purpose, or are the same, are as good as the first; a defect is never dropped."""
    assert single_error(ExceptionGroup("tasks", errors)) is (None if single is None else errors[single])


def test_the_end_of_the_program_is_an_error_too() -> None:
    """It comes out of a group of any kind."""
    end = SystemExit(2)
    assert single_error(BaseExceptionGroup("tasks", [BaseExceptionGroup("inner", [end])])) is end
    assert single_error(BaseExceptionGroup("tasks", [end, VOSK])) is None


_LEAVES = st.one_of(
    st.sampled_from(["a", "b"]).map(lambda name: EngineError(name, "it died")),
    st.sampled_from(["x", "y"]).map(ValueError),
)
_GROUPS = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda errors: ExceptionGroup("inner", errors)),
    max_leaves=6,
)


def _leaves(error: Exception) -> list[Exception]:
    if not isinstance(error, ExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in _leaves(inner)]


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.lists(_GROUPS, min_size=1, max_size=3))
def test_however_deep_it_is_the_first(errors: list[Exception]) -> None:
    """The first in reading order, where all were raised on purpose or are alike; else none."""
    group = ExceptionGroup("tasks", errors)
    leaves = _leaves(group)
    purposeful = all(isinstance(leaf, EdgeAgentError) for leaf in leaves)
    alike = len({(type(leaf), str(leaf)) for leaf in leaves}) == 1
    assert single_error(group) is (leaves[0] if purposeful or alike else None)


class Counting:
    """A job that counts for ever, and knows whether it was closed and where it ran."""

    def __init__(self) -> None:
        self.closed_in = ""

    def count(self) -> Generator[int, None, None]:
        """Yield 0, 1, 2, ..."""
        number = 0
        try:
            while True:
                yield number
                number += 1
        finally:
            self.closed_in = threading.current_thread().name


async def _cancel_steps(pool: Pool) -> str:
    """Cancel whoever takes a job's items, after some; return the thread that closed the job."""
    counting, begun = Counting(), asyncio.Event()

    async def take() -> None:
        async with aclosing(pool.steps(counting.count())) as numbers:
            async for number in numbers:
                if number == 3:
                    begun.set()

    taking = asyncio.create_task(take())
    await begun.wait()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    return counting.closed_in


async def _ask_twice(path: Path, pool: Pool) -> tuple[object, str]:
    """Serve a socket on which each user may ask once, and ask twice; return the answer and the refusal."""
    rates = RateLimiter("socket", burst=1, per_s=0.001)
    ask: Callable[[], object] = lambda: ask_service(path, {"n": 1})  # noqa: E731 - a name for the call
    async with serve_socket(SocketPlace(path, 0o600, None), lambda request: request, pool, rates=rates):
        answer = await pool.run(ask)
        with pytest.raises(ServiceError) as refused:
            await pool.run(ask)
    return answer, str(refused.value)


@pytest.mark.usefixtures("loop_of")
def test_the_runtime_works_on_it(tmp_path: Path) -> None:
    """Calls, jobs that are cancelled, the scheduler, and the local socket with the user at its other end."""

    async def work() -> None:
        pool = Pool("general")
        order: list[str] = []

        async def note(name: str) -> str:
            order.append(await pool.run(lambda: name))
            return name

        try:
            assert await pool.run(lambda: 6 * 7) == 42
            assert (await _cancel_steps(pool)).startswith("edge-general-")
            async with Scheduler() as scheduler:
                second, first = scheduler.submit(
                    Task("second", lambda: note("second"), after=("first",)), Task("first", lambda: note("first"))
                )
                assert (await second.result(), await first.result()) == ("second", "first")
            assert order == ["first", "second"]
            answer, refusal = await _ask_twice(tmp_path / "s", pool)
            assert answer == {"n": 1}
            assert f"'uid {os.getuid()}' asks too often" in refusal
        finally:
            await pool.close()

    run(work())


def test_sigterm_cancels_the_main_task_alone() -> None:
    """What it finishes all the same is not cancelled with it; then the handler that was there is called."""
    seen: list[str] = []

    async def finish() -> None:
        await asyncio.sleep(0.05)
        seen.append("finished")

    async def main() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0)
        await surely(finish(), "finish")

    with _leaving_at_sigterm(seen) as handler:
        with pytest.raises(SystemExit) as caught:
            run(main())
        assert signal.getsignal(signal.SIGTERM) is handler
    assert seen == ["finished", "left"]
    assert caught.value.code == 143


def test_the_second_sigterm_of_timeout_changes_nothing() -> None:
    """It comes at once, and what is being finished is finished."""
    seen: list[str] = []

    async def main() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        try:
            await asyncio.sleep(10)
        finally:
            await asyncio.sleep(0.05)
            seen.append("finished")

    with _leaving_at_sigterm(seen), pytest.raises(SystemExit):
        run(main())
    assert seen == ["finished", "left"]


_DEAF = """
import asyncio, signal, sys
from edge_agent.__main__ import main
from edge_agent.runtime import loop

async def deaf():
    while True:
        try:
            print("waits", flush=True)
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass

import edge_agent.cli.main
edge_agent.cli.main.run = lambda: loop.run(deaf())
main()
"""


def test_who_insists_ends_what_does_not_end() -> None:
    """A command whose clean-up hangs is ended by another SIGTERM, a second after the first."""
    child = subprocess.Popen([sys.executable, "-c", _DEAF], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "waits\n"
        child.terminate()
        assert child.stdout.readline() == "waits\n"
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(1.2)
        child.terminate()
        assert child.wait(20) == -signal.SIGTERM
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()


@contextmanager
def _leaving_at_sigterm(seen: list[str]) -> Iterator[object]:
    def leave(_number: int, _frame: object) -> None:
        seen.append("left")
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield leave
    finally:
        signal.signal(signal.SIGTERM, before)
