"""`ask`: a turn that is typed instead of spoken."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from edge_agent.app.brain import RememberedVolume, open_brain
from edge_agent.app.core import open_core
from edge_agent.app.places import find_places
from edge_agent.app.publishing import open_publisher
from edge_agent.pipeline.answering import Chunked
from edge_agent.pipeline.reply import nothing_to_keep
from edge_agent.pipeline.report import TurnClock, TurnReport

if TYPE_CHECKING:
    from edge_agent.config.schema import Config


async def answer_text(config: Config, text: str) -> TurnReport:
    """Answer `text` as a conversation's first turn.

    Raises:
        BadInputError: Intents, a model or the configuration is wrong.
        FaultError: The language model could not answer.
    """
    report = TurnReport(1, heard=text)
    places = find_places(config.directories)
    async with (
        open_core(config) as core,
        open_publisher(config) as publisher,
        open_brain(config, places, core, volume=RememberedVolume(config.audio.volume), publisher=publisher) as brain,
    ):
        await brain.loaded()
        clock = TurnClock()
        answer = await brain.responder.answer_text(text)
        report.intent, report.slots, report.source = answer.intent, answer.slots, answer.source

        def note_first_token() -> None:
            report.timings.first_token_s = clock.now_s()

        if answer.sentences is not None:
            committed = asyncio.Event()
            committed.set()
            sentences = answer.sentences(Chunked(note_first_token, committed, nothing_to_keep))
            report.reply = " ".join([sentence async for sentence in sentences])
        report.timings.done_s = clock.now_s()
    return report
