"""A reload: every worker is replaced by one of a new generation, which is READY before the old one is drained.

A *newcomer* is a worker that the reload has spawned and that has replaced nobody yet.
"""

from __future__ import annotations

from collections.abc import Iterable

from .pool import Pool
from .workers import COUNTING, Worker

__all__ = ["begin", "lacking", "may_end", "may_relieve", "relieve"]


def begin(pool: Pool, *, at_once: bool) -> None:
    """A reload is requested; one that is under way ends, with its newcomers (BC-RELOAD-07)."""
    surplus = [worker for worker in pool.workers.values() if worker.newcomer]
    pool.abandon_reload()
    pool.generation += 1
    pool.reloading, pool.at_once = True, at_once
    pool.due.then()
    pool.drain_each(surplus, clause="BC-RELOAD-07")


def relieve(pool: Pool, *, early: bool = False) -> None:
    """Newcomers that are READY replace old workers; when nobody is left to replace, the reload is over.

    ``early``: old workers that are LOST or KILLED are not waited for.
    """
    old, ready, starting = _old(pool), _ready(pool), _starting(pool)
    going = 0 if early else sum(worker.generation < pool.generation and not worker.drained for worker in _all(pool))
    # all at once: nobody is drained before the whole new generation is READY (BC-RELOAD-01)
    if not pool.at_once or (not starting and len(ready) >= max(len(old), going)):
        old.sort(key=lambda worker: (worker.load, -worker.slot))  # BC-RELOAD-04
        if ready and old:
            pool.sizer.last_maybe = pool.now
        pool.drain_each(old[: len(ready)], clause="BC-RELOAD-01, BC-RELOAD-04")
        del old[: len(ready)]
        for worker in ready:
            worker.newcomer = False
    if may_end(pool) and not any(worker.generation < pool.generation for worker in _all(pool)):
        pool.end_reload()


def may_relieve(pool: Pool) -> list[int]:
    """Old workers that may be drained already, because others of them are about to exit by themselves."""
    old = _old(pool)
    if pool.reloading and pool.at_once and not _starting(pool) and len(_ready(pool)) >= len(old):
        return [worker.slot for worker in old]
    return []


def may_end(pool: Pool) -> bool:
    """Whether the parent may take the reload for over: nobody is left to replace.

    A parent may as well wait until all old workers have exited.
    """
    return pool.reloading and not _old(pool) and not _starting(pool)


def lacking(pool: Pool) -> int:
    """How many newcomers are to be spawned, as soon as that may be done."""
    old, ready, starting = len(_old(pool)), len(_ready(pool)), len(_starting(pool))
    # above *max*, one may count for each that is about to be drained (BC-RELOAD-03)
    room = pool.sizer.most + old - sum(not worker.drained for worker in _all(pool))
    wanted = old - starting - ready if pool.at_once else int(old > 0 and not starting and not ready)
    return max(0, min(wanted, room))


def _all(pool: Pool) -> Iterable[Worker]:
    return pool.workers.values()


def _old(pool: Pool) -> list[Worker]:
    """Workers that are still to be replaced. One that is LOST or KILLED goes by itself."""
    return [worker for worker in _all(pool) if worker.generation < pool.generation and worker.state in COUNTING]


def _ready(pool: Pool) -> list[Worker]:
    return [worker for worker in _all(pool) if worker.newcomer and worker.state in ("READY", "SUSPECT")]


def _starting(pool: Pool) -> list[Worker]:
    """Newcomers of which it is not known yet whether they become READY. One that is LOST is about to exit, and how it
    does so tells whether there is any use in another (BC-RELOAD-05).
    """
    return [
        worker
        for worker in _all(pool)
        if worker.newcomer and not worker.was_ready and worker.state in ("STARTING", "LOST")
    ]
