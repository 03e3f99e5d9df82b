"""Answers with any GGUF model through llama.cpp."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, TypeVar

from edge_agent.engines.llama_chunk import ChunkSize
from edge_agent.engines.llama_file import broken, check_header
from edge_agent.engines.llama_prefix import PrefixStore, identity
from edge_agent.engines.llama_text import AnswerText, ChatFormat
from edge_agent.engines.probe import probe
from edge_agent.engines.stopping import Stops
from edge_agent.errors import GenerationError
from edge_agent.reason.llm import ChatMessage

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from edge_agent.config.engines import LlmConfig
    from edge_agent.engines.llama_native import StopFlag
    from edge_agent.engines.llama_session import LlamaSession
    from edge_agent.runtime.ledger import ComputeGrant

T = TypeVar("T")

_logger = logging.getLogger(__name__)

_PROBE = "edge_agent.engines.llama_probe"
_SHORTEST_ANSWER_TOKENS = 16
_SHORTEST_STORED_TOKENS = 32
"""A shorter beginning is evaluated sooner than read."""
_QUESTIONS = (ChatMessage("user", "a"), ChatMessage("user", "Z 1"))
"""What the prompts of both have in common does not depend on the question."""


class LlamaLanguageModel:
    """`LanguageModel` on llama.cpp, in process; it releases the GIL while it computes.

    The state of the last chat is kept: what a new chat has in common with it from the start is not computed again.
    Each step computes with the threads that `grant` gives at its beginning; how many these are does not change the
    answer. Jobs may be made and pulled in any order, by several threads: each step brings the model to the state of
    its own job.

    Args:
        config: Limits and sampling. Its `threads` are the grant's affair.
        model: The GGUF file.
        grant: Threads to compute with.
        cache: Directory for the state after the system prompt; None keeps none.
    """

    def __init__(self, config: LlmConfig, model: Path, grant: ComputeGrant, cache: Path | None = None) -> None:
        self._config = config
        self._path = model
        self._grant = grant
        self._cache = cache
        self._stops = Stops()
        self._chunk = ChunkSize()
        self._session: LlamaSession | None = None
        self._store: PrefixStore | None = None
        self._format = ChatFormat(None, "", "", ())
        self._system: tuple[tuple[ChatMessage, ...], list[int]] = ((), [])

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
            from edge_agent.engines.llama_native import LlamaFailure, library
            from edge_agent.engines.llama_session import LlamaSession

            library()
        except (ImportError, OSError, RuntimeError) as error:
            raise GenerationError("llama.cpp", f"is not installed ({error}); `pip install edge-agent[llm]`") from error
        check_header(self._path)
        if reason := probe(_PROBE, self._path):
            raise broken(self._path, reason)
        try:
            session = LlamaSession(
                self._path,
                context_tokens=self._config.context_tokens,
                batch_tokens=self._chunk.most,
                threads=max(1, self._grant.threads),
            )
        except LlamaFailure as failure:
            # The probe has loaded the same file, so that it is the memory that is missing here.
            reason = f"{failure}; try a smaller llm.context_tokens or model"
            raise GenerationError(self.name, reason) from failure
        self._session = session
        self._system = ((), [])
        self._format = self._chat_format(session)
        if self._cache is not None:
            try:
                self._store = PrefixStore(self._cache, identity(self._path, *session.layout()))
            except OSError as error:
                raise broken(self._path, f"can't be read ({error.strerror})") from error
        template = "plain" if self._format.stops else "its own"
        _logger.info("%s: context %d tokens, %s chat template", self.name, session.context_tokens, template)

    def generate(
        self, messages: Sequence[ChatMessage], *, most_tokens: int | None = None
    ) -> Generator[str, None, None]:
        """Yield the answer in pieces; empty ones while the prompt is evaluated, so that it can be closed there.

        Raises:
            GenerationError: The model is not loaded, the last message alone exceeds the context, or llama.cpp failed.
        """
        from edge_agent.engines.llama_native import StopFlag

        stop = StopFlag()
        most = self._config.max_answer_tokens
        return self._stops.add(
            self._generate(tuple(messages), most if most_tokens is None else max(1, min(most, most_tokens)), stop),
            stop.set,
        )

    def warm(self, messages: Sequence[ChatMessage]) -> Generator[None, None, None]:
        """Evaluate what a chat of `messages` and any question begins with.

        Where that is the system prompt alone, its state is kept on disk, and taken from there after a restart.

        Raises:
            GenerationError: The model is not loaded, the messages exceed the context, or llama.cpp failed.
        """
        from edge_agent.engines.llama_native import StopFlag

        stop = StopFlag()
        return self._stops.add(self._warm(tuple(messages), stop), stop.set)

    def stop(self, job: Generator[object, None, None] | None = None) -> None:
        """Make the job's running step return before llama.cpp's next operation; the job then ends. Any thread.

        Without `job`, all made so far end. Closing a generator alone waits for the step.
        """
        self._stops.stop(job)

    def close(self) -> None:
        """Stop all jobs and free the model."""
        self._stops.stop()
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _generate(self, messages: Sequence[ChatMessage], most: int, stop: StopFlag) -> Generator[str, None, None]:
        from edge_agent.engines.llama_native import LlamaFailure

        session = self._loaded()
        try:
            tokens, _ = self._fitting(session, messages)
            yield from _silent(self._recall(session, messages, stop))
            yield from self._answer(session, tokens, min(most, session.context_tokens - len(tokens)), stop)
        except LlamaFailure as failure:
            raise GenerationError(self.name, str(failure)) from failure

    def _answer(
        self, session: LlamaSession, tokens: list[int], left: int, stop: StopFlag
    ) -> Generator[str, None, None]:
        text = AnswerText(self._format.stops)
        with session.sampler(self._config.temperature, self._config.seed) as sampler:
            while left > 0 and not text.stopped:
                threads = self._grant.commit()
                with session.exclusive(stop) as is_ours:
                    missing = self._advance(session, tokens, threads, stop) if is_ours else None
                    # The output is that of the last evaluation, so that nobody may come between.
                    token = session.pick(sampler) if missing == 0 else None
                if missing is None:
                    return
                if token is None:
                    yield ""
                    continue
                left -= 1
                if session.ends(token):
                    break
                tokens.append(token)
                yield text.feed(session.piece(token))
        if rest := text.flush():
            yield rest

    def _warm(self, messages: Sequence[ChatMessage], stop: StopFlag) -> Generator[None, None, None]:
        from edge_agent.engines.llama_native import LlamaFailure

        session = self._loaded()
        try:
            prefix = self._prefix(session, messages)
            if not prefix:
                return
            is_system = all(message.role == "system" for message in messages)
            yield from self._recall(session, messages, stop)
            if session.evaluated[: len(prefix)] != prefix:
                missing: int | None = None
                while missing != 0:
                    threads = self._grant.commit()
                    with session.exclusive(stop) as is_ours:
                        if not is_ours or (missing is not None and not session.belongs_to(prefix)):
                            return
                        missing = self._advance(session, prefix, threads, stop)
                    if missing is None:
                        return
                    yield
            if is_system:
                yield from self._keep(session, prefix, stop)
        except LlamaFailure as failure:
            raise GenerationError(self.name, str(failure)) from failure

    def _advance(self, session: LlamaSession, tokens: list[int], threads: int, stop: StopFlag) -> int | None:
        """Evaluate one chunk; return how many tokens are then missing, None where the job is to stop."""
        if threads < 1:
            return None
        session.use_threads(threads)
        missing = session.adopt(tokens)
        size = min(missing, self._chunk.tokens(threads))
        at = len(tokens) - missing
        began_s = time.monotonic()
        if not session.evaluate(tokens[at : at + size], stop):
            return None
        self._chunk.note(size, threads, time.monotonic() - began_s)
        return missing - size

    def _recall(
        self, session: LlamaSession, messages: Sequence[ChatMessage], stop: StopFlag
    ) -> Generator[None, None, None]:
        """Take the state after the system prompt from the store, where it is neither in the context nor short."""
        from edge_agent.engines.llama_session import common_length

        system = tuple(message for message in messages if message.role == "system")
        if self._store is None or not system:
            return
        if self._system[0] != system:
            self._system = (system, self._prefix(session, system))
        prefix = self._system[1]
        if len(prefix) < _SHORTEST_STORED_TOKENS or common_length(session.evaluated, prefix) == len(prefix):
            return
        state = yield from self._store.load(prefix)
        if state is None or stop.is_set:
            return
        with session.exclusive(stop) as is_ours:
            is_good = not is_ours or session.restore(state, prefix)
        if not is_good:
            self._store.discard(prefix)

    def _keep(self, session: LlamaSession, prefix: list[int], stop: StopFlag) -> Generator[None, None, None]:
        """Save the context's state, where it is that after `prefix`, and worth it."""
        store = self._store
        if store is None or len(prefix) < _SHORTEST_STORED_TOKENS or store.holds(prefix):
            return
        with session.exclusive(stop) as is_ours:
            state = session.state() if is_ours and session.evaluated == prefix else None
        if state is None:
            return
        for _ in store.save(prefix, state):
            if stop.is_set:
                return
            yield

    def _prefix(self, session: LlamaSession, messages: Sequence[ChatMessage]) -> list[int]:
        """Return the tokens with which the prompts of `messages` and any question begin."""
        from edge_agent.engines.llama_session import common_length

        one, kept = self._fitting(session, [*messages, _QUESTIONS[0]])
        other = self._tokens(session, [*kept[:-1], _QUESTIONS[1]])
        return one[: common_length(one, other)]

    def _fitting(
        self, session: LlamaSession, messages: Sequence[ChatMessage]
    ) -> tuple[list[int], Sequence[ChatMessage]]:
        """Return the prompt's tokens, the oldest turns left out until they and a full answer fit; and what is left."""
        room = session.context_tokens
        wanted = max(room - self._config.max_answer_tokens, room // 2)
        kept = list(messages)
        while True:
            tokens = self._tokens(session, kept)
            if len(tokens) <= wanted:
                return tokens, kept
            if not _drop_oldest_turn(kept):
                break
        if len(tokens) <= room - _SHORTEST_ANSWER_TOKENS:
            return tokens, kept
        raise GenerationError(
            self.name,
            f"the question has {len(tokens)} tokens, too many for the context of {room}; "
            "ask something shorter or raise llm.context_tokens",
        )

    def _tokens(self, session: LlamaSession, messages: Sequence[ChatMessage]) -> list[int]:
        prompt = self._format.prompt(messages)
        return session.tokenize(prompt, begin=self._format.begins(prompt))

    def _loaded(self) -> LlamaSession:
        if self._session is None:
            raise GenerationError(self.name, "the model is not loaded")
        return self._session

    def _chat_format(self, session: LlamaSession) -> ChatFormat:
        beginning, ending, controls = session.beginning(), session.ending(), session.controls()
        try:
            return ChatFormat(session.template(), beginning, ending, controls)
        except ValueError as error:
            _logger.warning("%s: its chat template fails (%s); using a plain one", self.name, error)
            return ChatFormat(None, beginning, ending, controls)


def _silent(steps: Generator[None, None, T]) -> Generator[str, None, T]:
    """Run `steps` as steps without text."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        yield ""


def _drop_oldest_turn(messages: list[ChatMessage]) -> bool:
    """Take out the first user message and what answers it; never the system prompt or the last message."""
    first = next((at for at, message in enumerate(messages[:-1]) if message.role != "system"), None)
    if first is None:
        return False
    del messages[first]
    while first < len(messages) - 1 and messages[first].role == "assistant":
        del messages[first]
    return True
