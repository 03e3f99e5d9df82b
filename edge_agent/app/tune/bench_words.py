"""What is said and heard while a board is measured."""

from __future__ import annotations

import shutil
from itertools import count
from typing import TYPE_CHECKING

from edge_agent.audio import HEAR_RATE_HZ, AudioChunk, silence
from edge_agent.reason.llm import ChatMessage

if TYPE_CHECKING:
    from edge_agent.config.schema import Config
    from edge_agent.speak.tts import SpeechSynthesizer

_SENTENCES = {
    "en": (
        "It is a quarter past seven, and outside there are twelve degrees and a little rain.",
        "I have set an alarm for six tomorrow morning, and turned the heating down.",
    ),
    "zh": ("现在是七点一刻，外面十二度，下着小雨。", "我已经把闹钟定在明天早上六点，也把暖气关小了。"),
    "de": ("Es ist Viertel nach sieben, draußen sind es zwölf Grad, und es regnet ein wenig.",),
    "es": ("Son las siete y cuarto, fuera hay doce grados y llueve un poco.",),
    "fr": ("Il est sept heures et quart, il fait douze degrés dehors et il pleut un peu.",),
}
_COMMANDS = {
    "en": "turn on the light in the kitchen and set a timer for ten minutes",
    "zh": "打开厨房的灯，十分钟后提醒我",
    "de": "schalte das Licht in der Küche ein und stelle einen Timer auf zehn Minuten",
}
_PROMPT_WORDS = 42
"""Some 60 tokens of a model with an ordinary vocabulary, and more of one that knows letters alone."""
_CHUNK_S = 0.1
_numbers = count(1)
_PAUSE_S = 0.3


def sentences(language: str) -> tuple[str, ...]:
    """Return what the voice says; where nothing is known of a language, what can be said in any: numbers."""
    return _SENTENCES.get(language, ("1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16.",))


def question(*, is_long: bool) -> tuple[ChatMessage, ...]:
    """Return a chat that begins like no other one, so that nothing of it was evaluated before."""
    number = next(_numbers)
    text = f"{number}. " + "the kitchen light and the garden gate " * (_PROMPT_WORDS // 7 if is_long else 0)
    return ChatMessage("system", f"{number}: you are brief."), ChatMessage("user", f"{text}What do you think?")


def spoken_command(config: Config, voice: SpeechSynthesizer) -> list[AudioChunk]:
    """Return a spoken command as a microphone would deliver it, in chunks of a tenth of a second. Blocking.

    Flite says it, or eSpeak NG: the same words on every board; `voice` where neither is installed.

    Raises:
        SynthesisError: Nobody can say it.
        EngineError: The same.
    """
    from edge_agent.devices.resampling import StreamResampler, to_samples

    speaker = _speaker(config) or voice
    text = _COMMANDS.get(config.language) or sentences(config.language)[0]
    chunks = list(speaker.synthesize(text))
    said = b"".join(chunk.pcm for chunk in chunks)
    if chunks:
        resampler = StreamResampler(chunks[0].rate_hz, HEAR_RATE_HZ)
        said = resampler.feed(to_samples(said), last=True).astype("<i2").tobytes()
    pause = silence(_PAUSE_S, HEAR_RATE_HZ).pcm
    pcm = pause + said + pause
    size = round(_CHUNK_S * HEAR_RATE_HZ) * 2
    return [AudioChunk(pcm[at : at + size], HEAR_RATE_HZ) for at in range(0, len(pcm), size)]


def _speaker(config: Config) -> SpeechSynthesizer | None:
    from edge_agent.engines.espeak import EspeakSynthesizer
    from edge_agent.engines.flite import FliteSynthesizer

    found: SpeechSynthesizer
    if config.language == "en" and shutil.which("flite"):
        found = FliteSynthesizer(config.tts.flite)
    elif shutil.which("espeak-ng"):
        found = EspeakSynthesizer(config.tts.espeak, config.language)
    else:
        return None
    found.load()
    return found
