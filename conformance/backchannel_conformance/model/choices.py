"""What the specification leaves to a parent: what it may do now, but need not."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from . import reload
from .actions import Action
from .pool import Pool

if TYPE_CHECKING:
    from .parent import Model

__all__ = ["choices", "may_probe"]


def choices(model: Model) -> list[tuple[Action, Callable[[], None]]]:
    """What may be done now, and what it changes if it is done. One action may be done for different reasons, and change
    different things: what is likelier comes last.

    A surplus need not be looked for at each report, nor a short pool before the tick of a clock (BC-SCALE-16). Steps of
    a reload may or may not be passes that act (BC-SCALE-06), and may or may not wait for old workers that are LOST or
    KILLED. A pool of fixed size may replace early who drains (BC-SCALE-15). A reload that was requested on STANDBY may
    be kept until RUNNING.
    """
    pool, sizer = model.pool, model.pool.sizer
    may: list[tuple[Action, Callable[[], None]]] = []
    if not model.sizing:
        return may
    spawn, retire = model.needs()
    if spawn and pool.now >= sizer.may_spawn:
        may.append((Action("Spawn", pool.free_slot), lambda: _spawned(pool, spawn)))
    if retire is not None and pool.now >= sizer.may_act:
        may.append((Action("HalfClose", retire), lambda: _retired(pool, retire)))
    if pool.reloading and pool.now >= sizer.delayed_until and reload.lacking(pool):
        spawned = Action("Spawn", pool.free_slot)
        may.append((spawned, lambda: pool.spawn(newcomer=True, clause="", expect=False)))
    for slot in reload.may_relieve(pool):
        action = Action("HalfClose", slot)
        may.append((action, partial(_relieved, pool, action)))
    if reload.may_end(pool):
        may.append((Action("Reloaded"), lambda: pool.end_reload(expect=False)))
    if model.kept is not None and model.state == "RUNNING":
        may.insert(0, (Action("Spawn", pool.free_slot), lambda: _kept_reload(model)))
    return may


def may_probe(pool: Pool, action: Action) -> bool:
    """Whether ``action`` is an ACCEPT with ``max`` 0 to somebody who owes no answer, and has room or can do without
    (BC-ORDER-01, BC-ORDER-03).
    """
    worker = pool.workers.get(-1 if action.slot is None else action.slot)
    if action.do != "Send" or action.other or worker is None or worker.state != "READY" or worker.order:
        return False
    if (action.order, action.listener, action.max) != (worker.next_order, 0, 0):
        return False
    return worker.responsive or worker.open < worker.capacity


def _spawned(pool: Pool, count: int) -> None:
    """The first of ``count`` was seen. A pool of fixed size has each by itself."""
    pool.sizer.spawned(pool.now)
    for number in range(count if pool.sizer.scales else 1):
        pool.spawn(clause="BC-SCALE-04", expect=number > 0)


def _retired(pool: Pool, slot: int) -> None:
    pool.sizer.retired(pool.now)
    pool.drain(pool.workers[slot], clause="BC-SCALE-07", expect=False)


def _relieved(pool: Pool, action: Action) -> None:
    reload.relieve(pool, early=True)
    pool.due.came(action)


def _kept_reload(model: Model) -> None:
    reload.begin(model.pool, at_once=bool(model.kept))
    model.kept = None
    model.pool.spawn(newcomer=True, clause="BC-RELOAD-01", expect=False)
