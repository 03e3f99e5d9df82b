"""How llama.cpp's output becomes the next token: freely, or as a grammar allows."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Self

from edge_agent.engines.llama_native import LlamaFailure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from edge_agent.engines.llama_native import LlamaLog

_TOP_K = 40
_TOP_P = 0.95
_MIN_P = 0.05
_ROOT = b"root"
_LIKELIEST = 256


class LlamaSampler:
    """Picks tokens for one answer; greedy at temperature 0. A context manager, which frees it."""

    def __init__(self, api: Any, temperature: float, seed: int) -> None:  # noqa: ANN401 - ctypes
        self._api = api
        self._chain = api.llama_sampler_chain_init(api.llama_sampler_chain_default_params())
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
            api.llama_sampler_chain_add(self._chain, link)

    def pick(self, context: Any) -> int:  # noqa: ANN401 - ctypes
        """Pick the next token from the context's last output."""
        return int(self._api.llama_sampler_sample(self._chain, context, -1))

    def pick_of(self, tokens: Any, logits: Any) -> int:  # noqa: ANN401 - numpy is imported late
        """Pick one of `tokens`, whose scores are `logits`; at least one."""
        array, _ = candidates(self._api, tokens, logits)
        self._api.llama_sampler_apply(self._chain, ctypes.byref(array))
        return int(array.data[array.selected].id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.llama_sampler_free(self._chain)


class GrammarSampler:
    """Picks the tokens of one text that a grammar describes. A context manager, which frees it.

    A token is tried first as it would be picked freely. Where the grammar refuses it, the likeliest 256 are held
    against the grammar, and only where it refuses these, too, all of the vocabulary.

    Args:
        grammar: GBNF; the text is `root`.

    Raises:
        LlamaFailure: llama.cpp refuses the grammar.
    """

    def __init__(self, api: Any, vocabulary: Any, grammar: str, log: LlamaLog) -> None:  # noqa: ANN401 - ctypes
        self._api = api
        self._vocabulary = vocabulary
        log.complaint = ""
        self._grammar = api.llama_sampler_init_grammar(vocabulary, grammar.encode(), _ROOT)
        if not self._grammar:
            raise LlamaFailure(f"the grammar of tool calls is refused ({log.complaint or 'no reason given'})")
        self._ending = next(self._endings(), -1)
        if self._ending < 0:
            api.llama_sampler_free(self._grammar)
            raise LlamaFailure("has no token that ends an answer, which tool calls need; set llm.tools = false")

    @property
    def is_complete(self) -> bool:
        """Whether the text may end here."""
        return self._allows(self._ending)

    def pick(self, context: Any, sampler: LlamaSampler) -> int:  # noqa: ANN401 - ctypes
        """Pick the next token from the context's last output, with `sampler` among those that the grammar allows.

        Raises:
            LlamaFailure: No token of the vocabulary can continue the text.
        """
        import numpy as np

        api = self._api
        count = api.llama_vocab_n_tokens(self._vocabulary)
        tokens = np.arange(count, dtype=np.int32)
        logits = np.ctypeslib.as_array(api.llama_get_logits_ith(context, -1), (count,))
        token = sampler.pick_of(tokens, logits)
        if not self._allows(token):
            likeliest = np.argpartition(logits, -_LIKELIEST)[-_LIKELIEST:] if count > _LIKELIEST else tokens
            allowed, scores = self._allowed(tokens[likeliest], logits[likeliest])
            if not len(allowed):
                allowed, scores = self._allowed(tokens, logits)
            if not len(allowed):
                raise LlamaFailure("no token of its vocabulary can continue the tool call")
            token = sampler.pick_of(allowed, scores)
        # It has to be an allowed one: llama.cpp ends the process over any other.
        api.llama_sampler_accept(self._grammar, token)
        return token

    def _allows(self, token: int) -> bool:
        allowed, _ = self._allowed([token], [0.0])
        return len(allowed) > 0

    def _allowed(self, tokens: Any, logits: Any) -> tuple[Any, Any]:  # noqa: ANN401 - numpy is imported late
        """Return those of `tokens` that can come next, with their scores."""
        import numpy as np

        array, table = candidates(self._api, tokens, logits)
        self._api.llama_sampler_apply(self._grammar, ctypes.byref(array))
        kept = np.isfinite(table["logit"])
        return table["id"][kept], table["logit"][kept]

    def _endings(self) -> Iterator[int]:
        """Yield the tokens that end an answer."""
        api, vocabulary = self._api, self._vocabulary
        for token in (api.llama_vocab_eos(vocabulary), *range(api.llama_vocab_n_tokens(vocabulary))):
            if token >= 0 and api.llama_vocab_is_eog(vocabulary, token):
                yield token

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._api.llama_sampler_free(self._grammar)


def candidates(api: Any, tokens: Any, logits: Any) -> tuple[Any, Any]:  # noqa: ANN401 - ctypes and numpy
    """Return llama.cpp's list of candidates and a view of it: fields id, logit and p."""
    import numpy as np

    data = (api.llama_token_data * len(tokens))()
    table = np.frombuffer(data, dtype=np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)]))
    table["id"], table["logit"], table["p"] = tokens, logits, 0
    return api.llama_token_data_array(data, len(tokens), -1, False), table  # noqa: FBT003 - ctypes
