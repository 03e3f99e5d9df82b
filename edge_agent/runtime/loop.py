"""Starts the one event loop: uvloop where it is installed, and errors as they were raised."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from edge_agent.errors import EdgeAgentError

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


def run(main: Coroutine[object, object, T]) -> T:
    """Run `main` to its end on a new loop.

    An exception group is raised as the `single_error` in it, where there is one: callers see what a stage raised, not
    in which task it was.
    """
    try:
        import uvloop
    except ImportError:  # a small install: asyncio's own loop serves
        factory = None
    else:
        factory = uvloop.new_event_loop
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main)
    except BaseExceptionGroup as group:
        if (single := single_error(group)) is not None:
            raise single from group
        raise


def single_error(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """Return the one error inside, however deeply nested.

    Of several that were all raised on purpose, or are the same, it is the first; else None.
    """
    leaves: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop()
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(error.exceptions)
        else:
            leaves.append(error)
    leaves.reverse()
    expected = all(isinstance(leaf, EdgeAgentError) for leaf in leaves)
    same = len({(type(leaf), str(leaf)) for leaf in leaves}) == 1
    return leaves[0] if expected or same else None
