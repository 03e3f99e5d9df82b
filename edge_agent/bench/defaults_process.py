"""Starts the process in which engines have their libraries' defaults, and asks it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Self

from edge_agent.bench.capture import Heard
from edge_agent.bench.watching import SETTLE_S, Seen
from edge_agent.errors import EngineError

if TYPE_CHECKING:
    from edge_agent.bench.materials import Materials
    from edge_agent.bench.result import Progress
    from edge_agent.config.schema import Config

_CHILD = "edge_agent.bench.defaults_child"
_SET_BY_OTHERS = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "GGML_N_THREADS")
_ANSWER_BYTES = 1 << 26
"""Ten minutes of delays are a line of a megabyte."""
_CLOSE_S = 30.0
_LATE_S = 120.0
"""What an answer may take beyond what was to be measured: a machine that is oversubscribed is slow."""


class DefaultsProcess:
    """The reference for ledger and capture; one measurement at a time.

    An async context manager: entering starts the process and waits until its engines are loaded, leaving ends it.
    """

    def __init__(self, config: Config, materials: Materials, *, answer_tokens: int, cores: int) -> None:
        self._order = {
            "config": config.model_dump(mode="json"),
            "model": str(materials.model),
            "voice": str(materials.voice),
            "speech": [str(path) for path in materials.recordings],
            "answer_tokens": answer_tokens,
            "cores": cores,
        }
        self._child: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Start it.

        Raises:
            EngineError: It ended, or does not answer.
        """
        env = {name: value for name, value in os.environ.items() if name not in _SET_BY_OTHERS}
        self._child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            _CHILD,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=env,
            limit=_ANSWER_BYTES,
        )
        try:
            await self._ask(self._order, 0.0, _silent)
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        """End it."""
        await self._end()

    async def watch(self, window_s: float, *, alone: bool, settle_s: float = SETTLE_S) -> Seen:
        """Return what the engines, or the language model `alone`, did in a window of time.

        Raises:
            EngineError: The process ended, or does not answer.
        """
        order = {"alone": alone, "hear": False, "seconds": window_s, "settle_s": settle_s}
        answer = await self._ask(order, window_s + settle_s, _silent)
        return Seen(**answer["result"])

    async def hear(self, seconds: float, progress: Progress, *, settle_s: float = SETTLE_S) -> Heard:
        """Return what was heard while all engines worked.

        Raises:
            EngineError: The process ended, or does not answer.
        """
        order = {"alone": False, "hear": True, "seconds": seconds, "settle_s": settle_s}
        answer = await self._ask(order, seconds + settle_s, progress)
        return Heard(**answer["result"])

    async def _ask(self, order: dict[str, Any], takes_s: float, progress: Progress) -> dict[str, Any]:
        child = self._child
        if child is None or child.stdin is None or child.stdout is None:
            raise EngineError("bench", "the process with the libraries' defaults is not running")
        try:
            async with asyncio.timeout(takes_s + _LATE_S):
                child.stdin.write(f"{json.dumps(order)}\n".encode())
                await child.stdin.drain()
                while line := await child.stdout.readline():
                    answer: dict[str, Any] = json.loads(line)
                    if "progress" not in answer:
                        return answer
                    progress(answer["progress"])
        except TimeoutError as error:
            raise EngineError("bench", "the process with the libraries' defaults does not answer") from error
        except (BrokenPipeError, ConnectionResetError) as error:
            raise EngineError("bench", "the process with the libraries' defaults has ended") from error
        raise EngineError("bench", f"the process with the libraries' defaults ended with status {await child.wait()}")

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if child.stdin is not None:
            child.stdin.close()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await child.wait()
        except TimeoutError:
            pass  # it hangs in an engine
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()


def _silent(_text: str) -> None:
    """Nobody wants to know."""
