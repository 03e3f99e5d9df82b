"""Answers with any GGUF model through llama.cpp."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from edge_agent.engines.llama_text import AnswerText, ChatFormat
from edge_agent.engines.probe import probe
from edge_agent.errors import GenerationError, ModelError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from edge_agent.config.engines import LlmConfig
    from edge_agent.engines.llama_session import LlamaSession
    from edge_agent.reason.llm import ChatMessage

_logger = logging.getLogger(__name__)

_REMEDY = "download or copy it again, or set llm.model to another GGUF file"
_PROBE = "edge_agent.engines.llama_probe"
_MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_MOST_ENTRIES = 1 << 20
_BATCH_TOKENS = 32
"""Tokens of the prompt that one step evaluates, between which an answer can be abandoned."""
_SHORTEST_ANSWER_TOKENS = 16


class LlamaLanguageModel:
    """`LanguageModel` on llama.cpp, in process; it releases the GIL while it computes.

    The state of the last chat is kept: what a new chat has in common with it from the start is not computed again.
    """

    def __init__(self, config: LlmConfig, model: Path) -> None:
        self._config = config
        self._path = model
        self._session: LlamaSession | None = None
        self._format = ChatFormat(None, "", "", ())

    @property
    def name(self) -> str:
        """Engine and model."""
        return f"llama.cpp {self._path.stem}"

    def load(self) -> None:
        """Let a child process try the file, then load it.

        Raises:
            ModelError: The file is absent, incomplete, corrupt, or not a model that continues text.
            GenerationError: llama.cpp is not installed, or there is no memory for the context.
        """
        self.close()
        try:
            from edge_agent.engines.llama_session import LlamaFailure, LlamaSession, library

            library()
        except (ImportError, OSError, RuntimeError) as error:
            raise GenerationError("llama.cpp", f"is not installed ({error}); `pip install edge-agent[llm]`") from error
        _check_header(self._path)
        if reason := probe(_PROBE, self._path):
            raise _broken(self._path, reason)
        threads = self._config.threads or max(1, len(os.sched_getaffinity(0)) - 1)
        try:
            session = LlamaSession(
                self._path,
                context_tokens=self._config.context_tokens,
                batch_tokens=_BATCH_TOKENS,
                threads=threads,
            )
        except LlamaFailure as failure:
            # The probe has loaded the same file, so that it is the memory that is missing here.
            reason = f"{failure}; try a smaller llm.context_tokens or model"
            raise GenerationError(self.name, reason) from failure
        self._session = session
        self._format = self._chat_format(session)
        _logger.info(
            "%s: context %d tokens, %d thread(s), %s chat template",
            self.name,
            session.context_tokens,
            threads,
            "plain" if self._format.stops else "its own",
        )

    def generate(self, messages: Sequence[ChatMessage]) -> Generator[str, None, None]:
        """Yield the answer in pieces; empty ones while the prompt is evaluated, so that it can be closed there.

        Raises:
            GenerationError: The model is not loaded, the last message alone exceeds the context, or llama.cpp failed.
        """
        from edge_agent.engines.llama_session import LlamaFailure

        session = self._session
        if session is None:
            raise GenerationError(self.name, "the model is not loaded")
        session.resume()
        try:
            prompt = self._fitting(session, messages)
            at = session.keep(prompt)
            while at < len(prompt):
                if not session.evaluate(prompt[at : at + session.batch_tokens]):
                    return
                at += session.batch_tokens
                yield ""
            yield from self._answer(session)
        except LlamaFailure as failure:
            raise GenerationError(self.name, str(failure)) from failure

    def interrupt(self) -> None:
        """Make the step that is running return before its next operation; its answer then ends. Any thread may call.

        Closing the generator alone waits for the step. Without effect where none is running.
        """
        if (session := self._session) is not None:
            session.interrupt()

    def close(self) -> None:
        """Free the model."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _answer(self, session: LlamaSession) -> Generator[str, None, None]:
        text = AnswerText(self._format.stops)
        session.open_sampler(self._config.temperature, self._config.seed)
        left = min(self._config.max_answer_tokens, session.context_tokens - len(session.evaluated))
        while left > 0 and not session.interrupted:
            token = session.sample()
            left -= 1
            if session.ends(token):
                break
            yield text.feed(session.piece(token))
            if text.stopped or (left and not session.evaluate([token])):
                break
        if rest := text.flush():
            yield rest

    def _fitting(self, session: LlamaSession, messages: Sequence[ChatMessage]) -> list[int]:
        """Return the prompt's tokens, the oldest turns left out until they and a full answer fit the context."""
        room = session.context_tokens
        wanted = max(room - self._config.max_answer_tokens, room // 2)
        kept = list(messages)
        while True:
            prompt = self._format.prompt(kept)
            tokens = session.tokenize(prompt, begin=self._format.begins(prompt))
            if len(tokens) <= wanted:
                return tokens
            if not _drop_oldest_turn(kept):
                break
        if len(tokens) <= room - _SHORTEST_ANSWER_TOKENS:
            return tokens
        raise GenerationError(
            self.name,
            f"the question has {len(tokens)} tokens, too many for the context of {room}; "
            "ask something shorter or raise llm.context_tokens",
        )

    def _chat_format(self, session: LlamaSession) -> ChatFormat:
        beginning, ending, controls = session.beginning(), session.ending(), session.controls()
        try:
            return ChatFormat(session.template(), beginning, ending, controls)
        except ValueError as error:
            _logger.warning("%s: its chat template fails (%s); using a plain one", self.name, error)
            return ChatFormat(None, beginning, ending, controls)


def _drop_oldest_turn(messages: list[ChatMessage]) -> bool:
    """Take out the first user message and what answers it; never the system prompt or the last message."""
    first = next((at for at, message in enumerate(messages[:-1]) if message.role != "system"), None)
    if first is None:
        return False
    del messages[first]
    while first < len(messages) - 1 and messages[first].role == "assistant":
        del messages[first]
    return True


def _check_header(path: Path) -> None:
    """Refuse at once what is not a GGUF file.

    Raises:
        ModelError: It is absent or something else.
    """
    if not path.is_file():
        raise _broken(path, "no such file" if not path.exists() else "is not a file")
    try:
        with path.open("rb") as file:
            header = file.read(24)
    except OSError as error:
        raise _broken(path, f"can't be read ({error.strerror})") from error
    if header[:4] != _MAGIC:
        raise _broken(path, "is not a GGUF file")
    version, tensors, keys = (int.from_bytes(header[a:b], "little") for a, b in ((4, 8), (8, 16), (16, 24)))
    if len(header) < 24:  # noqa: PLR2004 - magic, version and two counts
        raise _broken(path, "is incomplete")
    if version not in _VERSIONS:
        raise _broken(path, f"has GGUF version {version}, known are 2 and 3")
    if not 0 < tensors < _MOST_ENTRIES or not 0 < keys < _MOST_ENTRIES:
        raise _broken(path, "has a corrupt header")


def _broken(path: Path, reason: str) -> ModelError:
    return ModelError("GGUF model", path, reason, _REMEDY)
