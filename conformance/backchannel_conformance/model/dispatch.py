"""Counts are read, and orders follow from them (BC-PEND-01 to BC-PEND-05, BC-PICK-01 to BC-PICK-04)."""

from __future__ import annotations

from collections.abc import Mapping

from . import picking
from .pool import Pool, check
from .workers import Worker

__all__ = ["dispatch", "must_count", "settled"]


def must_count(pool: Pool, *, stopping: bool) -> set[int]:
    """Listeners whose pending count must be read in this pass (BC-PEND-02, BC-PEND-05).

    Any other may be read as well, and one that cools down may wait. A parent that is STOPPING must see that nothing is
    pending, whoever may be chosen.
    """
    views, policy = pool.views(), pool.settings["policy"]
    return {
        listener
        for listener, backlog in enumerate(pool.backlogs)
        if backlog.stale
        and backlog.cool_until <= pool.now
        and (stopping or bool(picking.best(policy, views, listener)))
    }


def dispatch(pool: Pool, counts: Mapping[int, int]) -> None:
    """``counts`` were read: order whom that asks for."""
    for listener, pending in counts.items():
        _read(pool, listener, pending)
    waiting = {listener for listener, pending in counts.items() if pending}
    for listener in sorted(waiting):
        if pool.backlogs[listener].cool_until > pool.now:
            pool.backlogs[listener].stale = True  # read again after the cool-down
            waiting.discard(listener)
    while waiting:
        # after each order the next listener has its turn (BC-PICK-04)
        listener = min(waiting, key=lambda index: (index < pool.turn, index))
        if not _order(pool, listener):
            waiting.discard(listener)


def settled(pool: Pool) -> bool:
    """Every listener was read as 0 while nothing was in flight (BC-STOP-01)."""
    return all(backlog.drained and not backlog.in_flight for backlog in pool.backlogs)


def _read(pool: Pool, listener: int, pending: int) -> None:
    backlog = pool.backlogs[listener]
    backlog.pending, backlog.stale = pending, False
    backlog.left, backlog.alone = pending - backlog.in_flight, not backlog.in_flight
    backlog.drained = not pending and not backlog.in_flight
    if not pending:  # seen empty: nothing is owed, nobody is passed over, and no series goes on
        backlog.owed = 0
        for worker in pool.workers.values():
            worker.series.pop(listener, None)
            worker.passed_over.discard(listener)


def _order(pool: Pool, listener: int) -> bool:
    """One order for ``listener``; ``False`` if there is none to send."""
    backlog, settings = pool.backlogs[listener], pool.settings
    figures = {name: getattr(backlog, name) for name in ("pending", "in_flight", "owed", "retrying")}
    wanted, again = picking.wants(figures)
    if not wanted:
        return False
    views = pool.views()
    slots = picking.best(settings["policy"], views, listener)
    if not slots:
        backlog.look_again()
        return False
    worker = pool.workers[slots[0]]
    if listener in worker.passed_over:  # so has everybody been: now nobody is (BC-SHORT-01)
        for slot in pool.workers if pool.forgives_everybody else slots:
            pool.workers[slot].passed_over.discard(listener)
    most = min(picking.share(wanted, views), worker.capacity - worker.open, settings["max_per_order"])
    _check(pool, worker, listener, most)
    backlog.in_flight += most
    backlog.left -= most
    if again:
        backlog.retrying = True
        backlog.owed -= most
    pool.turn = (listener + 1) % len(pool.backlogs)
    pool.send(worker, listener, most, again=again, clause=_clause(settings["policy"]))
    return True


def _check(pool: Pool, worker: Worker, listener: int, most: int) -> None:
    """The rules once more, apart from how the order was found."""
    backlog = pool.backlogs[listener]
    check(backlog.in_flight + most <= backlog.pending, "BC-PEND-01: more in flight than pending")
    check(worker.order is None, "BC-ORDER-01: two orders unanswered")
    check(worker.state == "READY" and worker.open + most <= worker.capacity, "BC-ORDER-02: no room")


def _clause(policy: str) -> str:
    return "BC-PEND-05, BC-PICK-01" if policy == "lowest" else "BC-PEND-05, BC-PICK-02"
