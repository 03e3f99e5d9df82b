"""Makes checks, each within its bound, whatever becomes of the others."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.app.doctor.result import Check, CheckResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from edge_agent.config.schema import Config

_log = logging.getLogger(__name__)

USUAL_S = 8.0


@dataclass(frozen=True, slots=True)
class NamedCheck:
    """A check with the name of its result, known before it is made, and the longest time that it may take."""

    name: str
    look: Check
    within_s: float = USUAL_S

    def __call__(self, config: Config) -> CheckResult:
        """Look, without the bound."""
        return self.look(config)


def examine(
    config: Config,
    checks: Iterable[NamedCheck],
    *,
    on_begin: Callable[[str], None] = lambda _: None,
    on_result: Callable[[CheckResult], None] = lambda _: None,
) -> list[CheckResult]:
    """Make all checks, one after the other, whatever the others find. Blocking.

    One that takes longer than it may is a warning; its thread is left behind, and ends with the process.
    """
    found = []
    for check in checks:
        on_begin(check.name)
        result = _within_its_bound(check, config)
        on_result(result)
        found.append(result)
    return found


def _within_its_bound(check: NamedCheck, config: Config) -> CheckResult:
    results: list[CheckResult] = []

    def look() -> None:
        try:
            results.append(check(config))
        except Exception as error:  # noqa: BLE001 - a defect of one check must not keep the others from being made
            _log.exception("check %s", check.name)
            reason = f"the check itself failed: {type(error).__name__}: {error}"
            results.append(CheckResult(check.name, "warning", reason, "please report this as a defect of edge-agent"))

    # Not a pool: those wait for their threads, and a native call that hangs would keep the process alive.
    thread = threading.Thread(target=look, name=f"doctor.{check.name}", daemon=True)
    thread.start()
    thread.join(check.within_s)
    if results:
        return results[0]
    return CheckResult(
        check.name,
        "warning",
        f"not told: it took longer than {check.within_s:g} s",
        f"try it alone: edge-agent doctor --only {check.name}",
    )
