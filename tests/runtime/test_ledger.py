"""The core ledger between threads: waiting, waking, giving back after crashes and cancellations."""

from __future__ import annotations

import contextlib
import random
import threading
import time

from edge_agent.runtime.ledger import Claim, CoreLedger, FixedGrant, Rank


def test_a_fixed_grant_stays() -> None:
    """For engines outside the ledger."""
    assert (FixedGrant(3).threads, FixedGrant(3).commit()) == (3, 3)


def test_nobody_wants_more_than_there_is() -> None:
    """A claim for more threads than compute cores is one for all of them."""
    assert CoreLedger(4, 1).claim("llm", Rank.REASONING, 64).most == 3


def test_a_claim_can_be_bound() -> None:
    """An engine that uses one thread asks for one; it never asks for more than it was entered with."""
    claim = CoreLedger(4).claim("tts", Rank.SPEAKING, 2)
    claim.bound(None)
    assert claim.most == 2
    claim.bound(1)
    claim.bound(3)
    assert claim.most == 1


def test_a_waiting_claim_is_woken_when_a_core_comes_free() -> None:
    """The higher rank waits for the step that runs, then computes; the lower one goes on afterwards."""
    ledger = CoreLedger(1)
    llm, asr = ledger.claim("llm", Rank.REASONING, 1), ledger.claim("asr", Rank.HEARING, 1)
    order: list[str] = []
    assert llm.open(lambda: False)

    def hear() -> None:
        assert asr.open(lambda: False)
        order.append("asr")
        asr.close()

    thread = threading.Thread(target=hear)
    thread.start()
    deadline_s = time.monotonic() + 10
    while not ledger.statistics().waiting and time.monotonic() < deadline_s:
        time.sleep(0.001)
    order.append("llm step")
    assert llm.commit() == 1
    order.append("llm step")
    thread.join(10)
    llm.close()
    assert order == ["llm step", "asr", "llm step"]
    assert ledger.statistics().held == 0


def test_a_stopped_claim_stops_waiting() -> None:
    """`commit` says 0, which ends the job."""
    ledger = CoreLedger(1)
    holder, waiter = ledger.claim("asr", Rank.HEARING, 1), ledger.claim("llm", Rank.REASONING, 1)
    assert holder.open(lambda: False)
    stopped = threading.Event()
    outcome: list[bool] = []
    thread = threading.Thread(target=lambda: outcome.append(waiter.open(stopped.is_set)))
    thread.start()
    stopped.set()
    waiter.wake()
    thread.join(10)
    assert outcome == [False]
    waiter.close()
    holder.close()
    assert ledger.statistics().held == 0


def test_a_cap_reaches_a_claim_at_its_next_step() -> None:
    """Shares are of the compute cores, and above nothing at least one."""
    ledger = CoreLedger(4)
    llm = ledger.claim("llm", Rank.REASONING, 4)
    assert llm.open(lambda: False)
    ledger.cap(Rank.REASONING, 0.5)
    assert llm.commit() == 2
    ledger.cap(Rank.REASONING, 0.1)
    assert llm.commit() == 1
    ledger.cap(Rank.REASONING, None)
    assert llm.commit() == 4
    llm.close()


def test_the_account_is_told() -> None:
    """Mean threads count the time without any."""
    now = [0.0]
    ledger = CoreLedger(2, clock=lambda: now[0])
    llm = ledger.claim("llm", Rank.REASONING, 2)
    llm.open(lambda: False)
    now[0] = 3.0
    ledger.cap(Rank.REASONING, 0.5)
    llm.commit()
    now[0] = 4.0
    (claim,) = ledger.statistics().claims
    assert (claim.name, claim.rank, claim.held, claim.mean_threads) == ("llm", "reasoning", 1, 7 / 4)
    llm.close()


class Crowd:
    """Engines on threads of their own that open, settle, crash and are stopped at random, and what they held."""

    def __init__(self, cores: int, engines: int) -> None:
        self.ledger = CoreLedger(cores)
        self.claims = [self.ledger.claim(str(number), Rank(number % 4), cores) for number in range(engines)]
        self.held = [0] * engines
        self.most = 0
        self.computed = [0] * engines
        self._lock = threading.Lock()

    def note(self, number: int, threads: int) -> None:
        """Write down what is held now."""
        with self._lock:
            self.held[number] = threads
            self.most = max(self.most, sum(self.held))

    def work(self, number: int) -> None:
        """Serve forty jobs."""
        chance, claim = random.Random(number), self.claims[number]
        for _ in range(40):
            stops = chance.random() < 0.2
            with contextlib.suppress(ZeroDivisionError):
                self.serve(number, claim, chance, stops=stops)

    def serve(self, number: int, claim: Claim, chance: random.Random, *, stops: bool) -> None:
        """Run a few steps, then end or crash."""
        try:
            granted = claim.open(lambda: stops)
            for _ in range(chance.randrange(4) if granted else 0):
                self.note(number, claim.threads)
                self.computed[number] += 1
                time.sleep(chance.random() * 0.001)
                self.note(number, 0)  # what is given back is free from within `commit` on
                claim.commit()
            if chance.random() < 0.3:
                _ = 1 / 0
        finally:
            claim.close()


def test_many_threads_never_hold_more_than_the_cores() -> None:
    """Six engines on two cores, with crashes and stops at random: the sum fits at every look, and all comes back."""
    crowd = Crowd(2, 6)
    threads = [threading.Thread(target=crowd.work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert crowd.most <= 2
    assert all(crowd.computed)
    assert crowd.ledger.statistics().held == 0


def test_a_claim_can_be_made_larger_again() -> None:
    """Another engine that uses more threads takes the place of one that used fewer."""
    claim = CoreLedger(4, 1).claim("tts", Rank.SPEAKING, 2)
    claim.bound(1)
    claim.resize(2)
    assert claim.most == 2
    claim.resize(64)
    assert claim.most == 3
    claim.resize(0)
    assert claim.most == 1
