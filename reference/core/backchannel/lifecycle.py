"""The lives of workers: each is spawned, drained or killed here, and its deadlines are set here.

Every change of a worker's state is one :meth:`Lifecycle.step`, and a state that a worker may not be in for ever has its
deadline in :data:`DEADLINES`: so none can be forgotten, and none outlives its state. What a worker is told and what it
reports is the business of others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from .actions import Action, HalfClose, Kill, Note, Spawn
from .counters import Counters
from .deadlines import Deadlines
from .settings import Settings
from .slots import Slots, Worker
from .states import READING, SLOT, SlotEvent, SlotState

__all__ = ["DEADLINES", "Lifecycle"]

DEADLINES: Final = {
    SlotState.STARTING: ("start_deadline", SlotEvent.START_DEADLINE),
    SlotState.SUSPECT: ("silence_deadline", SlotEvent.SILENCE_DEADLINE),
    SlotState.DRAINING: ("drain_deadline", SlotEvent.DRAIN_DEADLINE),
    SlotState.LOST: ("exit_deadline", SlotEvent.EXIT_DEADLINE),
}
"""The setting that says how long a worker may be in a state, and what happens to it then: it is killed."""


@dataclass(slots=True, eq=False)
class Lifecycle:
    """The workers and their states."""

    _settings: Settings
    _deadlines: Deadlines
    _counters: Counters
    _actions: list[Action]
    _on_change: Callable[[Worker], None]
    """Called with each worker whose state has changed, but by :meth:`step` or :meth:`welcomed`."""
    ever_ready: int = 0
    """Workers that have ever become READY."""
    _slots: Slots = field(default_factory=Slots)

    @property
    def workers(self) -> dict[int, Worker]:
        """By slot."""
        return self._slots.workers

    def step(self, worker: Worker, event: SlotEvent, now: float) -> None:
        """Move the machine of ``worker``; whoever calls this tells of it, when all else has changed too. ``KeyError``:
        the event cannot happen in this state, which is a bug.
        """
        state = SLOT[worker.state][event]
        # an event that leaves a worker where it is does not prolong its stay: a hello does not put off start_deadline
        if state is not worker.state:
            worker.state_deadline.when = None
            worker.state = state
            self._set_deadline(worker, now)

    def _set_deadline(self, worker: Worker, now: float) -> None:
        if worker.state in DEADLINES:
            setting, _event = DEADLINES[worker.state]
            self._deadlines.set(worker.state_deadline, now + getattr(self._settings, setting))

    def spawn(self, generation: int, now: float) -> Worker:
        """Begin the life of a worker, in the smallest slot that is free."""
        worker = self._slots.add(now, generation)
        self._counters.spawned += 1
        self._set_deadline(worker, now)
        self._actions.append(Spawn(worker.slot))
        self._on_change(worker)
        return worker

    def welcomed(self, worker: Worker, now: float) -> None:
        """It has answered the welcome: it is READY (BC-HELLO-04)."""
        self.step(worker, SlotEvent.WELCOMED, now)
        worker.was_ready = True
        self.ever_ready += 1

    def drain(self, worker: Worker, now: float) -> None:
        """Half-close its channel: it is to serve what it holds, and exit (BC-DRAIN-01)."""
        self.step(worker, SlotEvent.DRAIN, now)
        worker.drained = True
        self._actions.append(HalfClose(worker.slot))
        self._on_change(worker)

    def drain_each(self, workers: Iterable[Worker], now: float) -> None:
        """Drain those of ``workers`` for whom it is neither too late nor done already."""
        for worker in workers:
            if worker.state in READING and worker.state is not SlotState.DRAINING:
                self.drain(worker, now)

    def suspect(self, worker: Worker, now: float) -> None:
        """It has not answered its ``order`` in time."""
        was_ready, order = worker.state is SlotState.READY, worker.order
        assert order is not None
        self.step(worker, SlotEvent.EXPIRED, now)
        if was_ready:  # one that is DRAINING goes anyway
            self.note(worker.slot, f"has not answered order {order.id} in time: suspect")
        self._on_change(worker)

    def lose(self, worker: Worker, now: float) -> None:
        """Its channel has ended (BC-CHAN-06): it can say nothing any more, and is expected to exit."""
        if worker.state in READING:
            self.step(worker, SlotEvent.EOF, now)
            self._on_change(worker)

    def kill(self, worker: Worker, event: SlotEvent, why: str, now: float, *, requirement: str | None = None) -> None:
        """Kill ``worker``; the state changes before the signal goes out (BC-KILL-01)."""
        self.step(worker, event, now)
        self._counters.kills += 1
        self.note(worker.slot, f"is killed: {why}", requirement)
        self._on_change(worker)
        self._actions.append(Kill(worker.slot))

    def kill_late(self, worker: Worker, now: float) -> SlotEvent:
        """The deadline of its state has passed. Returns which one that was."""
        setting, event = DEADLINES[worker.state]
        self.kill(worker, event, f"passed its {setting} of {getattr(self._settings, setting)} s", now)
        return event

    def exit(self, worker: Worker, now: float) -> None:
        """It has exited, or could not be started: its slot is free."""
        self.step(worker, SlotEvent.EXIT, now)
        self._on_change(worker)
        self._slots.remove(worker)

    def note(self, slot: int | None, text: str, requirement: str | None = None) -> None:
        """Have ``text`` logged, about the worker in ``slot`` if there is one."""
        self._actions.append(Note(slot, text, requirement))
