"""How checks are made: each within its bound, none at the others' cost."""

from __future__ import annotations

import threading
from pathlib import Path

from doctor_rig import paper

from edge_agent.app.doctor import CheckResult, NamedCheck, examine, make_checks
from edge_agent.config.schema import Config


def fine(config: Config) -> CheckResult:
    """A check that finds nothing."""
    return CheckResult("fine", "ok", "all is well")


def test_results_come_as_they_are_made() -> None:
    """In order, each told when it begins and when it is there."""
    told: list[str] = []
    checks = [NamedCheck("one", fine), NamedCheck("two", fine)]
    found = examine(Config(), checks, on_begin=told.append, on_result=lambda result: told.append(result.verdict))
    assert told == ["one", "ok", "two", "ok"]
    assert len(found) == 2


def test_a_check_that_hangs_is_a_warning() -> None:
    """The next one is made."""
    release = threading.Event()

    def hang(config: Config) -> CheckResult:
        release.wait(30)
        return fine(config)

    try:
        found = examine(Config(), [NamedCheck("hanging", hang, within_s=0.05), NamedCheck("fine", fine)])
    finally:
        release.set()
    assert [result.verdict for result in found] == ["warning", "ok"]
    assert "longer than 0.05 s" in found[0].message
    assert "--only hanging" in found[0].remedy


def test_a_check_that_breaks_is_a_warning() -> None:
    """A defect is told as one, and costs nothing else."""

    def fail(config: Config) -> CheckResult:
        raise KeyError("surprise")

    found = examine(Config(), [NamedCheck("broken", fail), NamedCheck("fine", fine)])
    assert [result.verdict for result in found] == ["warning", "ok"]
    assert "KeyError" in found[0].message


def test_each_check_gives_its_own_name_on_a_machine_with_nothing(tmp_path: Path) -> None:
    """An empty tree: no check raises, names are unique and stable."""
    checks = make_checks(paper(tmp_path), sound=False)
    found = examine(Config(), checks)
    assert [result.name for result in found] == [check.name for check in checks]
    assert not [result for result in found if "check itself failed" in result.message]
    names = [check.name for check in make_checks(paper(tmp_path))]
    assert names == [
        *("board", "system", "python", "cores", "memory", "temperature", "throttling", "power", "disk", "card"),
        *("clock", "unit", "user", "desktop_audio", "models", "plan", "gpio", "broker"),
        *("sample_rates", "microphone", "speaker", "echo_path", "echo_cancellation"),
    ]
