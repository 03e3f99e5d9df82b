"""What a recognizer listens for where dictation is not free: all that the intents understand."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.config.schema import Config
    from edge_agent.grammar import Grammar
    from edge_agent.reason.templates import IntentSet
    from edge_agent.runtime.pool import Pool
    from edge_agent.runtime.pools import Station


def closed_grammar(config: Config, intents: IntentSet, is_wanted: Callable[[], bool] = lambda: True) -> Grammar | None:
    """Return the grammar of all intents; None where dictation is free or nothing can be said. Blocking, seconds.

    Once it is not wanted any more it returns soon, with what it has.
    """
    if not config.asr.closed:
        return None
    from edge_agent.reason.sampling import sample_grammar

    grammar = sample_grammar(intents.intents, config.language, is_wanted=is_wanted)
    return grammar if grammar.sentences else None


async def make_grammar(config: Config, intents: IntentSet, pool: Pool | Station) -> Grammar | None:
    """Compute `closed_grammar` on `pool`; it ends soon where nobody waits for it any more."""
    is_given_up = threading.Event()
    return await pool.run(
        lambda: closed_grammar(config, intents, lambda: not is_given_up.is_set()),
        kind="load.grammar",
        stop=is_given_up.set,
    )
