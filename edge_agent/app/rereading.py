"""The owner's file read again while the agent runs: tried like a remote change, kept only where it proves itself."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from edge_agent.app.change import go_back, prove, try_out
from edge_agent.app.parts import Part, changed_keys, parts_of
from edge_agent.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edge_agent.app.change import Applier
    from edge_agent.app.remote_book import RemoteBook
    from edge_agent.config.load import OwnConfig
    from edge_agent.config.merge import Keys
    from edge_agent.config.schema import Config

_log = logging.getLogger(__name__)

_LIVE_LINK_KEYS = ("home_assistant",)
"""Keys of the connection to the broker that take effect while it lasts."""


async def reread(
    read: Callable[[], OwnConfig], book: RemoteBook, applier: Applier, tell: Callable[[str], None]
) -> None:
    """Read the owner's file, and run with it where it is right and the device is well with it.

    Remote documents in force stay over it. What is wrong is told, a line a key, and the configuration before goes on.

    Raises:
        RollBackFailedError: The agent does not return to the configuration before.
    """
    before = book.standing.config
    try:
        own = await book.run(read, "config.reread")
        new = await book.weigh_own(own)
    except ConfigError as error:
        for problem in error.problems:
            tell(f"the configuration file is not taken: {problem}")
        return
    later = needing_restart(before, new.config)
    if new.config == before:
        _log.info("the configuration file was read again: nothing has changed")
    elif problems := await try_out(applier, new.config):
        for problem in problems:
            tell(f"the configuration file is not taken: {problem}")
        await go_back(applier, before)
        for problem in await prove(applier, before):
            tell(f"after the configuration file was not taken: {problem}")
        return
    else:
        _log.info("the configuration file was read again, and is in force")
    book.take_own(own, new)
    if later:
        _log.warning("%s: takes effect at the next start: sudo systemctl restart edge-agent", ", ".join(later))


def needing_restart(before: Config, after: Config) -> Sequence[str]:
    """Return the changed keys that do nothing before the next start: those of the connection to the broker."""
    return [".".join(keys) for keys in changed_keys(before, after) if _is_of_link(keys)]


def _is_of_link(keys: Keys) -> bool:
    return parts_of(keys) == (Part.LINK,) and keys[0] not in _LIVE_LINK_KEYS
