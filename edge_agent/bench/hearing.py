"""Speech for a recognizer, frame by frame, as fast as someone speaks."""

from __future__ import annotations

import asyncio
import time
from itertools import cycle
from typing import TYPE_CHECKING, TypeVar

from edge_agent.audio import FRAME_S, AudioChunk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Protocol

    from edge_agent.bench.meter import Meter
    from edge_agent.config.schema import Config
    from edge_agent.hear.asr import SpeechRecognizer

    T = TypeVar("T")

    class Run(Protocol):
        """Runs a blocking call somewhere and returns its result."""

        def __call__(self, call: Callable[[], T], /) -> Awaitable[T]:
            """Run `call`."""
            ...


def load_recognizer(config: Config) -> SpeechRecognizer:
    """Return the recognizer that the agent would use, loaded with the sentences of the intents. Blocking.

    Raises:
        EdgeAgentError: It, its model or an intents file is missing.
    """
    from edge_agent.app.build import build_intents, build_recognizer
    from edge_agent.app.closed_grammar import closed_grammar
    from edge_agent.app.places import find_places

    recognizer = build_recognizer(config, find_places(config.directories))
    recognizer.load(closed_grammar(config, build_intents(config)))
    return recognizer


async def hear_loop(
    recognizer: SpeechRecognizer, run: Run, speech: Sequence[Sequence[AudioChunk]], meter: Meter
) -> None:
    """Have `speech` recognized over and over until cancelled.

    What is late is handed over together, as the pipeline does.
    """
    for utterance in cycle(speech):
        await run(recognizer.start)
        began_s = time.monotonic()
        done = 0
        while done < len(utterance):
            await asyncio.sleep(max(0.0, began_s + (done + 1) * FRAME_S - time.monotonic()))
            due = min(len(utterance), max(done + 1, int((time.monotonic() - began_s) / FRAME_S)))
            chunk = AudioChunk(b"".join(frame.pcm for frame in utterance[done:due]), utterance[0].rate_hz)
            await run(lambda chunk=chunk: recognizer.accept(chunk))  # type: ignore[misc]
            done = due
        await run(recognizer.finish)
        meter.transcript(time.monotonic() - began_s - len(utterance) * FRAME_S)
