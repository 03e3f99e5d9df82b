"""One answer as it is decoded: free text, or a tool call that a grammar holds together."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Self

from edge_agent.engines.llama_text import AnswerText
from edge_agent.reason.llm import CALL_OPENING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from edge_agent.engines.llama_sampler import GrammarSampler
    from edge_agent.engines.llama_session import LlamaSession


class AnswerDecoder:
    """Picks an answer's tokens, and makes text of them. A context manager, which frees the samplers.

        token ──▶ white space, thought ──▶ text that begins with anything else ──▶ free to the end
                                      └──▶ `{`: picked again, from here on by the grammar ──▶ over where that may end

    Until a call begins, the grammar is not asked.

    Args:
        stops: Texts that end a free answer.
        call_grammar: GBNF of a call; None where there are none.

    Raises:
        LlamaFailure: llama.cpp refuses the grammar, at once.
    """

    def __init__(
        self, session: LlamaSession, temperature: float, seed: int, stops: Sequence[str], call_grammar: str | None
    ) -> None:
        self._session = session
        self._text = AnswerText(stops)
        self._is_call = False
        with ExitStack() as stack:
            self._sampler = stack.enter_context(session.sampler(temperature, seed))
            self._grammar: GrammarSampler | None = None
            if call_grammar:
                self._grammar = stack.enter_context(session.grammar_sampler(call_grammar))
            self._stack = stack.pop_all()

    @property
    def ended(self) -> bool:
        """Whether the text says that the answer is over."""
        return self._text.stopped or (self._is_call and self._grammar is not None and self._grammar.is_complete)

    def pick(self) -> int:
        """Pick the next token from the context's last output; with the session to oneself.

        Raises:
            LlamaFailure: The grammar leaves no token.
        """
        session = self._session
        if self._is_call:
            return session.pick(self._sampler, self._grammar)
        token = session.pick(self._sampler)
        if self._grammar is None or session.ends(token):
            return token
        if not self._text.would_begin_with(session.piece(token), CALL_OPENING):
            return token
        # The token may hold more than the brace, and what the grammar does not allow.
        self._is_call = True
        self._text = AnswerText()
        return session.pick(self._sampler, self._grammar)

    def take(self, token: int) -> str:
        """Return the text that is certain with `token`, maybe none."""
        return self._text.feed(self._session.piece(token))

    def rest(self) -> str:
        """Return what was held back, for no more tokens come."""
        return self._text.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
