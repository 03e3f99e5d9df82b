"""Changing the running agent's configuration, and changing it back; each step has a bound."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from edge_agent.errors import ConfigProblem, EdgeAgentError, FaultError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edge_agent.config.schema import Config

_log = logging.getLogger(__name__)

_APPLY_S = 120.0
"""The largest model loads from a card in less; what takes longer hangs."""
_PROVE_GRACE_S = 5.0
_TIMES = 3
_PAUSE_S = 2.0


class ChangeError(FaultError):
    """A configuration did not take effect; `problems` say why, by key."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class RollBackFailedError(FaultError):
    """After a change had failed, not even the configuration before it took effect; a restart begins with it anew."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the configuration before a failed change does not take effect: {reason}; restart the service, it begins "
            "with that configuration"
        )


class Applier(Protocol):
    """The running agent. Its methods belong to the loop, one call at a time."""

    async def apply(self, config: Config) -> None:
        """Make `config` the running one, restarting only the parts whose settings differ.

        Cancelled or failed, it leaves the agent in a state from which another `apply` works.

        Raises:
            ChangeError: A part does not start with it.
        """
        ...

    async def prove(self, within_s: float) -> list[ConfigProblem]:
        """Return nothing as soon as the device has proved itself well, else, after `within_s`, what is wrong.

        What is certain is returned at once.
        """
        ...


async def try_out(applier: Applier, config: Config) -> list[ConfigProblem]:
    """Run `config` and return what is wrong with it; nothing where the device proved itself well."""
    if problem := await _apply(applier, config):
        return problem
    return await prove(applier, config)


async def prove(applier: Applier, config: Config) -> list[ConfigProblem]:
    """Return what is wrong with the device after at most `remote.health_s`, and some grace."""
    within_s = config.remote.health_s
    try:
        async with asyncio.timeout(within_s + _PROVE_GRACE_S):
            return await applier.prove(within_s)
    except TimeoutError:
        return [ConfigProblem("", f"did not prove itself well within {within_s:g} s", "")]
    except EdgeAgentError as error:
        return [ConfigProblem("", str(error), "")]


async def go_back(applier: Applier, config: Config) -> None:
    """Run the `config` before a failed change again; try several times.

    Raises:
        RollBackFailedError: It does not take effect.
    """
    problems: Sequence[ConfigProblem] = ()
    for attempt in range(_TIMES):
        if attempt:
            await asyncio.sleep(_PAUSE_S)
        problems = await _apply(applier, config)
        if not problems:
            return
        _log.error("going back to the configuration before a failed change: %s", problems[0])
    raise RollBackFailedError("; ".join(problem.message for problem in problems))


async def _apply(applier: Applier, config: Config) -> list[ConfigProblem]:
    try:
        async with asyncio.timeout(_APPLY_S):
            await applier.apply(config)
    except TimeoutError:
        return [ConfigProblem("", f"did not take effect within {_APPLY_S:g} s", "")]
    except ChangeError as error:
        return list(error.problems) or [ConfigProblem("", "did not take effect", "")]
    except EdgeAgentError as error:
        return [ConfigProblem("", str(error), "")]
    return []
