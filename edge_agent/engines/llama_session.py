"""llama.cpp's C interface for one model, one context and one chat at a time."""

from __future__ import annotations

import ctypes
import logging
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import ModuleType

_logger = logging.getLogger(__name__)

_ABORTED = 2
_GGML_ERROR = 4
_WHERE = re.compile(r"^(?:\w+: |error loading model: )*")
_PIECE_BYTES = 256
_TOP_K = 40
_TOP_P = 0.95
_MIN_P = 0.05


class LlamaFailure(Exception):  # noqa: N818 - internal: the adapter turns it into ModelError or GenerationError
    """llama.cpp refused; the text is its own complaint, or ours."""


class _Log:
    """Routes llama.cpp's log, which belongs to the whole process, to ours.

    Keeps the first complaint, of which later ones are the echo.
    """

    def __init__(self, library: ModuleType) -> None:
        self.complaint = ""
        self._callback = library.llama_log_callback(self._take)  # C keeps no reference to it
        library.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _take(self, level: int, text: bytes, _data: object) -> None:
        # Names from a damaged file are quoted in it, control characters and all.
        line = "".join(c if c.isprintable() else " " for c in text.decode(errors="replace")).strip()[:200]
        if not line:
            return
        _logger.debug("llama.cpp: %s", line)
        if level == _GGML_ERROR and not self.complaint:
            self.complaint = _WHERE.sub("", line)


_loaded: list[tuple[Any, _Log]] = []


def library() -> tuple[Any, _Log]:
    """Import llama.cpp once and take its log away from standard error.

    Raises:
        ImportError: It is not installed.
    """
    if not _loaded:
        import llama_cpp

        _loaded.append((llama_cpp.llama_cpp, _Log(llama_cpp.llama_cpp)))
        llama_cpp.llama_backend_init()
    return _loaded[0]


class LlamaSession:
    """A loaded model and its context. One thread at a time, except for `interrupt`.

    Raises:
        LlamaFailure: The file can't be loaded, or the memory for the context can't be had.
    """

    def __init__(self, path: Path, *, context_tokens: int, batch_tokens: int, threads: int, lean: bool = False) -> None:
        self._api, self._log = library()
        api = self._api
        self._log.complaint = ""
        self._model: Any = None
        self._context: Any = None
        self._sampler: Any = None
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
        parameters.n_threads = parameters.n_threads_batch = threads
        parameters.no_perf = True
        self._context = api.llama_init_from_model(self._model, parameters)
        if not self._context:
            raise LlamaFailure(self._log.complaint or "no memory for its context")
        self.context_tokens: int = api.llama_n_ctx(self._context)
        self._memory = api.llama_get_memory(self._context)
        # llama.cpp asks before every node of the graph whether to go on. A Python callback would take the GIL thousands
        # of times a second; strlen over one byte answers the same question natively: 0 goes on, 1 aborts.
        self._abort = ctypes.create_string_buffer(b"\0", 2)
        self._ask = ctypes.cast(ctypes.CDLL(None).strlen, api.ggml_abort_callback)
        api.llama_set_abort_callback(self._context, self._ask, ctypes.cast(self._abort, ctypes.c_void_p))

    @property
    def interrupted(self) -> bool:
        """True from `interrupt` to `resume`."""
        return self._abort.raw[0] != 0

    def interrupt(self) -> None:
        """Make a running `evaluate` return before its next operation, and further ones at once. Any thread may call."""
        self._abort[0] = b"\1"

    def resume(self) -> None:
        """Let `evaluate` work again."""
        self._abort[0] = b"\0"

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
        tokens = (self._api.llama_token * room)()
        count = self._api.llama_tokenize(self._vocabulary, data, len(data), tokens, room, begin, True)  # noqa: FBT003
        if count < 0:
            raise LlamaFailure("the tokenizer refuses the text")
        return list(tokens[:count])

    def keep(self, tokens: Sequence[int]) -> int:
        """Forget all state but the part that `tokens` begins with; return how many tokens remain to be known.

        At least one token is left to evaluate, whose output is wanted.
        """
        same = 0
        for known, wanted in zip(self.evaluated, tokens[:-1], strict=False):
            if known != wanted:
                break
            same += 1
        if not self._api.llama_memory_seq_rm(self._memory, 0, same, -1):
            self._api.llama_memory_clear(self._memory, True)  # noqa: FBT003 - recurrent state has no prefix
            same = 0
        del self.evaluated[same:]
        return same

    def evaluate(self, tokens: Sequence[int]) -> bool:
        """Compute the next tokens, `batch_tokens` at most; return False where `interrupt` stopped it.

        Raises:
            LlamaFailure: llama.cpp could not.
        """
        array = (self._api.llama_token * len(tokens))(*tokens)
        status = self._api.llama_decode(self._context, self._api.llama_batch_get_one(array, len(tokens)))
        if status == 0:
            self.evaluated.extend(tokens)
            return True
        # What the failed call has computed is unknown: only what was complete before it stays.
        if not self._api.llama_memory_seq_rm(self._memory, 0, len(self.evaluated), -1):
            self._api.llama_memory_clear(self._memory, True)  # noqa: FBT003
            self.evaluated.clear()
        if status == _ABORTED:
            return False
        raise LlamaFailure(f"llama.cpp stopped with status {status}")

    def open_sampler(self, temperature: float, seed: int) -> None:
        """Choose how `sample` picks; greedy at temperature 0. The seed counts from here."""
        api = self._api
        self._close_sampler()
        self._sampler = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
        if temperature == 0:
            links = [api.llama_sampler_init_greedy()]
        else:
            links = [
                api.llama_sampler_init_top_k(_TOP_K),
                api.llama_sampler_init_top_p(_TOP_P, 1),
                api.llama_sampler_init_min_p(_MIN_P, 1),
                api.llama_sampler_init_temp(temperature),
                api.llama_sampler_init_dist(seed),
            ]
        for link in links:
            api.llama_sampler_chain_add(self._sampler, link)

    def sample(self) -> int:
        """Pick the next token from the output of the last `evaluate`."""
        return int(self._api.llama_sampler_sample(self._sampler, self._context, -1))

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
        """Free everything. May be called twice."""
        self._close_sampler()
        if self._context:
            self._api.llama_free(self._context)
            self._context = None
        if self._model:
            self._api.llama_model_free(self._model)
            self._model = None

    def _close_sampler(self) -> None:
        if self._sampler:
            self._api.llama_sampler_free(self._sampler)
            self._sampler = None

    def _token_text(self, token: int) -> str:
        if token < 0:
            return ""
        return str(self._api.llama_vocab_get_text(self._vocabulary, token).decode(errors="replace"))
