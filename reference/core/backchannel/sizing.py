"""The pool's size over time: when to ask :func:`~backchannel.scaling.decide`, and what it remembers.

Every order and every answer changes the pool's spare room, so the sums are kept up to date rather than taken anew,
and a pass looks at single workers only when the sums say that the pool is short or has too much. A pool that is as it
should be sets no timer: a parent with nothing to do does not wake (BC-WAIT-03).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from .scaling import Decision, Memory, Totals, decide, delayed, short, surplus
from .settings import Scaling
from .slots import Worker
from .states import State

__all__ = ["Sizing"]


_NOTHING: Final = Decision()


class Sizing:
    """Passes, and the delay after young deaths. ``capacity`` is what a worker is expected to have."""

    def __init__(self, rules: Scaling, capacity: int) -> None:
        self._rules = rules
        self._capacity = capacity
        self._totals = Totals()
        self._memory = Memory()
        self._looked = float("-inf")
        self._changed = True
        self._last_young_death = float("-inf")
        self._held = False
        self._failures = 0
        self._no_start_before = float("-inf")

    def add(self, worker: Worker) -> None:
        """``worker`` is new."""
        worker.counted = worker.to_count()
        self._totals.add(*worker.counted)
        self._changed = True

    def remove(self, worker: Worker) -> None:
        """``worker`` has gone."""
        self._totals.add(*worker.counted, -1)
        self._changed = True

    def refresh(self, worker: Worker) -> None:
        """``worker`` may have changed."""
        before, counted = worker.counted, worker.to_count()
        if counted != before:
            if counted[0] is State.READY is before[0]:
                self._totals.room += counted[1] - before[1]
            else:
                self._totals.add(*before, -1)
                self._totals.add(*counted)
            worker.counted = counted
        self._changed = True

    def hold(self, held: bool) -> None:
        """Retire nobody while ``held``: a reload has workers beyond the rules for a while (BC-RELOAD-06)."""
        self._held = held
        self._changed = True

    @property
    def not_before(self) -> float:
        """No worker is to be spawned before this time."""
        return max(self._memory.not_before, self._no_start_before)

    def next_pass(self) -> float | None:
        """When the next pass may do something; ``None`` while the pool is as it should be."""
        is_short = self._is_short()
        if not is_short and (self._held or not (self._changed and surplus(self._totals, self._rules))):
            return None
        last = self._memory.last
        when = float("-inf") if last is None else last + self._rules.period
        # a surplus that cannot be retired is looked at once a period, not at each change
        return max(when, self.not_before if is_short else self._looked + self._rules.period)

    def decide(self, workers: Collection[Worker], now: float) -> Decision:
        """One pass, if it is time for one (BC-SCALE-06)."""
        if self._memory.rate > 1 and not self._is_short():
            self._memory = replace(self._memory, rate=1)
        when = self.next_pass()
        if when is None or now < when:
            return _NOTHING
        views = [worker.view() for worker in workers]
        decision, self._memory = decide(views, self._rules, self._capacity, self._memory, now)
        self._looked = now
        self._changed = decision != _NOTHING
        return decision

    def served(self) -> None:
        """A worker has accepted something: no series of young deaths goes on (BC-SCALE-12)."""
        if self._memory.young_deaths:
            self._memory = Memory(self._memory.rate, self._memory.last)

    def died_young(self, workers: Collection[Worker], now: float) -> None:
        """Delay all spawning, longer each time; a worker that has outlived its youth since breaks the series."""
        grown = now - self._rules.young
        if any(self._last_young_death < worker.spawned_at < grown for worker in workers):
            self.served()
        self._last_young_death = now
        self._memory = delayed(self._memory, self._rules, now)

    def could_not_start(self, now: float) -> None:
        """The system has no process for a worker: wait, longer each time. That others serve is no sign of better times,
        so it does not end this series as it ends that of young deaths.
        """
        delay = min(self._rules.young_delay * 2**self._failures, self._rules.young_delay_ceiling)
        self._failures = min(self._failures + 1, 64)
        self._no_start_before = now + delay

    def started(self) -> None:
        """A worker is there, so the system has processes."""
        self._failures = 0

    def _is_short(self) -> bool:
        return short(self._totals, self._rules, self._capacity)
