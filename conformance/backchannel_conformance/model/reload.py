"""A reload: every worker is replaced by one of a new generation, which is READY before the old one is drained.

A *newcomer* is a worker that the reload has spawned and that has replaced nobody yet.
"""

from __future__ import annotations

from .pool import Pool
from .workers import COUNTING, Worker

__all__ = ["begin", "lacking", "relieve"]


def begin(pool: Pool, *, at_once: bool) -> None:
    """A reload is requested; one that is under way ends, with its newcomers (BC-RELOAD-07)."""
    surplus = [worker for worker in pool.workers.values() if worker.newcomer]
    pool.abandon_reload()
    pool.generation += 1
    pool.reloading, pool.at_once = True, at_once
    pool.due.then()
    pool.drain_each(surplus, clause="BC-RELOAD-07")


def relieve(pool: Pool) -> None:
    """Newcomers that are READY replace old workers; nobody is left to replace: the reload is over."""
    old, ready, starting = _old(pool), _ready(pool), _starting(pool)
    # all at once: nobody is drained before the whole new generation is READY (BC-RELOAD-01)
    if not pool.at_once or (not starting and len(ready) >= len(old)):
        old.sort(key=lambda worker: (worker.load, -worker.slot))  # BC-RELOAD-04
        if ready and old:
            pool.sizer.last_maybe = pool.now
        pool.drain_each(old[: len(ready)], clause="BC-RELOAD-01, BC-RELOAD-04")
        del old[: len(ready)]
        for worker in ready:
            worker.newcomer = False
    if not old and not starting:
        pool.end_reload()


def lacking(pool: Pool) -> int:
    """How many newcomers are to be spawned, as soon as that may be done."""
    old, ready, starting = len(_old(pool)), len(_ready(pool)), len(_starting(pool))
    if pool.at_once:
        return max(0, old - starting - ready)
    return 1 if old and not starting and not ready else 0


def _old(pool: Pool) -> list[Worker]:
    """Workers that are still to be replaced. One that is LOST or KILLED goes by itself."""
    return [
        worker for worker in pool.workers.values() if worker.generation < pool.generation and worker.state in COUNTING
    ]


def _ready(pool: Pool) -> list[Worker]:
    workers = pool.workers.values()
    return [worker for worker in workers if worker.newcomer and worker.state in ("READY", "SUSPECT")]


def _starting(pool: Pool) -> list[Worker]:
    """Newcomers of which it is not known yet whether they become READY. One that is LOST is about to exit, and how it
    does so tells whether there is any use in another (BC-RELOAD-05).
    """
    return [
        worker
        for worker in pool.workers.values()
        if worker.newcomer and not worker.was_ready and worker.state in ("STARTING", "LOST")
    ]
