"""Fixtures that every test may use."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
from blockbuster import blockbuster_ctx

from edge_agent.runtime.pool import Pool

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Iterator

_Report = TypeVar("_Report", pytest.TestReport, pytest.CollectReport)

pytest_plugins = ["commands", "model_files", "mosquitto_broker", "pulse_rig"]

_NO_TEST_DATA = "no test data at"
_SHARED = Path(os.environ.get("EDGE_AGENT_TEST_DATA", Path(__file__).parents[2] / "shared"))
_ALLOWED_SKIPS: dict[str, str] = (
    {}
    if os.environ.get("EDGE_AGENT_REQUIRE_TEST_DATA")
    else {_NO_TEST_DATA: "recorded speech and models are not part of the project; a stranger's clone has none"}
)
"""Beginnings of the reasons that a skipped test may give in continuous integration, and why each is right."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test that was skipped, where that is not allowed."""
    return _refuse_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a module that was skipped, where that is not allowed."""
    return _refuse_skip((yield))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test that runs on a loop the two fixtures that watch over it, first in and last out."""
    for item in items:
        function = getattr(item, "function", None)
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(function):
            item.fixturenames[:0] = ["no_task_is_left", "nothing_blocks_the_loop"]


@pytest.fixture
async def no_task_is_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task behind."""
    before = asyncio.all_tasks()
    yield
    left = [task.get_name() for task in asyncio.all_tasks() - before if task is not asyncio.current_task()]
    assert not left, f"tasks are left: {left}"


@pytest.fixture
def nothing_blocks_the_loop() -> Iterator[None]:
    """Fail a test in which our code makes a blocking call on the loop's thread."""
    with blockbuster_ctx("edge_agent"):
        yield


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Fail a test that leaves one of our threads behind; one that is just ending has a second for it."""
    yield
    deadline_s = time.monotonic() + 1.0
    while left := [thread.name for thread in threading.enumerate() if thread.name.startswith("edge-")]:
        assert time.monotonic() < deadline_s, f"threads are left: {left}"
        time.sleep(0.005)


def _refuse_skip(report: _Report) -> _Report:
    if os.environ.get("EDGE_AGENT_STRICT_SKIPS") and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not reason.removeprefix("Skipped: ").startswith(tuple(_ALLOWED_SKIPS)):
            report.outcome = "failed"
            report.longrepr = f"{report.nodeid}: a skip that tests/conftest.py does not allow: {reason}"
    return report


@pytest.fixture
async def file_pool() -> AsyncIterator[Pool]:
    """A pool for files, closed afterwards."""
    pool = Pool("file_io")
    yield pool
    await pool.close()


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Directory of recorded speech and small models; not part of the project."""
    if not (_SHARED / "speech" / "manifest.json").is_file():
        pytest.skip(f"{_NO_TEST_DATA} {_SHARED} (set EDGE_AGENT_TEST_DATA to its place)")
    return _SHARED


@pytest.fixture(scope="session")
def speech_dir(shared_dir: Path) -> Path:
    """Recorded speech."""
    return shared_dir / "speech"


@pytest.fixture(scope="session")
def models_dir(shared_dir: Path) -> Path:
    """Small real models."""
    return shared_dir / "models"
