"""Chooses engines and devices by the configuration and by what is installed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edge_agent.app.places import find_llm, find_piper_voice, find_vosk_model
from edge_agent.errors import ConfigError, ConfigProblem, ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from edge_agent.app.places import Places
    from edge_agent.config.schema import Config
    from edge_agent.hear.asr import SpeechRecognizer
    from edge_agent.hear.wake import WakeWordDetector
    from edge_agent.reason.llm import LanguageModel
    from edge_agent.reason.templates import IntentSet
    from edge_agent.runtime.ledger import ComputeGrant
    from edge_agent.speak.tts import SpeechSynthesizer

_log = logging.getLogger(__name__)


def build_recognizer(config: Config, places: Places) -> SpeechRecognizer:
    """Return the recognizer, not yet loaded: Vosk where a model is installed, PocketSphinx otherwise.

    Raises:
        ModelError: The configured model does not exist.
        ConfigError: No engine can hear the configured language.
    """
    engine, model = config.asr.engine, config.asr.vosk.model
    if engine != "pocketsphinx":
        model = model or find_vosk_model(places.models, config.language)
        if model is not None:
            from edge_agent.engines.vosk import VoskRecognizer

            return VoskRecognizer(config.asr.vosk, _existing("Vosk model", model))
    if engine == "vosk" or config.language != "en":
        problem = (
            f"speech in language {config.language!r} needs a Vosk model, and there is none in {places.models / 'vosk'}"
        )
        remedy = (
            "`edge-agent models pull --recommended` gets one, or name yours in asr.vosk.model; "
            "until then `edge-agent ask` works"
        )
        raise ConfigError([ConfigProblem("asr.engine", f"{problem}; {remedy}", "configuration")])
    from edge_agent.engines.sphinx import PocketSphinxRecognizer

    cache = places.cache / "pocketsphinx"
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"{places.cache} can't be written: {error.strerror}; name another directory"
        raise ConfigError([ConfigProblem("directories.cache", message, "configuration")]) from error
    return PocketSphinxRecognizer(config.asr.pocketsphinx, config.language, cache_dir=cache)


def build_synthesizer(config: Config, places: Places, grant: ComputeGrant) -> SpeechSynthesizer:
    """Return the synthesizer, not yet loaded: Piper where a voice is installed, Flite for English, else eSpeak NG.

    Raises:
        ModelError: The configured voice does not exist.
        ConfigError: Piper is asked for and has no voice.
    """
    engine = config.tts.engine
    voice = config.tts.piper.voice or find_piper_voice(places.models, config.language)
    if engine == "piper" or (engine == "auto" and voice is not None):
        if voice is None:
            message = f"no Piper voice for language {config.language!r} in {places.models / 'piper'}"
            raise ConfigError(
                [
                    ConfigProblem(
                        "tts.engine",
                        f"{message}; `edge-agent models pull --recommended` gets one, or name yours in tts.piper.voice",
                        "configuration",
                    )
                ]
            )
        from edge_agent.engines.piper import PiperSynthesizer

        return PiperSynthesizer(config.tts.piper, _existing("Piper voice", voice), grant, cache=places.cache / "piper")
    if engine == "flite" or (engine == "auto" and config.language == "en" and _has_command("flite")):
        from edge_agent.engines.flite import FliteSynthesizer

        return FliteSynthesizer(config.tts.flite)
    from edge_agent.engines.espeak import EspeakSynthesizer

    return EspeakSynthesizer(config.tts.espeak, config.language)


def build_model(config: Config, places: Places, grant: ComputeGrant) -> LanguageModel | None:
    """Return the language model, not yet loaded; None where none is installed.

    Raises:
        ModelError: The configured model does not exist.
    """
    path = config.llm.model or find_llm(places.models)
    if path is None:
        return None
    from edge_agent.engines.llama import LlamaLanguageModel

    return LlamaLanguageModel(config.llm, _existing("language model", path), grant, cache=places.cache / "prefix")


def build_intents(config: Config) -> IntentSet:
    """Load the shipped and the user's intents.

    Raises:
        IntentsFileError: A file is missing or wrong.
        ConfigError: The shipped ones are wanted, and there are none in the configured language.
    """
    from edge_agent.reason.templates import load_intents

    outputs = {name: output.aliases for name, output in config.gpio.outputs.items()}
    return load_intents(config.language, builtin=config.intents.builtin, paths=config.intents.paths, outputs=outputs)


def build_wake(config: Config) -> WakeWordDetector | None:
    """Return the wake word detector, not yet loaded; None in other activation modes."""
    if config.activation.mode != "wake_word":
        return None
    from edge_agent.engines.wakeword import MicroWakeWordDetector

    sensitivity = config.activation.sensitivity
    by_word: dict[str, float] | float | None
    if isinstance(sensitivity, dict):
        by_word = {str(word): share for word, share in sensitivity.items()}
    else:
        by_word = sensitivity
    return MicroWakeWordDetector(config.activation.words, by_word)


def _existing(kind: str, path: Path) -> Path:
    if not path.exists():
        raise ModelError(kind, path, "does not exist", "correct the path, or leave it out for the default")
    return path


def _has_command(name: str) -> bool:
    import shutil

    return shutil.which(name) is not None
