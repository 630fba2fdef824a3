"""A reload: every worker is replaced by a new one, which is ready before the old one drains (BC-RELOAD-01).

Each worker belongs to a generation, and a reload begins the next one. A *newcomer* is a worker that the reload has
spawned; while it is STARTING, and until it has replaced an old worker, it counts above *max* (BC-RELOAD-03). Rolling
means one newcomer at a time; at once means one for each old worker, and a change of guard when all are ready.

Nothing here is on the path of a connection: while no reload is under way, :attr:`Generations.active` is all that is
looked at.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from .slots import Worker
from .states import State

__all__ = ["Generations", "Step"]

_COUNTING = frozenset({State.STARTING, State.READY, State.SUSPECT})


@dataclass(frozen=True, slots=True)
class Step:
    """What a pass of a reload does: spawn so many newcomers, drain these workers; the reload may be over then."""

    spawn: int = 0
    drain: list[Worker] = field(default_factory=list)
    over: bool = False


class Generations:
    """The newest generation, and the reload that leads to it."""

    def __init__(self) -> None:
        self.current = 1
        self.active = False
        self.changed = False
        """A pass may find something to do."""
        self.waiting = False
        """The next newcomer is delayed by young deaths (BC-SCALE-12)."""
        self._at_once = False
        self._starting: set[Worker] = set()
        self._ready: set[Worker] = set()
        """Newcomers that are READY and have replaced nobody yet."""

    def begin(self, *, at_once: bool) -> list[Worker]:
        """Begin the next generation. Returns newcomers of a reload that is cut short by this one: they have replaced
        nobody, and are drained (BC-RELOAD-07).
        """
        surplus = self._end()
        self.current += 1
        self.active = self.changed = True
        self._at_once = at_once
        return surplus

    def give_up(self) -> list[Worker]:
        """The new generation cannot start. Returns newcomers to drain (BC-RELOAD-05)."""
        return self._end()

    def _end(self) -> list[Worker]:
        surplus = sorted(self._starting | self._ready, key=lambda worker: worker.slot)
        self._starting.clear()
        self._ready.clear()
        self.active = False
        return surplus

    def welcome(self, worker: Worker) -> None:
        """``worker`` has just been spawned as a newcomer."""
        self._starting.add(worker)

    def refresh(self, worker: Worker) -> None:
        """``worker`` may have changed its state."""
        # one that is LOST is about to exit: how it exits tells whether there is any use in another (BC-RELOAD-05)
        if worker in self._starting and worker.state not in (State.STARTING, State.LOST):
            self._starting.discard(worker)
            self.changed = True
            if worker.state is State.READY:
                self._ready.add(worker)
        elif worker in self._ready and worker.state not in _COUNTING:
            self._ready.discard(worker)

    def step(self, workers: Collection[Worker], *, may_spawn: bool) -> Step:
        """One pass."""
        self.changed = False
        old = [worker for worker in workers if worker.generation < self.current and worker.state in _COUNTING]
        drain: list[Worker] = []
        if not self._at_once or (not self._starting and len(self._ready) >= len(old)):
            # as in BC-SCALE-07, and for its reason: least is lost where least is held
            old.sort(key=lambda worker: (worker.open + worker.reserved, -worker.slot))
            drain = old[: len(self._ready)]
            self._ready.clear()
        if len(drain) == len(old):
            self.active = bool(self._starting)
            return Step(drain=drain, over=not self.active)
        lacking = self._lacking(len(old) - len(drain))
        self.waiting = lacking > 0 and not may_spawn
        return Step(lacking if may_spawn else 0, drain)

    def _lacking(self, old: int) -> int:
        if self._at_once:
            return max(0, old - len(self._starting) - len(self._ready))
        return 1 if old and not self._starting and not self._ready else 0
