"""The engines with their libraries' defaults, in a process that nobody has set anything in.

`python -m edge_agent.bench.defaults_child` reads lines of JSON: first what to load, then what to measure. It answers
each with a line, and ends when its input does.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edge_agent.audio import FRAME_BYTES, HEAR_RATE_HZ, AudioChunk
from edge_agent.bench.defaults_load import DefaultEngines
from edge_agent.bench.hearing import load_recognizer
from edge_agent.bench.watching import hear_during, watch
from edge_agent.config.schema import Config
from edge_agent.runtime import loop


async def main() -> None:
    """Load, measure what is asked for, free."""
    order = await _next_order()
    if order is None:
        return
    config = Config.model_validate(order["config"])
    speech = tuple(tuple(_frames(Path(path))) for path in order["speech"])
    with ExitStack() as stack:
        recognizer = await asyncio.to_thread(load_recognizer, config)
        stack.callback(recognizer.close)
        engines = DefaultEngines(
            Path(order["model"]),
            Path(order["voice"]),
            recognizer,
            speech,
            answer_tokens=order["answer_tokens"],
            cores=order["cores"],
        )
        stack.callback(engines.close)
        await asyncio.to_thread(engines.load)
        _answer({"loaded": True})
        while (order := await _next_order()) is not None:
            _answer({"result": await _measure(engines, speech, order)})


async def _measure(
    engines: DefaultEngines, speech: tuple[tuple[AudioChunk, ...], ...], order: dict[str, Any]
) -> dict[str, Any]:
    case = engines.running(alone=order["alone"])
    if order["hear"]:
        frames = [frame for utterance in speech for frame in utterance]
        heard = await hear_during(
            case, frames, order["seconds"], lambda text: _answer({"progress": text}), settle_s=order["settle_s"]
        )
        return asdict(heard)
    return asdict(await watch(case, order["seconds"], settle_s=order["settle_s"]))


def _frames(path: Path) -> list[AudioChunk]:
    pcm = path.read_bytes()
    starts = range(0, len(pcm), FRAME_BYTES)
    return [AudioChunk(pcm[at : at + FRAME_BYTES], HEAR_RATE_HZ) for at in starts]


async def _next_order() -> dict[str, Any] | None:
    line = await asyncio.to_thread(sys.stdin.readline)
    return json.loads(line) if line else None


def _answer(content: dict[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(content)}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    loop.run(main())
