"""The workers' lives: who is in the pool, since when, until when.

A worker is spawned, drained or killed here, and its deadlines run here. What it is told and what it reports is the
business of the modules that build on this one: :mod:`backchannel.dispatch`, and :mod:`backchannel.parent`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from .actions import Action, HalfClose, Kill, Note, Spawn
from .backlog import Ledger
from .candidates import Candidates
from .deadlines import Deadline, Deadlines, Kind
from .frames import FRAME_SIZE
from .reload import Generations
from .settings import Scaling, Settings
from .sizing import Sizing
from .slots import Slots, Worker
from .states import ParentEvent, PoolState, State

__all__ = ["READING", "Counters", "Roster"]

READING: Final = frozenset({State.STARTING, State.READY, State.SUSPECT, State.DRAINING})
"""States in which a channel's bytes are believed."""


@dataclass(slots=True)
class Counters:
    """What happened since the start. ``orders`` to ``dead`` and ``late`` count connections, not orders.

    orders = accepted + voids + short + dead + what is under way; ``late`` ones are among the ``voids``.
    """

    orders: int = 0
    probes: int = 0
    accepted: int = 0
    late: int = 0
    voids: int = 0
    short: int = 0
    dead: int = 0
    spawned: int = 0
    deaths: int = 0
    kills: int = 0
    retired: int = 0


class Roster:
    """The table of workers, and all that must change when one of them does.

    All of the parent's state is in here, that of the two classes above it too: there is one place to look.
    """

    message_size = FRAME_SIZE
    """Octets of what a worker writes at a time."""

    def __init__(self, settings: Settings, scaling: Scaling, listeners: int = 1, *, standby: bool = False) -> None:
        self.settings = settings
        self.rules = scaling
        self.counters = Counters()
        self.workers: dict[int, Worker] = {}
        self.state = PoolState.STANDBY if standby else PoolState.RUNNING
        self.generations = Generations()
        self.ledgers = [Ledger() for _ in range(listeners)]
        self._candidates = Candidates(settings.policy, self.workers)
        self._deadlines = Deadlines(self._due)
        self._slots = Slots()
        self._serials = itertools.count(1)
        self._sizing = Sizing(scaling, settings.capacity)
        self._fallen_short: set[Worker] = set()
        self._voids_in_row = 0
        self._turn = 0
        self._actions: list[Action] = []
        self._now = 0.0
        self.edges = False
        """Each arrival makes an event, and counts are exact: the shell says so, if its watch is such a one."""
        self.greeted = 0
        """Workers that have ever become READY."""
        self._gave_up = False
        self._failed_spawns = (0, "")

    @property
    def octets_per_turn(self) -> int:
        """How much may be read from one channel before all others have had their turn (BC-CHAN-09)."""
        return self.settings.frames_per_turn * self.message_size

    # -------------------------------------------------------------------------------------------------- a worker's life

    def _spawn(self, now: float) -> Worker:
        slot = self._slots.take()
        self.counters.spawned += 1
        worker = Worker(slot, next(self._serials), now, self.generations.current)
        self.workers[slot] = worker
        self._sizing.add(worker)
        self._add_deadline(worker, Kind.START, self.settings.start_deadline)
        self._actions.append(Spawn(slot))
        return worker

    def _became_ready(self, worker: Worker) -> None:
        worker.was_ready = True
        self.greeted += 1

    def _drain(self, worker: Worker) -> None:
        worker.step(ParentEvent.DRAIN)
        worker.drained = True
        self._add_deadline(worker, Kind.DRAIN, self.settings.drain_deadline)
        self._actions.append(HalfClose(worker.slot))
        self._refresh(worker)

    def _drain_some(self, workers: Iterable[Worker]) -> None:
        for worker in workers:
            if worker.state in READING and worker.state is not State.DRAINING:
                self._drain(worker)

    def _kill(
        self, worker: Worker, event: ParentEvent, text: str, requirement: str | None = None, *, young: bool = True
    ) -> None:
        """Kill ``worker``; the state changes before the signal goes out (BC-KILL-01)."""
        worker.step(event)
        self.counters.kills += 1
        self._note(worker.slot, f"is killed: {text}", requirement)
        self._drop_order(worker)
        self._refresh(worker)
        self._actions.append(Kill(worker.slot))
        if young and not worker.accepted and event in (ParentEvent.START_DEADLINE, ParentEvent.VIOLATION):
            self._died_young()

    def _drop_order(self, worker: Worker) -> None:
        """An order that can no longer be answered ends; what it covered may be ordered again (BC-DEATH-02)."""
        order, worker.order = worker.order, None
        if order is None or not order.max:
            return
        self.ledgers[order.listener].ended(order)
        if not order.void:
            self.counters.dead += order.max

    def _forget(self, worker: Worker) -> None:
        self._candidates.refresh(worker)
        self._fallen_short.discard(worker)
        self._sizing.remove(worker)
        if self.generations.active:
            self.generations.refresh(worker)
            self.generations.changed = True
        del self.workers[worker.slot]
        self._slots.give_back(worker.slot)

    def _died_young(self) -> None:
        self._sizing.died_young(self.workers.values(), self._now)

    def _refresh(self, worker: Worker) -> None:
        """``worker`` has changed: bring the candidates and the totals up to date."""
        nobody = not self._candidates.count
        self._candidates.refresh(worker)
        if nobody and self._candidates.count and not self.edges:
            # no watch was armed (BC-WATCH-05): who waits is known of none of the listeners (BC-WATCH-03)
            for ledger in self.ledgers:
                ledger.dirty = True
        self._sizing.refresh(worker)
        if self.generations.active:
            self.generations.refresh(worker)

    def _note(self, slot: int | None, text: str, requirement: str | None = None) -> None:
        self._actions.append(Note(slot, text, requirement))

    # -------------------------------------------------------------------------------------------------------- deadlines

    def _add_deadline(self, worker: Worker, kind: Kind, after: float) -> None:
        when = self._now + after
        if kind is Kind.REST:
            worker.rests_until = when
        else:
            worker.state_until = when
        self._deadlines.add(when, Deadline(kind, worker.slot, worker.serial))

    def _due(self, deadline: Deadline, when: float) -> float | None:
        """When ``deadline``, which was set for ``when``, passes by now; ``None`` if it does not matter any more."""
        kind = deadline.kind
        if kind is Kind.STOP:
            return when if self.state is PoolState.STOPPING else None
        if kind is Kind.LISTENER_REST:
            ledger = self.ledgers[deadline.subject]
            return when if ledger.resting and when == ledger.rests_until else None
        worker = self.workers.get(deadline.subject)
        if worker is None or worker.serial != deadline.token:
            return None
        if kind is Kind.ORDER:
            if when != worker.deadline_at:
                return None  # an earlier entry stands for it
            order = worker.order
            worker.deadline_at = 0.0 if order is None or order.void else order.deadline
            return worker.deadline_at or None
        if kind is Kind.REST:
            return when if worker.resting and when == worker.rests_until else None
        # a worker may be in this state for the second time: then the entry of the first means nothing any more
        return when if worker.state is _DEADLINE_STATE[kind] and when == worker.state_until else None

    def _late(self, worker: Worker, kind: Kind) -> None:
        """A deadline of ``worker`` has passed."""
        if kind is Kind.REST:
            worker.resting = False
            self._refresh(worker)
        elif kind is Kind.ORDER:
            worker.deadline_at = 0.0
            self._void(worker)
        else:
            after = getattr(self.settings, kind.value)
            self._kill(worker, _DEADLINE_EVENT[kind], f"passed its {kind.value} of {after} s")

    def _void(self, worker: Worker) -> None:
        order = worker.order
        assert order is not None
        order.void = True
        self._voids_in_row += 1
        self.counters.voids += order.max
        worker.voids += order.max
        if order.max:
            self.ledgers[order.listener].voided(order)
        was_ready = worker.state is State.READY
        worker.step(ParentEvent.VOID)
        if was_ready:
            self._note(worker.slot, f"has not answered order {order.id} in time: suspect")
            self._add_deadline(worker, Kind.SILENCE, self.settings.silence_deadline)
        self._refresh(worker)


_DEADLINE_STATE: Final = {
    Kind.START: State.STARTING,
    Kind.SILENCE: State.SUSPECT,
    Kind.DRAIN: State.DRAINING,
    Kind.EXIT: State.LOST,
}

_DEADLINE_EVENT: Final = {
    Kind.START: ParentEvent.START_DEADLINE,
    Kind.SILENCE: ParentEvent.SILENCE_DEADLINE,
    Kind.DRAIN: ParentEvent.DRAIN_DEADLINE,
    Kind.EXIT: ParentEvent.EXIT_DEADLINE,
}
