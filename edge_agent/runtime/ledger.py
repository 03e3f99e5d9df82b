"""The core ledger: engines lease compute threads, and what is leased never exceeds the cores."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edge_agent.runtime.account import CoreAccount, Rank

if TYPE_CHECKING:
    from collections.abc import Callable

    from edge_agent.runtime.account import ClaimState

__all__ = ["Claim", "ClaimStatistics", "ComputeGrant", "CoreLedger", "FixedGrant", "LedgerStatistics", "Rank"]


class ComputeGrant(Protocol):
    """What an engine may compute with. The pool that runs its job opens and closes the claim behind it."""

    @property
    def threads(self) -> int:
        """Threads granted now. Any thread may ask."""
        ...

    def commit(self) -> int:
        """Take over what the ledger grants now; call between two steps, on the thread that runs them.

        Waits while that is nothing. Returns the threads to compute with from here on, at least 1; or 0 where the job
        is being stopped: end it then, quietly.
        """
        ...


class FixedGrant:
    """A number of threads that nobody changes."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def commit(self) -> int:
        """Return the number."""
        return self.threads


@dataclass(frozen=True, slots=True)
class ClaimStatistics:
    """What one claim got.

    Attributes:
        held: Threads now.
        mean_threads: Mean number of threads over the time that it was open, waiting included; None if it never was.
        thread_s: Threads times seconds.
        waited_s: Seconds open without any.
    """

    name: str
    rank: str
    most: int
    is_open: bool
    held: int
    mean_threads: float | None
    thread_s: float
    waited_s: float
    open_s: float


@dataclass(frozen=True, slots=True)
class LedgerStatistics:
    """The whole account."""

    cores: int
    reserve: int
    held: int
    waiting: int
    claims: tuple[ClaimStatistics, ...]


class CoreLedger:
    """One account of compute threads for the whole device. Any thread may use it.

    Args:
        cores: Cores that may be used, see `topology`.
        reserve: The part of them that is kept for capture, voice activity detection and the loop; recognition may use
            it too.
        clock: Seconds that never jump.
    """

    def __init__(self, cores: int, reserve: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._account = CoreAccount(cores, reserve)
        self._clock = clock
        self._changed = threading.Condition()

    @property
    def compute_cores(self) -> int:
        """Cores that are not in the reserve."""
        return self._account.compute

    def claim(self, name: str, rank: Rank, most: int) -> Claim:
        """Enter an engine that can make use of `most` threads."""
        with self._changed:
            return Claim(self, self._account.add(name, rank, min(most, self._account.compute)))

    def cap(self, rank: Rank, share: float | None) -> None:
        """Bound each claim of `rank` to a share (0 to 1) of the compute cores; None lifts that.

        Above 0 it is one core at least. At 0 nothing of that rank computes until this is lifted.
        """
        with self._changed:
            self._account.cap(rank, None if share is None else max(share > 0, int(share * self._account.compute)))
            self._changed.notify_all()

    def statistics(self) -> LedgerStatistics:
        """Return the account as it stands."""
        with self._changed:
            now_s = self._clock()
            for claim in self._account.claims:
                claim.count(now_s)
            claims = tuple(
                ClaimStatistics(
                    claim.name,
                    claim.rank.name.lower(),
                    claim.most,
                    claim.is_open,
                    claim.held,
                    claim.thread_s / claim.open_s if claim.open_s else None,
                    claim.thread_s,
                    claim.waited_s,
                    claim.open_s,
                )
                for claim in self._account.claims
            )
            waiting = sum(claim.is_open and not claim.held for claim in claims)
            return LedgerStatistics(self._account.cores, self._account.reserve, self._account.held, waiting, claims)

    def _open(self, claim: ClaimState) -> None:
        with self._changed:
            self._account.open(claim, self._clock())
            self._changed.notify_all()

    def _settle(self, claim: ClaimState, stopped: Callable[[], bool]) -> int:
        with self._changed:
            before = claim.held
            while True:
                if stopped():
                    return 0
                now_s = self._clock()
                held = self._account.settle(claim, now_s)
                if held < before:
                    self._changed.notify_all()
                if held:
                    return held
                before = 0
                left_s = self._account.starves_at_s(claim) - now_s
                self._changed.wait(left_s if left_s > 0 else self._account.starving_s)

    def _close(self, claim: ClaimState) -> None:
        with self._changed:
            self._account.close(claim, self._clock())
            self._changed.notify_all()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


class Claim:
    """An engine's place in the ledger, for one job at a time. A `ComputeGrant`."""

    def __init__(self, ledger: CoreLedger, state: ClaimState) -> None:
        self._ledger = ledger
        self._state = state
        self._stopped: Callable[[], bool] = _never

    @property
    def name(self) -> str:
        """The engine."""
        return self._state.name

    @property
    def most(self) -> int:
        """Threads that it can make use of."""
        return self._state.most

    @property
    def threads(self) -> int:
        """Threads granted now; 0 while it is not open or waits."""
        return self._state.held

    def bound(self, most: int | None) -> None:
        """Ask for `most` threads at the most from now on; None leaves it as it is."""
        if most is not None:
            self._state.most = max(1, min(self._state.most, most))

    def resize(self, most: int) -> None:
        """Ask for `most` threads at the most from now on, more than before or fewer."""
        self._state.most = max(1, min(most, self._ledger.compute_cores))

    def make_way(self, most_beside: int | None) -> None:
        """Ask for `most_beside` threads at the most while a lower rank computes too; None: for as many as alone."""
        self._state.most_beside = None if most_beside is None else max(1, most_beside)

    def open(self, stopped: Callable[[], bool]) -> bool:
        """Wait for at least one thread, on the thread that will compute; return False where `stopped` came true.

        After it, whatever it returned, `close` is due. `stopped` is asked under the ledger's lock; call `wake` when it
        changes.

        Raises:
            ClaimBusyError: It is open already.
        """
        self._ledger._open(self._state)  # noqa: SLF001 - a claim is the ledger's own handle
        self._stopped = stopped
        return self.commit() > 0

    def commit(self) -> int:
        """Take over what the ledger grants now; wait while that is nothing; 0 where the job is being stopped."""
        return self._ledger._settle(self._state, self._stopped)  # noqa: SLF001

    def close(self) -> None:
        """Give everything back."""
        self._stopped = _never
        self._ledger._close(self._state)  # noqa: SLF001

    def wake(self) -> None:
        """Let one that waits look again whether it is stopped."""
        self._ledger._wake()  # noqa: SLF001


def _never() -> bool:
    return False
