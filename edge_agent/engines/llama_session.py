"""llama.cpp's C interface for one model, one context and one chat at a time."""

from __future__ import annotations

import ctypes
import logging
import platform
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from edge_agent.engines.llama_native import LlamaFailure, StopFlag, library
from edge_agent.engines.llama_sampler import GrammarSampler, LlamaSampler

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_logger = logging.getLogger(__name__)

_ABORTED = 2
_PIECE_BYTES = 256
_NO_FLASH_ATTENTION = 0
_PATIENCE_S = 5.0
_GLANCE_S = 0.02


class LlamaSession:
    """A loaded model and its context, which several jobs share a step at a time.

    What computes or looks at the context's state belongs inside `exclusive`.

    Raises:
        LlamaFailure: The file can't be loaded, or the memory for the context can't be had.
    """

    def __init__(self, path: Path, *, context_tokens: int, batch_tokens: int, threads: int, lean: bool = False) -> None:
        self._api, self._log = library()
        api = self._api
        self._log.complaint = ""
        self._model: Any = None
        self._context: Any = None
        self._lock = threading.Lock()
        self._owner: Sequence[int] | None = None
        self._unwatched = self._watched = StopFlag()
        self.evaluated: list[int] = []
        """Tokens whose state the context holds."""
        parameters = api.llama_model_default_params()
        parameters.n_gpu_layers = 0
        if lean and hasattr(parameters, "use_extra_bufts"):
            parameters.use_extra_bufts = False  # weights stay in the page cache instead of being repacked
        self._model = api.llama_model_load_from_file(str(path).encode(), parameters)
        if not self._model:
            raise LlamaFailure(self._log.complaint or "llama.cpp can't load it")
        self._vocabulary = api.llama_model_get_vocab(self._model)
        try:
            self._open_context(context_tokens, batch_tokens, threads)
        except LlamaFailure:
            self.close()
            raise

    def _open_context(self, context_tokens: int, batch_tokens: int, threads: int) -> None:
        api = self._api
        if api.llama_model_has_encoder(self._model) or not api.llama_model_has_decoder(self._model):
            raise LlamaFailure("is not a model that continues text")
        trained_tokens = api.llama_model_n_ctx_train(self._model)
        parameters = api.llama_context_default_params()
        parameters.n_ctx = min(context_tokens, trained_tokens) if trained_tokens > 0 else context_tokens
        parameters.n_batch = parameters.n_ubatch = self.batch_tokens = batch_tokens
        parameters.n_threads = parameters.n_threads_batch = self._threads = threads
        if hasattr(parameters, "flash_attn_type"):
            # On the CPU its sums depend on the number of threads and the size of a chunk, so that a change of the grant
            # would change the answer; and at 864 tokens of context it decoded at half the speed (measured).
            parameters.flash_attn_type = _NO_FLASH_ATTENTION
        parameters.no_perf = True
        self._context = api.llama_init_from_model(self._model, parameters)
        if not self._context:
            raise LlamaFailure(self._log.complaint or "no memory for its context")
        self.context_tokens: int = api.llama_n_ctx(self._context)
        self._memory = api.llama_get_memory(self._context)
        self._ask = ctypes.cast(ctypes.CDLL(None).strlen, api.ggml_abort_callback)

    def layout(self) -> tuple[object, ...]:
        """Return what, beside the model and the tokens, the context's state depends on."""
        import llama_cpp

        return llama_cpp.__version__, platform.machine(), self.context_tokens, self.batch_tokens

    @contextmanager
    def exclusive(self, stop: StopFlag | None = None) -> Iterator[bool]:
        """Have the context to oneself; False where `stop` is set by then.

        Raises:
            LlamaFailure: The other step does not end, or the session is closed.
        """
        deadline_s = time.monotonic() + _PATIENCE_S
        while not self._lock.acquire(timeout=_GLANCE_S):
            if stop is not None and stop.is_set:
                yield False
                return
            if time.monotonic() > deadline_s:
                raise LlamaFailure("a step that was told to stop does not end")
        try:
            is_stopped = stop is not None and stop.is_set
            if not self._context and not is_stopped:
                raise LlamaFailure("the model was closed")
            yield not is_stopped
        finally:
            self._lock.release()

    def use_threads(self, threads: int) -> None:
        """Compute with so many threads from the next `evaluate` on."""
        if threads != self._threads:
            self._threads = threads
            self._api.llama_set_n_threads(self._context, threads, threads)

    def template(self) -> str | None:
        """Return the file's chat template."""
        found = self._api.llama_model_chat_template(self._model, None)
        return found.decode(errors="replace") if found else None

    def beginning(self) -> str:
        """Return the text of the token that begins every text, empty where there is none."""
        return self._token_text(self._api.llama_vocab_bos(self._vocabulary))

    def ending(self) -> str:
        """Return the text of the token that ends every text, empty where there is none."""
        return self._token_text(self._api.llama_vocab_eos(self._vocabulary))

    def controls(self) -> frozenset[str]:
        """Return the texts of all control tokens."""
        api, vocabulary = self._api, self._vocabulary
        return frozenset(
            api.llama_vocab_get_text(vocabulary, token).decode(errors="replace")
            for token in range(api.llama_vocab_n_tokens(vocabulary))
            if api.llama_vocab_is_control(vocabulary, token)
        )

    def tokenize(self, text: str, *, begin: bool) -> list[int]:
        """Return the tokens of `text`, control tokens in it included; `begin` adds the model's first token.

        Raises:
            LlamaFailure: The tokenizer refuses.
        """
        data = text.encode(errors="replace")
        room = len(data) + 16
        while True:
            tokens = (self._api.llama_token * room)()
            count = self._api.llama_tokenize(self._vocabulary, data, len(data), tokens, room, begin, True)  # noqa: FBT003
            if count >= 0:
                return list(tokens[:count])
            if -count <= room:
                raise LlamaFailure("the tokenizer refuses the text")
            room = -count  # some vocabularies spell a space in three tokens

    def adopt(self, tokens: Sequence[int]) -> int:
        """Make the context that of `tokens`, and return how many of its last ones are still to be evaluated.

        What it has in common with the context so far stays; at least one token is left, whose output is wanted. While
        nobody else adopts the context, `tokens` may grow at its end and nothing else.
        """
        if self._owner is not tokens:
            self._owner = None
            self._trim(common_length(self.evaluated, tokens[:-1]))
            self._owner = tokens
        return len(tokens) - len(self.evaluated)

    def belongs_to(self, tokens: Sequence[int]) -> bool:
        """Tell whether `tokens` has the context still, or somebody adopted it since."""
        return self._owner is tokens

    def evaluate(self, tokens: Sequence[int], stop: StopFlag | None = None) -> bool:
        """Compute the next tokens, `batch_tokens` at most; return False where `stop` ended it.

        Set meanwhile, `stop` ends it before its next operation.

        Raises:
            LlamaFailure: llama.cpp could not.
        """
        api = self._api
        self._watched = stop or self._unwatched  # llama.cpp keeps the address, so that it has to live on
        if self._watched.is_set:
            return False
        api.llama_set_abort_callback(self._context, self._ask, self._watched.address)
        array = (api.llama_token * len(tokens))(*tokens)
        status = api.llama_decode(self._context, api.llama_batch_get_one(array, len(tokens)))
        if status == 0:
            self.evaluated.extend(tokens)
            return True
        # What the failed call has computed is unknown: only what was complete before it stays.
        self._trim(len(self.evaluated))
        if status == _ABORTED:
            return False
        raise LlamaFailure(f"llama.cpp stopped with status {status}")

    def sampler(self, temperature: float, seed: int) -> LlamaSampler:
        """Return what picks an answer's tokens; the seed counts from here."""
        return LlamaSampler(self._api, temperature, seed)

    def grammar_sampler(self, grammar: str) -> GrammarSampler:
        """Return what holds the tokens of one text to a GBNF grammar.

        Raises:
            LlamaFailure: llama.cpp refuses the grammar.
        """
        return GrammarSampler(self._api, self._vocabulary, grammar, self._log)

    def pick(self, sampler: LlamaSampler, grammar: GrammarSampler | None = None) -> int:
        """Pick the next token from the output of the last `evaluate`.

        Raises:
            LlamaFailure: The grammar leaves no token.
        """
        return grammar.pick(self._context, sampler) if grammar else sampler.pick(self._context)

    def forget(self) -> None:
        """Throw the context's state away."""
        self._owner = None
        self._trim(0)

    def state(self) -> bytearray:
        """Return a copy of the context's state, which `restore` can take.

        Raises:
            LlamaFailure: llama.cpp does not give it.
        """
        size = self._api.llama_state_seq_get_size(self._context, 0)
        state = bytearray(size)
        written = self._api.llama_state_seq_get_data(self._context, _bytes(state), size, 0)
        if not 0 < written <= size:
            raise LlamaFailure("llama.cpp does not give its state away")
        return state if written == size else state[:written]

    def restore(self, state: bytearray, tokens: Sequence[int]) -> bool:
        """Replace the context's state by what `state` returned after `tokens`; False, and none, where it is refused.

        llama.cpp checks sizes and types alone: hand over only what is known to be whole.
        """
        api = self._api
        self._owner = None
        self._trim(0)
        read = api.llama_state_seq_set_data(self._context, _bytes(state), len(state), 0)
        if read != len(state) or api.llama_memory_seq_pos_max(self._memory, 0) != len(tokens) - 1:
            api.llama_memory_clear(self._memory, True)  # noqa: FBT003
            return False
        self.evaluated.extend(tokens)
        return True

    def ends(self, token: int) -> bool:
        """Tell whether `token` ends an answer."""
        return bool(self._api.llama_vocab_is_eog(self._vocabulary, token))

    def piece(self, token: int) -> bytes:
        """Return the text of `token`, maybe part of a UTF-8 character; empty for control tokens."""
        room = _PIECE_BYTES
        while True:
            buffer = ctypes.create_string_buffer(room)
            size = self._api.llama_token_to_piece(self._vocabulary, token, buffer, room, 0, False)  # noqa: FBT003
            if size >= 0:
                return buffer.raw[:size]
            room = -size

    def close(self) -> None:
        """Free everything. May be called twice.

        Where a step still runs that does not heed its stop, the memory stays until the process ends.
        """
        if not self._lock.acquire(timeout=1.0):
            _logger.error("llama.cpp is still computing; its memory is not freed")
            return
        try:
            if self._context:
                self._api.llama_free(self._context)
                self._context = None
            if self._model:
                self._api.llama_model_free(self._model)
                self._model = None
        finally:
            self._lock.release()

    def _trim(self, length: int) -> None:
        """Keep the state of the first `length` tokens."""
        if not self._api.llama_memory_seq_rm(self._memory, 0, length, -1):
            self._api.llama_memory_clear(self._memory, True)  # noqa: FBT003 - recurrent state has no prefix
            length = 0
        del self.evaluated[length:]

    def _token_text(self, token: int) -> str:
        if token < 0:
            return ""
        return str(self._api.llama_vocab_get_text(self._vocabulary, token).decode(errors="replace"))


def common_length(known: Sequence[int], wanted: Sequence[int]) -> int:
    """Return how many tokens both begin with."""
    for at, (one, other) in enumerate(zip(known, wanted, strict=False)):
        if one != other:
            return at
    return min(len(known), len(wanted))


def _bytes(data: bytearray) -> Any:  # noqa: ANN401 - ctypes
    """Return `data` as C sees it, not a copy."""
    return (ctypes.c_uint8 * len(data)).from_buffer(data)
