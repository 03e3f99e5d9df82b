"""Answers with any GGUF model through llama.cpp."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, TypeVar

from edge_agent.engines.llama_chunk import ChunkSize
from edge_agent.engines.llama_file import ModelFile, broken
from edge_agent.engines.llama_prefix import PrefixStore, identity
from edge_agent.engines.llama_text import ChatFormat
from edge_agent.engines.llama_window import ChatWindow
from edge_agent.engines.stopping import Stops
from edge_agent.errors import GenerationError
from edge_agent.reason.llm import ChatMessage, PromptCost

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from edge_agent.config.engines import LlmConfig
    from edge_agent.engines.llama_answer import AnswerDecoder
    from edge_agent.engines.llama_native import StopFlag
    from edge_agent.engines.llama_session import LlamaSession
    from edge_agent.runtime.ledger import ComputeGrant

T = TypeVar("T")

_logger = logging.getLogger(__name__)

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
        cache: Directory for the state after the system prompt; None keeps none, nor does `config.keep_prefix = False`,
            where each prompt is evaluated whole.
    """

    def __init__(self, config: LlmConfig, model: Path, grant: ComputeGrant, cache: Path | None = None) -> None:
        self._config = config
        self._path = model
        self._file = ModelFile(model)
        self._grant = grant
        self._cache = cache if config.keep_prefix else None
        self._stops = Stops()
        self._chunk = ChunkSize()
        self._session: LlamaSession | None = None
        self._store: PrefixStore | None = None
        self._format = ChatFormat(None, "", "", ())
        self._system: tuple[tuple[ChatMessage, ...], list[int]] = ((), [])
        self._window: ChatWindow | None = None
        self._cost: PromptCost | None = None

    @property
    def name(self) -> str:
        """Engine and model."""
        return f"llama.cpp {self._path.stem}"

    @property
    def prompt_cost(self) -> PromptCost | None:
        """What the prompt cost that was begun last; counted at its first step, before others may have come between."""
        return self._cost

    def load(self) -> None:
        """Let a child process try the file, if it did not before, then load it.

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
        self._file.check()
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
        self._cost = None
        self._format = self._chat_format(session)
        self._window = ChatWindow(lambda messages: len(self._tokens(session, messages)))
        if self._cache is not None:
            try:
                self._store = PrefixStore(self._cache, identity(self._path, *session.layout()))
            except OSError as error:
                raise broken(self._path, f"can't be read ({error.strerror})") from error
        template = "plain" if self._format.stops else "its own"
        _logger.info("%s: context %d tokens, %s chat template", self.name, session.context_tokens, template)

    def tune(self, config: LlmConfig) -> None:
        """Take over temperature, seed and the longest answer of `config`, from the next answer on."""
        taken = {key: getattr(config, key) for key in ("temperature", "seed", "max_answer_tokens")}
        self._config = self._config.model_copy(update=taken)

    def room(self, messages: Sequence[ChatMessage]) -> float:
        """Return which part of the context a chat of `messages` leaves free.

        Raises:
            GenerationError: The model is not loaded.
        """
        session = self._loaded()
        return 1 - len(self._tokens(session, messages)) / session.context_tokens

    def generate(
        self, messages: Sequence[ChatMessage], *, most_tokens: int | None = None, call_grammar: str | None = None
    ) -> Generator[str, None, None]:
        """Yield the answer in pieces; empty ones while the prompt is evaluated, so that it can be closed there.

        A call that is longer than the answer may be is cut like any other text.

        Raises:
            GenerationError: The model is not loaded, the last message alone exceeds the context, or llama.cpp failed or
                refuses the grammar.
        """
        from edge_agent.engines.llama_native import StopFlag

        stop = StopFlag()
        most = self._config.max_answer_tokens
        if most_tokens is not None:
            most = max(1, min(most, most_tokens))
        return self._stops.add(self._generate(tuple(messages), most, call_grammar, stop), stop.set)

    def warm(self, messages: Sequence[ChatMessage]) -> Generator[None, None, None]:
        """Evaluate what a chat of `messages` and any question begins with; nothing where no prefix is kept.

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

    def _generate(
        self, messages: Sequence[ChatMessage], most: int, call_grammar: str | None, stop: StopFlag
    ) -> Generator[str, None, None]:
        from edge_agent.engines.llama_answer import AnswerDecoder
        from edge_agent.engines.llama_native import LlamaFailure

        session, config = self._loaded(), self._config
        try:
            with session.exclusive(stop) as is_ours:
                if not is_ours:
                    return
                answer = AnswerDecoder(session, config.temperature, config.seed, self._format.stops, call_grammar)
            with answer:
                tokens, _ = self._fitting(session, messages)
                restored = yield from _silent(self._recall(session, messages, stop))
                left = min(most, session.context_tokens - len(tokens))
                yield from self._answer(session, answer, tokens, restored=restored, left=left, stop=stop)
        except LlamaFailure as failure:
            raise GenerationError(self.name, str(failure)) from failure

    def _answer(
        self,
        session: LlamaSession,
        answer: AnswerDecoder,
        tokens: list[int],
        *,
        restored: int,
        left: int,
        stop: StopFlag,
    ) -> Generator[str, None, None]:
        is_begun = False
        while left > 0 and not answer.ended:
            threads = self._grant.commit()
            with session.exclusive(stop) as is_ours:
                if is_ours and not is_begun:
                    is_begun = True
                    self._begin_prompt(session, tokens, restored)
                missing = self._advance(session, tokens, threads, stop) if is_ours else None
                # The output is that of the last evaluation, so that nobody may come between.
                token = answer.pick() if missing == 0 else None
            if missing is None:
                return
            if token is None:
                yield ""
                continue
            left -= 1
            if session.ends(token):
                break
            tokens.append(token)
            yield answer.take(token)
        if rest := answer.rest():
            yield rest

    def _begin_prompt(self, session: LlamaSession, tokens: list[int], restored: int) -> None:
        """Take the context over for the prompt, and note what is there of it."""
        if not self._config.keep_prefix:
            session.forget()
        reused = len(tokens) - session.adopt(tokens)
        self._cost = PromptCost(len(tokens), reused, min(restored, reused))

    def _warm(self, messages: Sequence[ChatMessage], stop: StopFlag) -> Generator[None, None, None]:
        from edge_agent.engines.llama_native import LlamaFailure

        session = self._loaded()
        if not self._config.keep_prefix:
            return
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
    ) -> Generator[None, None, int]:
        """Take the state after the system prompt from the store, where it is neither in the context nor short.

        Returns how many tokens' state that was.
        """
        from edge_agent.engines.llama_session import common_length

        system = tuple(message for message in messages if message.role == "system")
        if self._store is None or not system:
            return 0
        if self._system[0] != system:
            self._system = (system, self._prefix(session, system))
        prefix = self._system[1]
        if len(prefix) < _SHORTEST_STORED_TOKENS or common_length(session.evaluated, prefix) == len(prefix):
            return 0
        state = yield from self._store.load(prefix)
        if state is None or stop.is_set:
            return 0
        with session.exclusive(stop) as is_ours:
            if not is_ours:
                return 0
            if session.restore(state, prefix):
                return len(prefix)
        self._store.discard(prefix)
        return 0

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
        """Return the tokens of a prompt that leaves room for a full answer, and the chat with the turns that fit."""
        room = session.context_tokens
        kept = self._windowed(messages, max(room - self._config.max_answer_tokens, room // 2))
        tokens = self._tokens(session, kept)
        if len(tokens) <= room - _SHORTEST_ANSWER_TOKENS:
            return tokens, kept
        raise GenerationError(
            self.name,
            f"the question has {len(tokens)} tokens, too many for the context of {room}; "
            "ask something shorter or raise llm.context_tokens",
        )

    def _windowed(self, messages: Sequence[ChatMessage], wanted: int) -> Sequence[ChatMessage]:
        return messages if self._window is None else self._window.fit(messages, wanted)

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
