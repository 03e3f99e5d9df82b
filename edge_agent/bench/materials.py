"""What the engines are given to do: generated models, and speech to recognize."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edge_agent.audio import FRAME_BYTES, HEAR_RATE_HZ, AudioChunk, silence
from edge_agent.bench import gguf_model, onnx_voice
from edge_agent.reason.llm import ChatMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edge_agent.config.schema import Config

SENTENCES = (
    "The kitchen light is on, and the timer for the eggs has three minutes left.",
    "It is a quarter past seven, and outside there are twelve degrees and a little rain.",
    "I have set an alarm for six o'clock tomorrow morning, and turned the heating down.",
    "The washing machine will be done in half an hour; shall I tell you when it is?",
)
"""What the voice renders: about five seconds each."""
COMMANDS = ("turn on the light in the kitchen", "set a timer for ten minutes", "what time is it", "turn off the fan")
"""What the recognizer hears."""
LONG_SENTENCE = (
    "In the evening the wind will come from the north and bring colder air, so that there may be frost in the valleys "
    "before morning, while the hills stay above the clouds and have a clear sky and a bright moon for most of it."
)
"""What the voice is interrupted in."""
QUESTION = (ChatMessage("system", "You are brief."), ChatMessage("user", "What do you know of the sea?"))
_LEAD_S, _TAIL_S = 0.3, 0.6


@dataclass(frozen=True, slots=True)
class Materials:
    """Files and sounds of one run.

    Attributes:
        model: The GGUF file.
        voice: The Piper voice's .onnx.
        speech: Utterances for the recognizer, each as 20 ms frames at 16 kHz.
        recordings: The same as files of raw samples, for other processes.
    """

    model: Path
    voice: Path
    speech: tuple[tuple[AudioChunk, ...], ...]
    recordings: tuple[Path, ...]


@contextmanager
def prepared(config: Config, *, tiny: bool = False) -> Iterator[Materials]:
    """Write models (some 200 MB) and render speech into a directory that is removed again. Blocking, a few seconds.

    Raises:
        EngineError: A package of the `bench` extra is not installed.
        SynthesisError: There is no voice to make speech with.
    """
    from edge_agent.app.places import find_places

    cache = find_places(config.directories).cache
    cache.mkdir(parents=True, exist_ok=True)
    # Not /tmp, which may be in memory.
    with tempfile.TemporaryDirectory(prefix="bench-", dir=cache) as name:
        directory = Path(name)
        model, voice = directory / "random.gguf", directory / "en_US-random-medium.onnx"
        gguf_model.write_model(model, gguf_model.TINY if tiny else None)
        onnx_voice.write_voice(voice, onnx_voice.TINY if tiny else None)
        speech = spoken(config, COMMANDS[:1] if tiny else COMMANDS)
        recordings = tuple(directory / f"utterance-{number}.raw" for number in range(len(speech)))
        for path, utterance in zip(recordings, speech, strict=True):
            path.write_bytes(b"".join(frame.pcm for frame in utterance))
        yield Materials(model, voice, speech, recordings)


def spoken(config: Config, texts: tuple[str, ...]) -> tuple[tuple[AudioChunk, ...], ...]:
    """Render each of `texts` with Flite, or eSpeak NG where that is missing, between silences.

    Raises:
        SynthesisError: Neither is installed.
        EngineError: The same.
    """
    from shutil import which

    from edge_agent.engines.espeak import EspeakSynthesizer
    from edge_agent.engines.flite import FliteSynthesizer

    synthesizer = (
        FliteSynthesizer(config.tts.flite) if which("flite") else EspeakSynthesizer(config.tts.espeak, config.language)
    )
    synthesizer.load()
    utterances = []
    for text in texts:
        pcm = b"".join(_at_hearing_rate(chunk) for chunk in synthesizer.synthesize(text))
        whole = silence(_LEAD_S, HEAR_RATE_HZ).pcm + pcm + silence(_TAIL_S, HEAR_RATE_HZ).pcm
        starts = range(0, len(whole) - FRAME_BYTES + 1, FRAME_BYTES)
        utterances.append(tuple(AudioChunk(whole[at : at + FRAME_BYTES], HEAR_RATE_HZ) for at in starts))
    synthesizer.close()
    return tuple(utterances)


def _at_hearing_rate(chunk: AudioChunk) -> bytes:
    if chunk.rate_hz == HEAR_RATE_HZ:
        return chunk.pcm
    from edge_agent.devices.resampling import StreamResampler, to_samples

    resampler = StreamResampler(chunk.rate_hz, HEAR_RATE_HZ)
    return resampler.feed(to_samples(chunk.pcm), last=True).astype("<i2").tobytes()
