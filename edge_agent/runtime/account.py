"""Who may use how many cores: the arithmetic of the core ledger, on no clock and no lock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from edge_agent.errors import ClaimBusyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

STARVING_S = 0.5
"""A claim that waited so long goes before all others, once, for `SLICE_S`."""
SLICE_S = 0.2
"""How long a claim that starved keeps its core against higher ranks."""


class Rank(IntEnum):
    """Whose claim comes first. Capture and voice activity detection make none: they have the reserve."""

    HEARING = 0
    SPEAKING = 1
    REASONING = 2
    BACKGROUND = 3


@dataclass(slots=True)
class ClaimState:
    """One claim.

    Attributes:
        most: Threads that it can make use of.
        most_beside: Fewer of them, while a claim of a lower rank is open too: what is beyond is worth more to that one;
            None: as many as alone.
        is_open: It computes, or waits to.
        held: Threads that it computes with now.
        from_reserve: The part of `held` that the reserve gave.
        wanted_s: Since when it holds nothing, while open.
        starves: It has held nothing for too long, and goes before all others.
        favoured_until_s: It starved, and keeps its core until then.
        thread_s: Seconds times threads that it held.
        waited_s: Seconds that it was open and held nothing.
        open_s: Seconds that it was open.
        seen_s: Up to when these three are counted.
    """

    name: str
    rank: Rank
    most: int
    order: int
    most_beside: int | None = None
    is_open: bool = False
    held: int = 0
    from_reserve: int = 0
    wanted_s: float = 0.0
    starves: bool = False
    favoured_until_s: float = -1.0
    thread_s: float = 0.0
    waited_s: float = 0.0
    open_s: float = 0.0
    seen_s: float = 0.0

    def count(self, now_s: float) -> None:
        """Add the time that passed to the sums."""
        if self.is_open:
            passed_s = now_s - self.seen_s
            self.open_s += passed_s
            self.thread_s += passed_s * self.held
            if not self.held:
                self.waited_s += passed_s
        self.seen_s = now_s


@dataclass(frozen=True, slots=True)
class Share:
    """What a claim should hold."""

    threads: int = 0
    from_reserve: int = 0


def share_out(
    compute: int, reserve: int, claims: Iterable[ClaimState], *, caps: Mapping[Rank, int], now_s: float
) -> dict[int, Share]:
    """Return what each open claim should hold, by its `order`; `compute + reserve` threads in all at the most.

    Hearing takes its first thread from the reserve. Of the compute cores everyone gets one, in the order of ranks,
    those that starved first; what is then left goes to the highest rank that can use it, as far as it is to take it
    from those below (`ClaimState.most_beside`).
    """
    queue = sorted((claim for claim in claims if claim.is_open), key=lambda claim: _turn(claim, now_s))
    most = {claim.order: min(claim.most, caps.get(claim.rank, claim.most)) for claim in queue}
    threads = dict.fromkeys(most, 0)
    reserved = dict.fromkeys(most, 0)
    for claim in queue:
        if claim.rank is Rank.HEARING and reserve and most[claim.order]:
            reserve -= 1
            reserved[claim.order] = threads[claim.order] = 1
    for claim in queue:
        if compute and not threads[claim.order] and most[claim.order]:
            compute -= 1
            threads[claim.order] = 1
    lowest = max((claim.rank for claim in queue if most[claim.order]), default=Rank.HEARING)
    beside = {
        claim.order: most[claim.order]
        if claim.most_beside is None or claim.rank >= lowest
        else min(most[claim.order], claim.most_beside)
        for claim in queue
    }
    # What those below could not use either is anybody's again.
    for wanted in (beside, most):
        for claim in sorted(queue, key=lambda claim: (claim.rank, claim.order)):
            if threads[claim.order]:
                more = max(0, min(compute, wanted[claim.order] - threads[claim.order]))
                compute -= more
                threads[claim.order] += more
    return {order: Share(threads[order], reserved[order]) for order in most}


def _turn(claim: ClaimState, now_s: float) -> tuple[int, float, int, int]:
    """Whose turn it is: who starved and was just let in, who starves longest, then by rank."""
    if claim.favoured_until_s > now_s:
        return 0, 0.0, claim.rank, claim.order
    if claim.starves:
        return 1, claim.wanted_s, claim.rank, claim.order
    return 2, 0.0, claim.rank, claim.order


class CoreAccount:
    """The account of compute threads: what is held never exceeds the cores.

    A claim that should hold less gives back when it settles, which engines do between two steps; a claim that should
    hold more gets what the others have given back by then.

    Args:
        cores: All cores that may be used.
        reserve: The part of them that only hearing may use.
    """

    def __init__(
        self, cores: int, reserve: int = 0, *, starving_s: float = STARVING_S, slice_s: float = SLICE_S
    ) -> None:
        if not 0 <= reserve < cores:
            raise ValueError("a reserve leaves at least one core to compute")
        self.compute = cores - reserve
        self.reserve = reserve
        self.starving_s = starving_s
        self._slice_s = slice_s
        self._claims: list[ClaimState] = []
        self._caps: dict[Rank, int] = {}

    @property
    def cores(self) -> int:
        """All cores of the account."""
        return self.compute + self.reserve

    @property
    def held(self) -> int:
        """Threads that all claims hold together."""
        return sum(claim.held for claim in self._claims)

    @property
    def claims(self) -> tuple[ClaimState, ...]:
        """All claims, open or not."""
        return tuple(self._claims)

    def add(self, name: str, rank: Rank, most: int) -> ClaimState:
        """Enter a claim for up to `most` threads; it holds nothing until it is opened and settled."""
        claim = ClaimState(name, rank, max(1, most), len(self._claims))
        self._claims.append(claim)
        return claim

    def cap(self, rank: Rank, most: int | None) -> None:
        """Let each claim of `rank` hold `most` threads (0: none at all) until this is lifted by None."""
        if most is None:
            self._caps.pop(rank, None)
        else:
            self._caps[rank] = most

    def open(self, claim: ClaimState, now_s: float) -> None:
        """Want threads from now on.

        Raises:
            ClaimBusyError: It is open already.
        """
        if claim.is_open:
            raise ClaimBusyError(claim.name)
        claim.count(now_s)
        claim.is_open = True
        claim.wanted_s = now_s

    def settle(self, claim: ClaimState, now_s: float) -> int:
        """Give back what it should not hold any more, take what is free of what it should; return what it holds.

        A claim with nothing is to try again when another one gave back, and when it starves (`starves_at_s`).
        """
        claim.count(now_s)
        claim.starves = not claim.held and now_s - claim.wanted_s >= self.starving_s
        share = share_out(self.compute, self.reserve, self._claims, caps=self._caps, now_s=now_s)[claim.order]
        had = claim.held
        claim.held = claim.from_reserve = 0
        reserve_left = self.reserve - sum(other.from_reserve for other in self._claims)
        compute_left = self.compute - sum(other.held - other.from_reserve for other in self._claims)
        claim.from_reserve = min(share.from_reserve, reserve_left)
        claim.held = claim.from_reserve + min(share.threads - share.from_reserve, compute_left)
        if claim.starves and claim.held:
            claim.favoured_until_s = now_s + self._slice_s
            claim.starves = False
        if had and not claim.held:
            claim.wanted_s = now_s
        return claim.held

    def close(self, claim: ClaimState, now_s: float) -> None:
        """Give everything back, and want nothing."""
        claim.count(now_s)
        claim.is_open = claim.starves = False
        claim.held = claim.from_reserve = 0
        claim.favoured_until_s = -1.0

    def starves_at_s(self, claim: ClaimState) -> float:
        """Return when a claim that holds nothing is to be settled again, at the latest."""
        return claim.wanted_s + self.starving_s
