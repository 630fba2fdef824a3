"""Deadlines of a model that the parent may not have acted on yet, although their time has come.

The model is told the earliest time at which something can have happened, so its deadlines are the earliest possible
ones. The parent's own are a little later. A deadline that is *put off* is given a later time in the model; since when
it has been due is kept, because a parent that sleeps may not miss it for long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...model import Model
from ...model.reload import lacking

__all__ = ["PutOff", "Waiting", "put_off", "uncertain", "waiting"]

Key = tuple[Any, ...]
PutOff = tuple[tuple[Key, float, float, float], ...]
"""Of each deadline that is put off: which it is, since when it has been due, what time it was given, and what time it
had at first."""
AFTER = 1e-6


@dataclass(frozen=True)
class Waiting:
    """A deadline to come."""

    key: Key
    when: float
    """In the model."""
    since: float
    """At the earliest."""
    first: float
    """In the model, before it was put off."""
    begun: float | None
    """When its worker was spawned, if it is that worker's *start_deadline*; when the last pass acted."""
    binds: bool = True
    """Something has to be done then; else only something that comes after it would have to be done at once."""


def waiting(model: Model, known: PutOff) -> list[Waiting]:
    """All that the parent has to act on when it has passed, the first one first."""
    before = {(key, given): (due, first) for key, due, given, first in known}
    found = [
        Waiting(key, when, *before.get((key, when), (when, when)), begun, binds)
        for key, when, begun, binds in _deadlines(model)
        if when is not None and when > model.pool.now
    ]
    return sorted(found, key=lambda one: one.when)


def uncertain(waiting: Sequence[Waiting], begun: float, ended: float) -> tuple[Waiting, float] | None:
    """A deadline of ``waiting`` that something else may come before, although its time is earlier: what was done at
    ``begun``, or the next deadline. And the time until which it may be put off for that.
    """
    if not waiting or waiting[0].when > ended:
        return None
    together = [one for one in waiting if one.when == waiting[0].when]
    # those who were spawned together were spawned one after the other: the last one is the last one to be late
    last = max(together, key=lambda one: str(one.key))
    if last.when < begun:
        return last, begun
    if last.since < last.when and last.when > begun + 2 * AFTER:
        return None  # once is enough: two would put each other off for ever
    after = [one.when for one in waiting if one.when > last.when]
    return (last, after[0]) if after and after[0] <= ended else None


def put_off(model: Model, known: PutOff, deadline: Waiting, until: float) -> PutOff:
    """Give ``deadline`` a time right after ``until`` in ``model``; return what is put off then."""
    when = until + AFTER
    pool = model.pool
    still = {(key, given) for key, given, *_ in _deadlines(model)}
    match deadline.key:
        case ("stop",):
            model.stop_by = when
        case ("listener", index):
            pool.backlogs[index].cool_until = when
        case ("state", slot, *_):
            pool.workers[slot].until = when
        case ("cool", slot, *_):
            pool.workers[slot].cool_until = when
        case ("order", slot, *_):
            order = pool.workers[slot].order
            assert order is not None
            order.due = when
        case ("pass",):
            # what may be done at once need not be done before then
            pool.sizer.last_maybe = when - pool.sizer.rules["pass"]
            when = _pass(model)[0] or when
    others = tuple(one for one in known if one[0] != deadline.key and (one[0], one[2]) in still)
    # what becomes due only later is due from then on
    return (*others, (deadline.key, deadline.since if deadline.binds else when, when, deadline.first))


def _deadlines(model: Model) -> list[tuple[Key, float | None, float | None, bool]]:
    """As in :class:`Waiting`: which, when, when it had begun, and whether it binds."""
    pool = model.pool
    due, is_needed = _pass(model)
    found: list[tuple[Key, float | None, float | None, bool]] = [
        (("stop",), model.stop_by, None, True),
        (("pass",), due, pool.sizer.last, is_needed),
    ]
    found += [(("listener", index), backlog.cool_until, None, True) for index, backlog in enumerate(pool.backlogs)]
    for slot, worker in pool.workers.items():
        order = worker.order
        starting = worker.born if worker.state == "STARTING" else None
        found.append((("state", slot, worker.born, worker.state), worker.until, starting, True))
        found.append((("cool", slot, worker.born), worker.cool_until, None, True))
        if order is not None and not order.expired:
            found.append((("order", slot, worker.born, order.number), order.due, None, True))
    return found


def _pass(model: Model) -> tuple[float | None, bool]:
    """From when on, at the latest, a pass has to do what it finds to do; and whether there is anything."""
    pool, sizer = model.pool, model.pool.sizer
    if not model.sizing:
        return None, False
    spawn, retire = model.needs()
    going_on = max(sizer.must_act, sizer.not_before, sizer.delayed_until)
    if pool.reloading and lacking(pool):
        return going_on, True
    if retire is not None:
        return sizer.must_retire, True
    # a pool that is not short may be so in a moment
    return (sizer.must_spawn, True) if spawn else (going_on, False)
