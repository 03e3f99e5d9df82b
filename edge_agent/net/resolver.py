"""Name look-ups on a pool of ours: the loop's own run on threads that may keep a process alive when a server hangs."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from aiohttp.abc import AbstractResolver, ResolveResult

from edge_agent.errors import JobTimeoutError, PoolBusyError

if TYPE_CHECKING:
    from edge_agent.runtime.pool import Pool


class PoolResolver(AbstractResolver):
    """Asks the system's resolver, which also knows `.local` names and /etc/hosts."""

    def __init__(self, pool: Pool, timeout_s: float) -> None:
        self._pool = pool
        self._timeout_s = timeout_s

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host.

        Raises:
            OSError: It is unknown, or there was no answer in time.
        """
        try:
            return await self._pool.run(
                lambda: _look_up(host, port, family), kind="http.resolve", timeout_s=self._timeout_s
            )
        except (JobTimeoutError, PoolBusyError) as error:
            raise OSError(None, str(error)) from error

    async def close(self) -> None:
        """Nothing to do: the pool is not ours."""


def _look_up(host: str, port: int, family: socket.AddressFamily) -> list[ResolveResult]:
    found: list[ResolveResult] = []
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    for kind, _, proto, _, address in socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM):
        # getnameinfo keeps the interface of a link-local address ("fe80::1%eth0"), which belongs to it.
        numeric, _ = socket.getnameinfo(address, flags)
        found.append(ResolveResult(hostname=host, host=numeric, port=port, family=kind, proto=proto, flags=flags))
    return found
