"""What can go wrong with a request, in words that hold no secrets."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from edge_agent.errors import NetworkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edge_agent.net.http import HttpLimits

_CLOSED = "the connections were closed"


@contextmanager
def network_errors(url: str, limits: HttpLimits, *, is_closed: Callable[[], bool]) -> Iterator[None]:
    """Raise aiohttp's errors as NetworkError.

    Their own texts may hold the whole address with its query, so they are neither quoted nor, where they do, chained.
    """
    import aiohttp

    try:
        yield
    except (aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL, aiohttp.ServerTimeoutError, ValueError) as error:
        raise NetworkError(url, _CLOSED if is_closed() else _reason(error, limits)) from None
    except (aiohttp.ClientError, OSError) as error:
        raise NetworkError(url, _CLOSED if is_closed() else _reason(error, limits)) from error


def _reason(error: Exception, limits: HttpLimits) -> str:
    import aiohttp

    match error:
        case aiohttp.ConnectionTimeoutError():
            reason = f"no connection within {limits.wait_s:g} s"
        case aiohttp.ServerTimeoutError():
            reason = f"nothing came for {limits.read_s:g} s"
        case aiohttp.ClientConnectorDNSError():
            reason = f"the name can't be resolved ({error.os_error})"
        case aiohttp.ClientConnectorCertificateError():
            reason = f"the certificate is not accepted ({error.certificate_error})"
        case aiohttp.ClientConnectorError():
            reason = f"can't be reached ({error.os_error})"
        case aiohttp.ClientPayloadError():
            reason = "the answer broke off"
        case aiohttp.ServerDisconnectedError():
            reason = "the server closed the connection"
        case ValueError():
            reason = "is not an address that can be asked"
        case _:
            reason = f"the connection failed ({type(error).__name__})"
    return reason
