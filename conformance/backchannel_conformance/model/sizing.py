"""How many workers there should be: pure functions and a sizer that goes on pass by pass, from the specification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["NEVER", "Sizer", "growth", "room"]

NEVER: Final = float("-inf")
"""Before all times."""


def growth(start: int, most: int, min_spare: int, capacity: int) -> list[int]:
    """BC-SCALE-04 and BC-SCALE-05: the sizes of a pool whose workers all stay STARTING, pass by pass."""
    sizes, rate = [start], 1
    while (spare := sizes[-1] * capacity) < min_spare and sizes[-1] < most:
        lacking = -((spare - min_spare) // capacity)
        sizes.append(sizes[-1] + min(rate, lacking, most - sizes[-1]))
        rate = min(2 * rate, 32)
    return sizes


@dataclass
class Sizer:
    """Scaling, pass by pass (BC-SCALE-01 to BC-SCALE-12, BC-SCALE-14). ``rules`` are the ``[scaling]`` settings.

    :meth:`look` says what the pool needs, whatever the time. From when on that may be done and from when on it must
    have been is asked apart: the specification leaves some time between the two. ``prompt``: the parent does not wait
    for the tick of a clock (BC-SCALE-16). Without
    ``scales`` the pool has a fixed size, *start*, and the requirements of class *scaling* say nothing of it.
    """

    rules: Mapping[str, Any]
    capacity: int
    prompt: bool = True
    scales: bool = True
    rate: int = 1
    last: float = NEVER
    """When a pass acted."""
    last_maybe: float = NEVER
    """When something was done that a parent may take for an act: a step of a reload."""
    deaths: int = 0
    """Early exits in a row."""
    last_death: float = NEVER
    not_before: float = NEVER
    lifted: float = NEVER
    """What ``not_before`` was when a series ended."""
    hopeless_until: float = NEVER
    """As ``not_before``, but because a worker can never start (BC-SCALE-13)."""
    failures: int = 0
    """Workers in a row that could not be started."""
    no_start_before: float = NEVER
    short_since: float | None = None
    surplus_since: float | None = None

    @property
    def most(self) -> int:
        """The most workers that may count (BC-SCALE-08)."""
        most: int = self.rules["max" if self.scales else "start"]
        return most

    def copy(self) -> Sizer:
        """The same sizer, apart from this one."""
        other = Sizer.__new__(Sizer)
        other.__dict__.update(self.__dict__)
        return other

    # ----------------------------------------------------------------------------------- what delays spawning

    def could_not_start(self, now: float) -> None:
        """The system gave nothing to make a worker of (BC-SCALE-14)."""
        self.no_start_before = now + self._delay(self.failures)
        self.failures += 1

    def early_exit(self, now: float) -> None:
        """A worker exited early (BC-SCALE-12)."""
        self.last_death = now
        self.not_before = max(self.not_before, now + self._delay(self.deaths))
        self.deaths += 1

    def served(self) -> None:
        """The series of early exits is broken."""
        self.lifted = max(self.lifted, self.not_before)
        self.deaths, self.not_before, self.hopeless_until = 0, NEVER, NEVER

    def _delay(self, before: int) -> float:
        first: float = self.rules["early_exit_delay"]
        ceiling: float = self.rules["early_exit_delay_ceiling"]
        return min(first * 2.0 ** min(before, 64), ceiling)

    @property
    def delayed_until(self) -> float:
        """No worker may be spawned before."""
        return max(self.not_before if self.scales else self.hopeless_until, self.no_start_before)

    # ------------------------------------------------------------------------------------------ what is needed

    def look(self, now: float, pool: Sequence[Mapping[str, Any]]) -> tuple[int, int | None]:
        """How many workers to spawn, or the slot to retire, as soon as that may be done."""
        rules = self.rules
        count = [worker for worker in pool if worker["state"] != "DRAINING"]
        ready = [worker for worker in pool if worker["state"] == "READY"]
        starting = sum(worker["state"] == "STARTING" for worker in pool)
        spare = sum(map(room, ready))
        by_spare = -(-(rules["min_spare"] - spare - starting * self.capacity) // self.capacity)
        lacking = max(rules["min"] - len(count), by_spare, 0)
        left = rules["max"] - len(count)
        spawn = min(self.rate, lacking, left) if lacking > 0 and left > 0 else 0
        if not spawn:
            self.rate = 1  # even in a pass that may not act yet (BC-SCALE-05)
        retire = None
        if not spawn and spare > rules["max_spare"] and len(count) > rules["min"]:
            victim = min(ready, key=lambda worker: (worker["open"] + worker["reserved"], -worker["slot"]))
            if len(pool) - len(count) < rules["max_draining"] and spare - room(victim) >= rules["min_spare"]:
                retire = victim["slot"]
        self.short_since = _since(self.short_since, now, spawn > 0)
        self.surplus_since = _since(self.surplus_since, now, retire is not None)
        return spawn, retire

    def replace(self, now: float, pool: Sequence[Mapping[str, Any]]) -> int:
        """How many workers a pool of fixed size lacks (BC-SCALE-11).

        One that drains may be replaced at once, or when it has exited (BC-SCALE-15).
        """
        size: int = self.rules["start"]
        missing = size - len(pool)
        self.short_since = _since(self.short_since, now, missing > 0)
        if missing > 0 and now >= self.must_spawn:
            return missing
        counting = [worker for worker in pool if worker["state"] != "DRAINING"]
        return max(0, size - len(counting))

    def spawned(self, now: float) -> None:
        """The pool was short, and a pass has acted."""
        self.rate, self.last = min(2 * self.rate, self.rules["spawn_rate_ceiling"]), now
        self.short_since = None

    def retired(self, now: float) -> None:
        """A pass has acted."""
        self.last, self.surplus_since = now, None

    # ------------------------------------------------------------------------------------------------ and when

    @property
    def _pass(self) -> float:
        period: float = self.rules["pass"]
        return period

    @property
    def may_act(self) -> float:
        """Before this, no pass may act (BC-SCALE-06)."""
        return self.last + self._pass

    @property
    def must_act(self) -> float:
        """From this on, a pass may not refer to another one before it."""
        return max(self.last, self.last_maybe) + self._pass

    @property
    def may_spawn(self) -> float:
        """From when on a short pool may have a worker."""
        return max(self.may_act, self.delayed_until) if self.scales else self.delayed_until

    @property
    def must_spawn(self) -> float:
        """From when on a short pool must have had one; a parent with a clock may wait for its tick (BC-SCALE-16)."""
        if self.prompt and self.scales:
            return max(self.must_act, self.delayed_until)
        since = float("inf") if self.short_since is None else self.short_since
        # only scaling has vectors that say that the end of a series ends its delay at once
        lifted = NEVER if self.scales else self.lifted
        return max(self.must_act, self.not_before, self.delayed_until, lifted, since + self._pass)

    @property
    def must_retire(self) -> float:
        """From when on a surplus must have been seen: not at each report (BC-SCALE-16), but once a *pass*."""
        since = NEVER if self.surplus_since is None else self.surplus_since
        return max(self.must_act, since + self._pass)

    def turn(self, now: float, pool: Sequence[Mapping[str, Any]]) -> tuple[int, int | None]:
        """One pass that acts as soon as it may: how many to spawn, and the slot to retire."""
        spawn, retire = self.look(now, pool)
        if spawn and now >= self.may_spawn:
            self.spawned(now)
            return spawn, None
        if retire is not None and now >= self.may_act:
            self.retired(now)
            return 0, retire
        return 0, None


def _since(before: float | None, now: float, holds: bool) -> float | None:
    if not holds:
        return None
    return now if before is None else before


def room(worker: Mapping[str, Any]) -> int:
    """What it could still be given."""
    return max(0, int(worker["capacity"] - worker["open"] - worker["reserved"]))
