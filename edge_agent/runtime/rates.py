"""How often someone may ask: one number for each identity, and a bound on the identities."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edge_agent.errors import RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Callable

_SLACK = 1e-6
"""Share of one request that rounding may give away, so that sums of binary fractions refuse nobody by mistake."""


@dataclass(frozen=True, slots=True)
class RateStatistics:
    """A rate limit at one moment.

    Attributes:
        kind: What is limited.
        identities: How many are remembered.
        allowed: Requests let through.
        refused: Requests turned away.
        evicted: Identities forgotten for want of room.
    """

    kind: str
    identities: int
    allowed: int
    refused: int
    evicted: int


class RateLimiter:
    """Lets each identity through `burst` times at once and `per_s` times a second in the long run.

    The generic cell rate algorithm (ITU-T I.371): for each identity it keeps the time at which its whole burst is
    there again. In any `t` seconds an identity gets through `burst + per_s * t` times at most. Refused requests cost
    nothing.

    At most `most_identities` are remembered. Beyond that the one that has not asked for longest is forgotten, and has
    its burst again; so the bound should be well above the identities that are honest.
    """

    def __init__(
        self,
        kind: str,
        burst: int,
        per_s: float,
        most_identities: int = 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if burst < 1 or per_s <= 0 or most_identities < 1:
            raise ValueError(f"rate {kind!r}: burst, rate and number of identities must be positive")
        self.kind = kind
        self._burst = burst
        self._per_s = per_s
        self._most_identities = most_identities
        self._clock = clock
        self._full_at_s: OrderedDict[str, float] = OrderedDict()
        self._allowed = 0
        self._refused = 0
        self._evicted = 0

    def allow(self, identity: str) -> bool:
        """Count a request of `identity`; return False where it comes too soon."""
        return self._ask(identity) is None

    def check(self, identity: str) -> None:
        """Count a request of `identity`.

        Raises:
            RateLimitedError: It comes too soon; the error says when the next one may come.
        """
        if (retry_after_s := self._ask(identity)) is not None:
            raise RateLimitedError(self.kind, identity, retry_after_s)

    def statistics(self) -> RateStatistics:
        """Return what was let through and turned away."""
        return RateStatistics(self.kind, len(self._full_at_s), self._allowed, self._refused, self._evicted)

    def _ask(self, identity: str) -> float | None:
        """Return None where the request may pass, else the seconds until the next one may."""
        now_s = self._clock()
        full_at_s = max(now_s, self._full_at_s.get(identity, now_s))
        # The requests that were let through and are not yet made up for.
        used = (full_at_s - now_s) * self._per_s
        over = used + 1 - self._burst
        refused = over > _SLACK
        # A refused one is remembered as recent, too: asking on and on must not bring anyone closer to being forgotten.
        self._full_at_s[identity] = full_at_s if refused else full_at_s + 1 / self._per_s
        self._full_at_s.move_to_end(identity)
        if len(self._full_at_s) > self._most_identities:
            self._full_at_s.popitem(last=False)
            self._evicted += 1
        if refused:
            self._refused += 1
            return over / self._per_s
        self._allowed += 1
        return None
