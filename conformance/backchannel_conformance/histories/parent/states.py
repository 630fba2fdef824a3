"""Whether two models will do the same."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any

from ...model import Model
from ...waiting import scale

__all__ = ["alike", "state_of"]

ALIKE = 0.05
"""Seconds by which two models may differ and count as one."""
FAR = 60.0
"""Seconds ahead of which it makes no difference when something is due: no history lasts until then."""


def alike(times: Sequence[float | None], others: Sequence[float | None]) -> bool:
    """Whether the times of two models in the same state are nearly the same."""
    for one, other in zip(times, others, strict=True):
        if one != other and (one is None or other is None or abs(one - other) >= ALIKE * scale()):
            return False
    return True


_POOL = attrgetter("turn", "expired", "was_ready", "gave_up", "generation", "reloading", "at_once")
_WORKER = attrgetter(
    *("slot", "generation", "newcomer", "state", "open", "capacity", "responsive", "last_order", "rest"),
    *("said_hello", "was_ready", "drained"),
)
_ORDER = attrgetter("number", "listener", "max", "again", "expired")
_BACKLOG = attrgetter("in_flight", "owed", "retrying", "stale")
_SIZER = attrgetter("rate", "deaths", "failures")


def state_of(model: Model) -> tuple[Any, tuple[float | None, ...]]:
    """A value that is equal for models that will do the same, times apart; and the times, as far as they matter."""
    pool, sizer = model.pool, model.pool.sizer
    now, period = pool.now, sizer.rules["pass"]

    far = now + FAR * scale()

    def ahead(when: float | None) -> float | None:
        return near(when) if when is not None and when > now else None

    def near(when: float | None) -> float | None:
        return float("inf") if when is not None and when > far else when

    times = [near(model.stop_by), sizer.short_since, sizer.surplus_since]
    times += [ahead(sizer.last + period), ahead(sizer.last_maybe + period)]
    times += map(ahead, (sizer.not_before, sizer.lifted, sizer.hopeless_until, sizer.no_start_before))
    state: list[Any] = [model.state, model.kept, _POOL(pool), _SIZER(sizer)]
    for backlog in pool.backlogs:
        # what was read means nothing when it must be read again
        known = not backlog.stale and (backlog.drained, backlog.alone and backlog.left <= 0)
        state += [_BACKLOG(backlog), known]
        times.append(ahead(backlog.cool_until))
    for slot in sorted(pool.workers):
        worker = pool.workers[slot]
        order = worker.order
        series = tuple(sorted(worker.series.items())), frozenset(worker.passed_over)
        # its age is told apart from early_exit by whoever plays, or the history is given up
        state += [_WORKER(worker), worker.accepted > 0, worker.born > sizer.last_death, series]
        state.append(order and _ORDER(order))
        times += [near(worker.until), ahead(worker.cool_until)]
        times.append(near(order.due) if order and not order.expired else None)
    return tuple(state), tuple(times)
