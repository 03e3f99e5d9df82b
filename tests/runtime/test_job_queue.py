"""The queue of a pool. Its order among threads is tested with the pool."""

from __future__ import annotations

from edge_agent.runtime.job_queue import JobQueue
from edge_agent.runtime.jobs import CallJob, Job, Priority, Terms
from edge_agent.runtime.pool import Pool


def made(*priorities: Priority) -> list[Job]:
    """Return a job for each priority; they are never run."""
    pool = Pool("test")
    return [CallJob(int, pool, Terms("call", priority)) for priority in priorities]


async def test_what_was_stopped_between_two_steps_goes_on_before_its_equals() -> None:
    """`first` puts a job in front of those of its priority, and behind the more urgent ones."""
    early, back, urgent = made(Priority.NORMAL, Priority.NORMAL, Priority.HIGH)
    waiting = JobQueue()
    waiting.put(early)
    waiting.put(back, first=True)
    waiting.put(urgent)
    assert [waiting.take() for _ in range(4)] == [urgent, back, early, None]


async def test_one_of_nine_is_from_below() -> None:
    """A waiting job is passed over eight times, counted anew after its turn; those below it count for themselves."""
    waiting = JobQueue()
    for job in made(*[Priority.HIGH] * 20, *[Priority.NORMAL] * 2, Priority.LOW):
        waiting.put(job)
    order = "".join(next_job.priority.name[0] for _ in range(23) if (next_job := waiting.take()) is not None)
    assert order == "HHHHHHHHL" + "N" + "HHHHHHHH" + "N" + "HHHH"


async def test_what_was_taken_out_does_not_come() -> None:
    """A removed job is neither counted nor taken, and is removed once."""
    kept, gone = made(Priority.LOW, Priority.LOW)
    waiting = JobQueue()
    waiting.put(kept)
    waiting.put(gone)
    assert (waiting.remove(gone), waiting.remove(gone)) == (True, False)
    assert (len(waiting), waiting.counts()[Priority.LOW], waiting.take(), waiting.take()) == (1, 1, kept, None)


async def test_clearing_takes_out_all_of_them() -> None:
    """What is dropped comes back in the order of its urgency; then nobody waits."""
    low, high = made(Priority.LOW, Priority.HIGH)
    waiting = JobQueue()
    waiting.put(low)
    waiting.put(high)
    assert waiting.clear() == [high, low]
    assert (len(waiting), waiting.take(), waiting.holds_above(Priority.LOW)) == (0, None, False)


async def test_a_running_job_learns_of_more_urgent_ones_alone() -> None:
    """Equals and those below are no reason to make way."""
    waiting = JobQueue()
    waiting.put(made(Priority.NORMAL)[0])
    assert [waiting.holds_above(priority) for priority in Priority] == [False, False, True]
