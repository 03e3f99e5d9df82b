"""Tries a GGUF model in a process of its own: `python -m edge_agent.engines.llama_probe FILE`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from edge_agent.engines.llama_native import LlamaFailure
from edge_agent.engines.llama_session import LlamaSession
from edge_agent.engines.probe import serve

if TYPE_CHECKING:
    from pathlib import Path

_CONTEXT_TOKENS = 64


def check(path: Path) -> str | None:
    """Load the model, evaluate a few tokens and sample one; return what is wrong with it.

    The weights are mapped, not copied: what is read from disk here, the process that asked finds in the page cache.
    """
    try:
        session = LlamaSession(path, context_tokens=_CONTEXT_TOKENS, batch_tokens=_CONTEXT_TOKENS, threads=1, lean=True)
    except LlamaFailure as failure:
        return f"can't be loaded ({failure})"
    try:
        session.controls()
        tokens = session.tokenize("Hello there.", begin=True)[:_CONTEXT_TOKENS]
        if not tokens:
            return "its tokenizer finds no tokens in plain text"
        session.evaluate(tokens)
        with session.sampler(temperature=0, seed=0) as sampler:
            session.piece(session.pick(sampler))
    except LlamaFailure as failure:
        return f"can't be used ({failure})"
    finally:
        session.close()
    return None


if __name__ == "__main__":
    sys.exit(serve(check))
