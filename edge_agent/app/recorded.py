"""`converse`: the whole conversation with recordings for a microphone and files for a speaker."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from edge_agent.app.brain import RememberedVolume, open_brain
from edge_agent.app.core import open_core
from edge_agent.app.places import find_places
from edge_agent.app.publishing import open_publisher
from edge_agent.app.voice import open_voice
from edge_agent.devices.recording import RecordingSource, check_recording
from edge_agent.devices.wav_speaker import DiscardingSpeaker, WavSpeaker
from edge_agent.errors import AudioFileError
from edge_agent.pipeline.hearing import LONGEST_CALL_S

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from edge_agent.config.schema import Config
    from edge_agent.pipeline.observer import Observer
    from edge_agent.runtime.pool import Pool
    from edge_agent.speak.sink import AudioSink


_PATIENT_CALL_S = 600.0
"""Where nobody waits, what is heard must not depend on how fast the machine is: under qemu Vosk took 40 s over a call
that takes one. PocketSphinx's process has bounds of its own, which it kept there."""


async def hold(config: Config, recordings: Sequence[Path], observer: Observer, *, fast: bool, out: Path | None) -> None:
    """Converse over the recordings, in order, as one session.

    Raises:
        AudioFileError: A recording can't be read; all are checked before the first turn.
        BadInputError: The configuration, a model or an intents file is wrong.
    """
    places = find_places(config.directories)
    async with (
        open_core(config) as core,
        _prepared(recordings, out, core.pools.file_io),
        open_publisher(config) as publisher,
        open_brain(config, places, core, volume=RememberedVolume(config.audio.volume), publisher=publisher) as brain,
        open_voice(
            config,
            places,
            core,
            brain,
            observer=observer,
            open_speaker=_speakers(out, core.pools.file_io, fast=fast),
            longest_hearing_s=_PATIENT_CALL_S if fast else LONGEST_CALL_S,
        ) as voice,
    ):
        for path in recordings:
            async with RecordingSource(path, core.pools.file_io, fast=fast) as source:
                await voice.ears.listen(source, patient=True)


@asynccontextmanager
async def _prepared(recordings: Sequence[Path], out: Path | None, pool: Pool) -> AsyncIterator[None]:
    """Check all recordings and make the directory for replies, before anything is loaded."""

    def prepare() -> None:
        for path in recordings:
            check_recording(path)
        _make(out)

    await pool.run(prepare, kind="recording.check")
    yield


def _make(out: Path | None) -> None:
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AudioFileError(out, f"can't be made a directory: {error.strerror}") from error


def _speakers(
    out: Path | None, pool: Pool, *, fast: bool
) -> Callable[[int], AbstractAsyncContextManager[tuple[AudioSink, Path | None]]]:
    @asynccontextmanager
    async def open_speaker(turn_id: int) -> AsyncIterator[tuple[AudioSink, Path | None]]:
        if out is None:
            async with DiscardingSpeaker(fast=fast) as sink:
                yield sink, None
            return
        path = out / f"turn-{turn_id}.wav"
        async with WavSpeaker(path, pool, fast=fast) as speaker:
            yield speaker, path

    return open_speaker
