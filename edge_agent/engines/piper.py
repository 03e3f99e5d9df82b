"""Speaks with a Piper voice (VITS on ONNX Runtime)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edge_agent.audio import AudioChunk
from edge_agent.errors import EngineError, ModelError, SynthesisError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from piper import PiperVoice

    from edge_agent.config.engines import PiperConfig

_REMEDY = "copy the voice again, .onnx and .onnx.json (tts.piper.voice)"
_LOG_FATAL = 4
_CONFIG_LIMIT_BYTES = 4_000_000


class PiperSynthesizer:
    """`SpeechSynthesizer` on Piper, in process; ONNX Runtime releases the GIL while it renders.

    The session's threads come from the configuration and don't spin while they wait, so that they cost the other
    engines nothing. Piper renders a sentence at a time: a chunk is a whole sentence.
    """

    def __init__(self, config: PiperConfig, voice: Path) -> None:
        self._config = config
        self._path = voice
        self._voice: PiperVoice | None = None

    @property
    def name(self) -> str:
        """Engine and voice."""
        return f"piper {self._path.stem}"

    def load(self) -> None:
        """Load the voice and its settings.

        Raises:
            ModelError: The .onnx or the .json beside it is absent, incomplete or of another kind.
            EngineError: Piper is not installed.
        """
        self.close()
        try:
            import onnxruntime
            from piper import PiperVoice
            from piper.config import PiperConfig as VoiceConfig
        except ImportError as error:
            raise EngineError("piper", f"is not installed ({error}); `pip install edge-agent[piper]`") from error

        settings = self._read_settings()
        try:
            voice_config = VoiceConfig.from_dict(settings)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._broken(f"its .json is not a Piper voice's ({_brief(error)})") from error
        self._check(voice_config)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._config.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _LOG_FATAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.inter_op.allow_spinning", "0")
        try:
            session = onnxruntime.InferenceSession(
                str(self._path), sess_options=options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its exceptions derive from Exception alone
            raise self._broken(f"ONNX Runtime can't load it ({_brief(error)})") from error
        wanted = {"input", "input_lengths", "scales"}
        if not wanted <= {node.name for node in session.get_inputs()}:
            raise self._broken("is an ONNX model, but not a Piper voice")
        self._voice = PiperVoice(session=session, config=voice_config, download_dir=self._path.parent)

    def synthesize(self, sentence: str) -> Generator[AudioChunk, None, None]:
        """Yield a chunk for each sentence in `sentence`, at the voice's rate; nothing for text without sounds.

        Raises:
            SynthesisError: The voice is not loaded, or failed on the text.
        """
        from piper.config import SynthesisConfig

        if self._voice is None:
            raise SynthesisError(self.name, sentence, "the voice is not loaded")
        # Double brackets would be taken for phoneme names.
        text = sentence.replace("\0", " ").replace("[[", "[ [").replace("[[", "[ [")
        settings = SynthesisConfig(speaker_id=self._config.speaker, length_scale=self._config.length_scale)
        chunks = iter(self._voice.synthesize(text, settings))
        while True:
            try:
                chunk = next(chunks, None)
            except Exception as error:  # ONNX Runtime's exceptions derive from Exception alone
                raise SynthesisError(self.name, sentence, _brief(error)) from error
            if chunk is None:
                return
            if chunk.audio_int16_bytes:
                yield AudioChunk(chunk.audio_int16_bytes, chunk.sample_rate)

    def close(self) -> None:
        """Free the voice."""
        self._voice = None

    def _read_settings(self) -> dict[str, Any]:
        if not self._path.is_file():
            raise self._broken("no such file")
        beside = self._path.with_name(f"{self._path.name}.json")
        if not beside.is_file():
            raise self._broken(f"{beside.name} is missing beside it")
        try:
            with beside.open("rb") as file:
                settings = json.loads(file.read(_CONFIG_LIMIT_BYTES))
        except (ValueError, RecursionError) as error:
            raise self._broken(f"{beside.name} is not valid JSON ({_brief(error)})") from error
        except OSError as error:
            raise self._broken(f"{beside.name} can't be read ({error.strerror})") from error
        if not isinstance(settings, dict):
            raise self._broken(f"{beside.name} is not a Piper voice's")
        return settings

    def _check(self, settings: Any) -> None:  # noqa: ANN401 - piper has its types, but mypy does not follow them
        rate_hz, ids = settings.sample_rate, settings.phoneme_id_map
        if not isinstance(rate_hz, int) or not 8_000 <= rate_hz <= 96_000:  # noqa: PLR2004 - what sound cards can do
            raise self._broken(f"its .json says a sample rate of {rate_hz!r}")
        if not isinstance(ids, dict) or not {"^", "$", "_"} <= ids.keys():
            raise self._broken("its .json has no phoneme table")
        speaker = self._config.speaker
        if speaker is not None and speaker >= max(1, settings.num_speakers):
            raise ModelError(
                "Piper voice", self._path, f"has {settings.num_speakers} speaker(s)", "mend tts.piper.speaker"
            )

    def _broken(self, reason: str) -> ModelError:
        return ModelError("Piper voice", self._path, reason, _REMEDY)


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:120]}"
