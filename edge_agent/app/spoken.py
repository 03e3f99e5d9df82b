"""`say`: SPEAK alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_agent.app.build import build_synthesizer
from edge_agent.app.core import open_core
from edge_agent.app.places import find_places
from edge_agent.pipeline.speaking import Utterer, sentences_of

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
        core.tts_claim.bound(synthesizer.most_threads)
        try:
            await core.tts.run(synthesizer.load, kind="load.synthesizer")
            async with sink as opened:
                await Utterer(synthesizer, core.tts, opened, on_audio=lambda _chunk: None).speak(sentences_of(text))
        finally:
            await core.tts.pool.run(synthesizer.close, kind="close.synthesizer")
