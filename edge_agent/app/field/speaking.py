"""Says commands to the device: a person, recordings, or its own voice into the air."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from edge_agent.app.build import build_synthesizer
from edge_agent.app.core import open_core
from edge_agent.audio import AudioChunk, silence
from edge_agent.devices.recording import RecordingSource
from edge_agent.devices.speaker import Speaker

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.app.field.phrases import Phrase
    from edge_agent.app.field.step import Person
    from edge_agent.app.places import Places
    from edge_agent.config.schema import Config
    from edge_agent.runtime.pool import Pool

_AROUND_S = 0.3


class Voice(Protocol):
    """Who says the commands."""

    @property
    def name(self) -> str:
        """For the report: person, recordings, own voice."""
        ...

    async def say(self, phrase: Phrase) -> None:
        """Say it, or have it said: where that is a person's part, return at once."""
        ...


@dataclass(frozen=True, slots=True)
class PersonsVoice:
    """A person reads the commands aloud."""

    person: Person
    pool: Pool
    name: str = "a person"

    async def say(self, phrase: Phrase) -> None:
        """Ask for it."""
        await self.pool.run(partial(self.person.tell, f'say:  "{phrase.text}"'), kind="field.tell")


class PlayedVoice:
    """Plays recordings through a speaker.

    Args:
        sounds: What is played, by the command's text.
        speaker: Through which.
        volume: Per cent.
        name: Whose voice it is.
    """

    def __init__(self, sounds: dict[str, AudioChunk], speaker: str, volume: int, name: str) -> None:
        self._sounds = sounds
        self._speaker = speaker
        self._volume = volume
        self.name = name

    async def say(self, phrase: Phrase) -> None:
        """Play it to its end, with a little silence around it, and let go of the speaker.

        Raises:
            DeviceError: The speaker is absent, refuses or is lost.
        """
        sound = self._sounds[phrase.text]
        async with Speaker(self._speaker, volume=self._volume) as speaker:
            for chunk in (silence(_AROUND_S, sound.rate_hz), sound, silence(_AROUND_S, sound.rate_hz)):
                await speaker.write(chunk)
            speaker.finish()
            await speaker.drain()


async def read_sound(path: Path, pool: Pool) -> AudioChunk:
    """Return a WAV file of any form as 16 kHz, mono.

    Raises:
        AudioFileError: It can't be read.
    """
    async with RecordingSource(path, pool, fast=True) as source:
        frames = [frame async for frame in source.frames()]
    return AudioChunk(b"".join(frame.pcm for frame in frames), frames[0].rate_hz if frames else 16_000)


async def render(config: Config, places: Places, texts: list[str]) -> dict[str, AudioChunk]:
    """Have the device's own voice speak texts, into memory.

    Raises:
        BadInputError: The voice does not exist.
        FaultError: It fails.
    """
    sounds: dict[str, AudioChunk] = {}
    async with open_core(config) as core:
        synthesizer = build_synthesizer(config, places, core.tts_claim)
        try:
            await core.tts.run(synthesizer.load, kind="load.synthesizer")
            for text in texts:
                chunks = [chunk async for chunk in core.tts.steps(synthesizer.synthesize(text), kind="tts")]
                if chunks:
                    sounds[text] = AudioChunk(b"".join(chunk.pcm for chunk in chunks), chunks[0].rate_hz)
        finally:
            await core.tts.pool.run(synthesizer.close, kind="close.synthesizer")
    return sounds
