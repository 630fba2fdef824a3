"""How many workers there should be: one pure function, :func:`decide`.

It takes the pool as it is, the rules, what the last pass remembered and the time, and returns what to do and what to
remember: the same in, the same out (BC-RULE-01). The unit is spare capacity, so that the same rules serve capacity 1
(where it counts idle workers, as Apache does) and event-based workers.

:func:`short` and :func:`surplus` are the two questions a pass asks. They take sums, so that a parent that keeps the
sums up to date can ask them on every turn, and calls :func:`decide` only when the answer is yes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .settings import Scaling
from .states import State

__all__ = ["Decision", "Memory", "Totals", "WorkerView", "decide", "delayed", "short", "surplus"]


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker, as far as scaling looks at it."""

    slot: int
    state: State
    open: int = 0
    capacity: int = 0
    reserved: int = 0

    @property
    def load(self) -> int:
        """Connections held or promised."""
        return self.open + self.reserved

    @property
    def room(self) -> int:
        """Connections it could still be given."""
        return max(0, self.capacity - self.load)


@dataclass(slots=True)
class Totals:
    """Sums over the pool."""

    counting: int = 0
    """All workers but those DRAINING (BC-SCALE-03)."""
    starting: int = 0
    draining: int = 0
    room: int = 0
    """Room of READY workers."""

    def add(self, state: State, room: int, sign: int = 1) -> None:
        """Count a worker in, or out with ``sign`` -1."""
        if state is State.DRAINING:
            self.draining += sign
            return
        self.counting += sign
        if state is State.STARTING:
            self.starting += sign
        elif state is State.READY:
            self.room += sign * room


@dataclass(frozen=True, slots=True)
class Memory:
    """What one pass leaves to the next."""

    rate: int = 1
    last: float | None = None
    """When a pass last did something."""
    young_deaths: int = 0
    """In a row (BC-SCALE-12)."""
    not_before: float = float("-inf")
    """No spawning before this time."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What a pass does: spawn so many workers, or drain the one in ``retire``."""

    spawn: int = 0
    retire: int | None = None


def spare(totals: Totals, capacity: int) -> int:
    """Spare for spawning (BC-SCALE-02)."""
    return totals.room + totals.starting * capacity


def lacking(totals: Totals, rules: Scaling, capacity: int) -> int:
    """Workers that the pool lacks, whatever ``max`` and the spawn rate say (BC-SCALE-04)."""
    spared = spare(totals, capacity)
    by_spare = -((spared - rules.min_spare) // capacity) if spared < rules.min_spare else 0
    return max(rules.min - totals.counting, by_spare, 0)


def short(totals: Totals, rules: Scaling, capacity: int) -> bool:
    """Whether the pool has fewer workers than it should and may have more (BC-SCALE-03)."""
    return totals.counting < rules.max and (totals.counting < rules.min or spare(totals, capacity) < rules.min_spare)


def surplus(totals: Totals, rules: Scaling) -> bool:
    """Whether a worker may be retired, as far as the sums tell (BC-SCALE-07)."""
    return totals.room > rules.max_spare and totals.counting > rules.min and totals.draining < rules.max_draining


def decide(
    pool: Sequence[WorkerView], rules: Scaling, capacity: int, memory: Memory, now: float
) -> tuple[Decision, Memory]:
    """One pass. ``capacity`` is the configured one, expected of workers that are STARTING."""
    totals = Totals()
    for worker in pool:
        totals.add(worker.state, worker.room)
    is_short = short(totals, rules, capacity)
    if not is_short:
        memory = replace(memory, rate=1)
    if memory.last is not None and now < memory.last + rules.period:
        return Decision(), memory
    if is_short:
        if now < memory.not_before:
            return Decision(), memory
        count = min(memory.rate, lacking(totals, rules, capacity), rules.max - totals.counting)
        rate = min(memory.rate * 2, rules.spawn_rate_ceiling)
        return Decision(spawn=count), replace(memory, rate=rate, last=now)
    if surplus(totals, rules):
        ready = [worker for worker in pool if worker.state is State.READY]
        victim = min(ready, key=lambda worker: (worker.load, -worker.slot))
        if totals.room - victim.room >= rules.min_spare:
            return Decision(retire=victim.slot), replace(memory, last=now)
    return Decision(), memory


def delayed(memory: Memory, rules: Scaling, now: float) -> Memory:
    """``memory`` after one more young death: all spawning waits, longer each time (BC-SCALE-12)."""
    delay = min(rules.young_delay * 2**memory.young_deaths, rules.young_delay_ceiling)
    return replace(
        memory,
        young_deaths=min(memory.young_deaths + 1, 64),
        not_before=max(memory.not_before, now + delay),
    )
