"""How many workers there should be, and when to ask.

:func:`decide` is one pass, as a pure function: it takes the pool as it is, the rules, what the last pass remembered and
the time, and returns what to do and what to remember (BC-RULE-01). The unit is spare capacity, so that the same rules
serve capacity 1 (where it counts idle workers, as Apache does) and event-based workers.

:class:`Sizing` is the pool over time. Every order and every answer changes the pool's spare room, so it keeps the sums
up to date rather than take them anew, and looks at single workers only when the sums say that the pool is short or has
too much. A pool that is as it should be sets no timer: a parent with nothing to do does not wake (BC-WAIT-03).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from .settings import Scaling
from .slots import Worker
from .states import SlotState

__all__ = ["Decision", "Memory", "Sizing", "Totals", "WorkerView", "decide", "delayed", "short", "surplus"]


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker, as far as scaling looks at it."""

    slot: int
    state: SlotState
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

    def add(self, state: SlotState, room: int, sign: int = 1) -> None:
        """Count a worker in, or out with ``sign`` -1."""
        if state is SlotState.EXITED:
            return
        if state is SlotState.DRAINING:
            self.draining += sign
            return
        self.counting += sign
        if state is SlotState.STARTING:
            self.starting += sign
        elif state is SlotState.READY:
            self.room += sign * room


@dataclass(frozen=True, slots=True)
class Memory:
    """What one pass leaves to the next."""

    rate: int = 1
    last: float | None = None
    """When a pass last did something."""
    early_exits: int = 0
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
        memory = replace(memory, rate=1)  # even in a pass that comes too early to act (BC-SCALE-05)
    if memory.last is not None and now < memory.last + rules.period:
        return Decision(), memory
    if is_short:
        if now < memory.not_before:
            return Decision(), memory  # workers exit early: another would, too (BC-SCALE-12)
        count = min(memory.rate, lacking(totals, rules, capacity), rules.max - totals.counting)
        rate = min(memory.rate * 2, rules.spawn_rate_ceiling)
        return Decision(spawn=count), replace(memory, rate=rate, last=now)
    if surplus(totals, rules):
        ready = [worker for worker in pool if worker.state is SlotState.READY]
        # least is lost where least is held; of those, the highest, so that the pool keeps to the low slots
        victim = min(ready, key=lambda worker: (worker.load, -worker.slot))
        # a large worker may take more with it than can be spared: the pool would be short at once, and spawn
        if totals.room - victim.room >= rules.min_spare:
            return Decision(retire=victim.slot), replace(memory, last=now)
    return Decision(), memory


def delayed(memory: Memory, rules: Scaling, now: float) -> Memory:
    """``memory`` after one more early exit: all spawning waits, longer each time (BC-SCALE-12)."""
    delay = min(rules.early_exit_delay * 2**memory.early_exits, rules.early_exit_delay_ceiling)
    return replace(
        memory,
        early_exits=min(memory.early_exits + 1, 64),
        not_before=max(memory.not_before, now + delay),
    )


_NOTHING: Final = Decision()


@dataclass(slots=True, eq=False)
class Sizing:
    """Passes over the workers, and the delays after early exits and failed starts."""

    _rules: Scaling
    _capacity: int
    """What a worker is expected to have while it is STARTING."""
    _workers: Mapping[int, Worker]
    _totals: Totals = field(default_factory=Totals)
    _memory: Memory = field(default_factory=Memory)
    _looked: float = float("-inf")
    """When a pass last looked at single workers."""
    _changed: bool = True
    """Something has, since that pass found nothing to do."""
    _last_early_exit: float = float("-inf")
    _held: bool = False
    """Nobody is retired: a reload is under way."""
    _failures: int = 0
    """Workers in a row that could not be started."""
    _why: str = ""
    _no_start_before: float = float("-inf")

    def changed(self, worker: Worker) -> None:
        """``worker`` is new, or may have changed, or has exited."""
        state = worker.state
        if worker.drained and state is not SlotState.EXITED:
            # until it has exited (BC-SCALE-03): between the end of its channel and its exit it would count otherwise,
            # and another would be retired in its stead
            state = SlotState.DRAINING
        before, counted = worker.counted, (state, worker.room)
        if counted != before:
            if state is SlotState.READY is before[0]:
                self._totals.room += counted[1] - before[1]  # what every order and every answer does
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

    def may_add(self, above: int) -> int:
        """How many more workers may count, if ``above`` more than *max* may (BC-SCALE-08, BC-RELOAD-03)."""
        return max(0, self._rules.max + above - self._totals.counting)

    def next_pass(self) -> float | None:
        """When the next pass may do something; ``None`` while the pool is as it should be."""
        is_short = self._is_short()
        if not is_short and (self._held or not (self._changed and surplus(self._totals, self._rules))):
            return None
        last = self._memory.last
        when = float("-inf") if last is None else last + self._rules.period
        # a surplus that cannot be retired is looked at once a period, not at each change
        return max(when, self.not_before if is_short else self._looked + self._rules.period)

    def decide(self, now: float) -> Decision:
        """One pass, if it is time for one (BC-SCALE-06)."""
        if self._memory.rate > 1 and not self._is_short():
            self._memory = replace(self._memory, rate=1)  # it would, in each pass that looks (BC-SCALE-05)
        when = self.next_pass()
        if when is None or now < when:
            return _NOTHING
        views = [_view(worker) for worker in self._workers.values()]
        decision, self._memory = decide(views, self._rules, self._capacity, self._memory, now)
        self._looked = now
        self._changed = decision != _NOTHING
        return decision

    def served(self) -> None:
        """A worker has accepted something: no series of early exits goes on (BC-SCALE-12)."""
        if self._memory.early_exits:
            self._memory = Memory(self._memory.rate, self._memory.last)

    def lived(self, worker: Worker, now: float) -> None:
        """``worker`` has lived until now. If it was spawned after the last early exit and has outlived *early_exit*, no
        series of early exits goes on (BC-SCALE-12).
        """
        if self._last_early_exit < worker.spawned_at < now - self._rules.early_exit:
            self.served()

    def exited_early(self, now: float) -> None:
        """Delay all spawning, longer each time."""
        for worker in self._workers.values():
            self.lived(worker, now)
        self._last_early_exit = now
        self._memory = delayed(self._memory, self._rules, now)

    def could_not_start(self, why: str, now: float) -> bool:
        """The system has no process for a worker: wait, longer each time. Returns whether ``why`` is news.

        That others serve is no sign of better times, so it does not end this series as it ends that of early exits.
        """
        delay = min(self._rules.early_exit_delay * 2 ** min(self._failures, 64), self._rules.early_exit_delay_ceiling)
        self._failures += 1
        self._no_start_before = now + delay
        news, self._why = why != self._why, why
        return news

    def started(self) -> int:
        """A worker is there, so the system has processes. Returns how many could not be started before it."""
        failures, self._failures, self._why = self._failures, 0, ""
        return failures

    def _is_short(self) -> bool:
        return short(self._totals, self._rules, self._capacity)


def _view(worker: Worker) -> WorkerView:
    return WorkerView(worker.slot, worker.counted[0], worker.open, worker.capacity, worker.reserved)
