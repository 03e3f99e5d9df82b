"""The reference for the ledger: the same engines, each at all cores, as their libraries are when nobody tells them."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from edge_agent.bench.extras import need
from edge_agent.bench.hearing import hear_loop
from edge_agent.bench.materials import QUESTION, SENTENCES
from edge_agent.bench.meter import Meter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from edge_agent.audio import AudioChunk
    from edge_agent.hear.asr import SpeechRecognizer

_CONTEXT_TOKENS = 2048
"""As the agent has it."""


class DefaultEngines:
    """llama-cpp-python's `Llama` and Piper's `PiperVoice`, as their own documentation shows them.

    llama-cpp-python takes half of the cores by itself for decoding; here it gets all of them, as it takes for prompts.
    ONNX Runtime takes a thread a core by itself, and lets them spin while they wait.
    """

    def __init__(
        self,
        model: Path,
        voice: Path,
        recognizer: SpeechRecognizer,
        speech: Sequence[Sequence[AudioChunk]],
        *,
        answer_tokens: int,
        cores: int,
    ) -> None:
        self._model_path, self._voice_path = model, voice
        self._recognizer = recognizer
        self._speech = speech
        self._answer_tokens = answer_tokens
        self._cores = cores
        self._model: Any = None
        self._voice: Any = None

    def load(self) -> None:
        """Load model and voice; the recognizer is loaded by who made it. Blocking."""
        self._model = need("llama_cpp", "llm").Llama(
            str(self._model_path),
            n_ctx=_CONTEXT_TOKENS,
            n_threads=self._cores,
            n_threads_batch=self._cores,
            verbose=False,
        )
        self._voice = need("piper", "piper").PiperVoice.load(self._voice_path, download_dir=self._voice_path.parent)

    def close(self) -> None:
        """Free them."""
        if self._model is not None:
            self._model.close()
        self._model = self._voice = None

    @asynccontextmanager
    async def running(self, *, alone: bool = False) -> AsyncIterator[Meter]:
        """Let all engines work, each on a thread of its own, or the language model `alone`; leaving stops them."""
        meter = Meter()
        stop = threading.Event()
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(3, thread_name_prefix="defaults") as executor:
            try:
                async with asyncio.TaskGroup() as tasks:
                    work = [loop.run_in_executor(executor, self._reason, meter, stop)]
                    hearing = None
                    if not alone:
                        work.append(loop.run_in_executor(executor, self._speak, meter, stop))
                        hearing = tasks.create_task(
                            hear_loop(
                                self._recognizer,
                                lambda call: loop.run_in_executor(executor, call),
                                self._speech,
                                meter,
                            ),
                            name="bench.hear",
                        )
                    yield meter
                    stop.set()
                    if hearing is not None:
                        hearing.cancel()
                    await asyncio.gather(*work)
            finally:
                stop.set()

    def _reason(self, meter: Meter, stop: threading.Event) -> None:
        question = "\n".join(message.content for message in QUESTION)
        tokens = self._model.tokenize(question.encode())
        while not stop.is_set():
            for at, _ in enumerate(self._model.generate(tokens, temp=0.7)):
                meter.token()
                if stop.is_set() or at + 1 >= self._answer_tokens:
                    break

    def _speak(self, meter: Meter, stop: threading.Event) -> None:
        while not stop.is_set():
            for sentence in SENTENCES:
                began_s = time.monotonic()
                audio_s = sum(
                    len(chunk.audio_float_array) / chunk.sample_rate for chunk in self._voice.synthesize(sentence)
                )
                meter.sentence(time.monotonic() - began_s, audio_s)
                if stop.is_set():
                    return
