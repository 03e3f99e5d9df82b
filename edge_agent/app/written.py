"""`transcribe`: HEAR alone, on a recording."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from edge_agent.app.build import build_intents, build_recognizer
from edge_agent.app.closed_grammar import make_grammar
from edge_agent.app.core import open_core
from edge_agent.app.places import find_places
from edge_agent.devices.recording import RecordingSource, check_recording
from edge_agent.events import EndpointReason
from edge_agent.hear.endpoint import (
    Endpointer,
    EndpointingEvent,
    OnsetDetected,
    UtteranceContinued,
    UtteranceEnded,
)
from edge_agent.hear.noise import NoiseAwareVad

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from edge_agent.config.schema import Config
    from edge_agent.events import Endpoint, Transcript
    from edge_agent.hear.asr import SpeechRecognizer
    from edge_agent.runtime.pools import Station


async def transcribe_recording(
    config: Config, recording: Path, show: Callable[[dict[str, Any]], None], *, free: bool = False
) -> None:
    """Recognize each utterance of `recording` and hand it to `show`; `free` leaves the intents' grammar out.

    Raises:
        AudioFileError: The recording can't be read.
        ModelError: The model is absent, incomplete or corrupt.
        RecognitionError: The engine broke.
    """
    from edge_agent.engines.webrtc import WebRtcVad

    places = find_places(config.directories)
    async with open_core(config) as core:
        await core.pools.file_io.run(lambda: check_recording(recording), kind="recording.check")
        recognizer = build_recognizer(config, places)
        try:
            grammar = None
            if not free:
                intents = await core.match.run(lambda: build_intents(config), kind="load.intents")
                grammar = await make_grammar(config, intents, core.match)
            await core.asr.run(lambda: recognizer.load(grammar), kind="load.recognizer", stop=recognizer.stop)
            writer = _Writer(recognizer, core.asr, show)
            vad, endpointer = NoiseAwareVad(WebRtcVad(config.vad.aggressiveness)), Endpointer(config.endpoint)
            async with RecordingSource(recording, core.pools.file_io, fast=True) as source:
                async for frame in source.frames():
                    await writer.take(endpointer.push(frame, is_speech=vad.is_speech(frame)), frame.duration_s)
            await writer.take(endpointer.end(EndpointReason.END_OF_INPUT), 0.0)
        finally:
            await core.asr.pool.run(recognizer.close, kind="close.recognizer")


class _Writer:
    """Feeds the recognizer what the endpointer cuts out, and shows what comes of it."""

    def __init__(self, recognizer: SpeechRecognizer, asr: Station, show: Callable[[dict[str, Any]], None]) -> None:
        self._recognizer = recognizer
        self._asr = asr
        self._show = show
        self._heard_s = 0.0

    async def take(self, events: list[EndpointingEvent], duration_s: float) -> None:
        self._heard_s += duration_s
        for event in events:
            match event:
                case OnsetDetected(audio):
                    await self._asr.run(self._recognizer.start, kind="asr.start")
                    for part in audio:
                        await self._asr.run(partial(self._recognizer.accept, part), kind="asr.accept")
                case UtteranceContinued(frame):
                    await self._asr.run(partial(self._recognizer.accept, frame), kind="asr.accept")
                case UtteranceEnded(endpoint):
                    transcript = await self._asr.run(self._recognizer.finish, kind="asr.finish")
                    self._show(_as_json(transcript, endpoint, self._heard_s - endpoint.decided_s))


def _as_json(transcript: Transcript, endpoint: Endpoint, start_s: float) -> dict[str, Any]:
    return {
        "text": transcript.text,
        "confidence": None if transcript.confidence is None else round(transcript.confidence, 3),
        "in_grammar": transcript.in_grammar,
        "start_s": round(max(0.0, start_s), 2),
        "end_s": round(start_s + endpoint.speech_end_s, 2),
        "reason": endpoint.reason.value,
        "words": [
            {"text": word.text, "start_s": round(start_s + word.start_s, 2), "confidence": round(word.confidence, 3)}
            for word in transcript.words
        ],
    }
