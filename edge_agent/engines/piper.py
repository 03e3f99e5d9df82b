"""Speaks with a Piper voice (VITS on ONNX Runtime)."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from edge_agent.audio import AudioChunk
from edge_agent.engines.piper_session import JobSession, RunStop, Stopped, VoiceSessions, lean_copy
from edge_agent.engines.stopping import Stops
from edge_agent.engines.wav_command import pieces
from edge_agent.errors import EngineError, ModelError, SynthesisError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from piper import PiperVoice

    from edge_agent.config.engines import PiperConfig
    from edge_agent.runtime.ledger import ComputeGrant

_REMEDY = "copy the voice again, .onnx and .onnx.json (tts.piper.voice)"
_LONGEST_PIECE = 600
"""Characters that are phonemized and rendered at once, where a sentence is longer: eSpeak NG holds the GIL (2.5 µs a
character on an EPYC), and memory grows with the sentence."""
_CONFIG_LIMIT_BYTES = 4_000_000


class PiperSynthesizer:
    """`SpeechSynthesizer` on Piper, in process; ONNX Runtime releases the GIL while it renders.

    Piper renders a sentence at a time: a chunk is a whole sentence, on as many threads as `grant` gives when it begins.

    Args:
        config: Speaker and speed. Its `threads` are the grant's affair.
        voice: The .onnx file.
        grant: Threads to compute with.
        cache: Directory for a copy of the voice that takes less memory; None makes none.
    """

    def __init__(self, config: PiperConfig, voice: Path, grant: ComputeGrant, cache: Path | None = None) -> None:
        self._config = config
        self._path = voice
        self._grant = grant
        self._cache = cache
        self._stops = Stops()
        self._voice: PiperVoice | None = None
        self._sessions: VoiceSessions | None = None

    @property
    def name(self) -> str:
        """Engine and voice."""
        return f"piper {self._path.stem}"

    @property
    def most_threads(self) -> int | None:
        """As many as granted: a session for each number."""
        return None

    def load(self) -> None:
        """Load the voice and its settings.

        Raises:
            ModelError: The .onnx or the .json beside it is absent, incomplete or of another kind.
            EngineError: Piper is not installed.
        """
        self.close()
        try:
            import onnxruntime  # noqa: F401 - part of what is asked for
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
        try:
            model = self._path if self._cache is None else lean_copy(self._path, self._cache)
            sessions = VoiceSessions(model)
            session = sessions.get(max(1, self._grant.threads))
        except Exception as error:  # its exceptions derive from Exception alone
            raise self._broken(f"ONNX Runtime can't load it ({_brief(error)})") from error
        wanted = {"input", "input_lengths", "scales"}
        if not wanted <= {node.name for node in session.get_inputs()}:
            raise self._broken("is an ONNX model, but not a Piper voice")
        voice = PiperVoice(session=session, config=voice_config, download_dir=self._path.parent)
        try:
            voice.phonemize("a")  # the first time takes long, and each job works on a copy of what is made then
        except Exception as error:  # each language has its own library
            raise EngineError("piper", f"can't phonemize for {self._path.stem} ({_brief(error)})") from error
        self._voice, self._sessions = voice, sessions

    def synthesize(self, sentence: str) -> Generator[AudioChunk, None, None]:
        """Yield a chunk for each sentence in `sentence`, at the voice's rate; nothing for text without sounds.

        Raises:
            SynthesisError: The voice is not loaded, or failed on the text.
        """
        stop = RunStop()
        return self._stops.add(self._render(sentence, stop), stop.set)

    def stop(self, job: Generator[AudioChunk, None, None] | None = None) -> None:
        """End the job's running sentence before the next node of its graph, and the job with it. Any thread.

        Without `job`, all made so far end. Closing a generator alone waits for the sentence.
        """
        self._stops.stop(job)

    def close(self) -> None:
        """Stop all jobs and free the voice."""
        self._stops.stop()
        self._voice = self._sessions = None

    def _render(self, sentence: str, stop: RunStop) -> Generator[AudioChunk, None, None]:
        from piper.config import SynthesisConfig

        if stop.is_set:
            return
        if self._voice is None or self._sessions is None:
            raise SynthesisError(self.name, sentence, "the voice is not loaded")
        voice = copy.copy(self._voice)
        voice.session = JobSession(self._sessions, self._grant, stop)
        # Double brackets would be taken for phoneme names.
        text = sentence.replace("\0", " ").replace("[[", "[ [").replace("[[", "[ [")
        settings = SynthesisConfig(speaker_id=self._config.speaker, length_scale=self._config.length_scale)
        for piece in pieces(text, _LONGEST_PIECE) if len(text) > _LONGEST_PIECE else [text]:
            chunks = iter(voice.synthesize(piece, settings))
            while (chunk := self._next(chunks, sentence, stop)) is not None:
                if chunk.audio_int16_bytes:
                    yield AudioChunk(chunk.audio_int16_bytes, chunk.sample_rate)
            if stop.is_set:
                return

    def _next(self, chunks: Iterator[Any], sentence: str, stop: RunStop) -> Any:  # noqa: ANN401 - piper's chunk
        """Render the next sentence; None where there is none, or the job is to stop."""
        try:
            chunk = next(chunks, None)
        except Stopped:
            stop.set()
            return None
        except Exception as error:  # ONNX Runtime's exceptions derive from Exception alone
            if stop.is_set:
                return None
            raise SynthesisError(self.name, sentence, _brief(error)) from error
        return None if stop.is_set else chunk

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
