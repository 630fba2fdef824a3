"""A reload: every worker is replaced by a new one, which is ready before the old one drains (BC-RELOAD-01).

Each worker belongs to a generation, and a reload begins the next one. A *newcomer* is a worker that the reload has
spawned; while it is STARTING, and until it has replaced an old worker, it counts above *max* (BC-RELOAD-03). Rolling
means one newcomer at a time; at once means one for each old worker, and a change of guard when all are ready.

Nothing here is on the path of a connection: while no reload is under way, :attr:`Reload.active` is all that is looked
at.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from .actions import Action, Reloaded
from .lifecycle import Lifecycle
from .sizing import Sizing
from .slots import Worker
from .states import SlotState

__all__ = ["Reload"]

_COUNTING: Final = frozenset({SlotState.STARTING, SlotState.READY, SlotState.SUSPECT})


@dataclass(slots=True, eq=False)
class Reload:
    """The newest generation, and the reload that leads to it."""

    _lives: Lifecycle
    _sizing: Sizing
    _actions: list[Action]
    current: int = 1
    """The newest generation: new workers are of this one."""
    active: bool = False
    """A reload is under way."""
    due: bool = False
    """A pass may find something to do."""
    waiting: bool = False
    """The next newcomer is delayed by early exits (BC-SCALE-12)."""
    untold: bool = False
    """The last one is over, but an old worker may still accept what it was ordered to: see :meth:`tell`."""
    _at_once: bool = False
    _starting: set[Worker] = field(default_factory=set)
    _ready: set[Worker] = field(default_factory=set)
    """Newcomers that are READY and have replaced no worker yet."""

    def begin(self, now: float, *, at_once: bool) -> None:
        """Begin the next generation. Newcomers of a reload that this one cuts short have replaced no worker, and are
        drained (BC-RELOAD-07).
        """
        surplus = self._end()
        self.current += 1
        self.active = self.due = True
        self.untold = False
        self._at_once = at_once
        self._sizing.hold(True)
        self._lives.drain_each(surplus, now)

    def fail(self, why: str, now: float) -> None:
        """The new generation cannot start: the old one goes on (BC-RELOAD-05)."""
        self._lives.drain_each(self._end(), now)
        self._sizing.hold(False)
        self._actions.append(Reloaded(self.current, why))

    def abandon(self) -> None:
        """All workers are to go: there is none to replace any more."""
        self._end()
        self.untold = False

    def _end(self) -> list[Worker]:
        """End it. Returns newcomers that have replaced no worker."""
        surplus = sorted(self._starting | self._ready, key=lambda worker: worker.slot)
        self._starting.clear()
        self._ready.clear()
        self.active = self.waiting = False
        return surplus

    def tell(self) -> None:
        """Say that it is over, now that no old worker has an order: whoever connects from now on is served by new
        code. A worker whose order has expired is not waited for: it may be silent for long.
        """
        for worker in self._lives.workers.values():
            if worker.generation < self.current and worker.order is not None and not worker.order.expired:
                return
        self.untold = False
        self._actions.append(Reloaded(self.current))

    def changed(self, worker: Worker) -> None:
        """``worker`` may have changed its state, or has exited."""
        # one that is LOST is about to exit: how it exits tells whether there is any use in another (BC-RELOAD-05)
        if worker in self._starting and worker.state not in (SlotState.STARTING, SlotState.LOST):
            self._starting.discard(worker)
            self.due = True
            if worker.state is SlotState.READY:
                self._ready.add(worker)
        elif worker in self._ready and worker.state not in _COUNTING:
            self._ready.discard(worker)
        if worker.state not in _COUNTING:
            self.due = True  # an old worker less to replace, or a newcomer less to wait for

    def next_step(self) -> float | None:
        """When :meth:`proceed` has something to do although nothing has changed."""
        return self._sizing.not_before if self.waiting else None

    def proceed(self, now: float) -> None:
        """Go on with it, in each pass. There is nothing to do unless something has changed, or spawning was delayed and
        no longer is.
        """
        may_spawn = now >= self._sizing.not_before
        if not self.due and not (self.waiting and may_spawn):
            return
        self.due = self.waiting = False
        workers = self._lives.workers.values()
        old = [worker for worker in workers if worker.generation < self.current and worker.state in _COUNTING]
        drain: list[Worker] = []
        # all at once: no worker is drained before the whole new generation is READY (BC-RELOAD-09)
        if not self._at_once or (not self._starting and len(self._ready) >= len(old)):
            # as in BC-SCALE-27, and for its reason: least is lost where least is held
            old.sort(key=lambda worker: (worker.open + worker.reserved, -worker.slot))
            drain = old[: len(self._ready)]
            self._ready.clear()
        self._lives.drain_each(drain, now)
        if len(drain) == len(old):
            self.active = bool(self._starting)  # its last newcomer is still to come, and may fail
            if not self.active:
                self._sizing.hold(False)
                self.untold = True
            return
        left = len(old) - len(drain)
        # one that was killed counts until it has exited, and may do so after the delay of its successor (BC-RELOAD-03)
        lacking = min(self._lacking(left), self._sizing.may_add(left))
        self.waiting = lacking > 0 and not may_spawn
        if may_spawn:
            for _ in range(lacking):
                self._starting.add(self._lives.spawn(self.current, now))

    def _lacking(self, old: int) -> int:
        if self._at_once:
            return max(0, old - len(self._starting) - len(self._ready))
        return 1 if old and not self._starting and not self._ready else 0
