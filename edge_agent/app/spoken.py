"""`say`: SPEAK alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.app.build import build_synthesizer
from edge_agent.app.core import open_core
from edge_agent.app.places import find_places
from edge_agent.pipeline.answering import Answer
from edge_agent.pipeline.gate import Gate
from edge_agent.pipeline.reply import PendingReply, settle
from edge_agent.pipeline.respond import sentences_of
from edge_agent.pipeline.speaking import Player, Renderer

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.config.schema import Config
    from edge_agent.speak.sink import AudioSink


async def say_text(config: Config, text: str, out: Path | None) -> None:
    """Speak `text` through the speaker, or into the WAV file `out`; return when it was played.

    Raises:
        BadInputError: The voice or the speaker does not exist.
        FaultError: Synthesis or playback failed.
    """
    from edge_agent.devices.speaker import Speaker
    from edge_agent.devices.wav_speaker import WavSpeaker

    async with open_core(config) as core:
        sink: AudioSink
        if out is None:
            sink = Speaker(config.audio.output_device, volume=config.audio.volume)
        else:
            sink = WavSpeaker(out, core.pools.file_io, fast=True)
        synthesizer = build_synthesizer(config, find_places(config.directories), core.tts_claim)
        core.size_voice(config, synthesizer)
        try:
            await core.tts.run(synthesizer.load, kind="load.synthesizer")
            async with sink as opened:
                answer = Answer("none", lambda _: sentences_of(text), "", text=text)
                reply = PendingReply(answer, Renderer(synthesizer, core.tts), core.metrics, "say")
                try:
                    reply.commit(lambda _: None)
                    await Player(Gate(opened), on_audio=lambda _: None).play(aiter(reply.rendered))
                    await reply.wait()
                finally:
                    await settle([reply])
        finally:
            await core.tts.pool.run(synthesizer.close, kind="close.synthesizer")
