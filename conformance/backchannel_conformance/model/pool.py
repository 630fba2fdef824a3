"""The workers and the listeners as one parent knows them, and the steps that touch more than one of them.

Each step changes the state and puts what must follow into :attr:`Pool.due`. Whoever decides on a step is elsewhere:
``reports`` (what a worker wrote), ``dispatch`` (orders), ``reload``, and ``parent`` (time, deaths, the machine).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .actions import Action, Deviation, Due
from .sizing import Sizer
from .workers import READING, Backlog, Order, Worker

__all__ = ["Pool", "check"]


class Pool:
    """What a parent knows."""

    def __init__(
        self,
        settings: dict[str, Any],
        rules: dict[str, Any],
        listeners: int,
        *,
        strict: bool,
        prompt: bool,
        scales: bool,
    ) -> None:
        self.settings = settings
        self.workers: dict[int, Worker] = {}
        self.backlogs = [Backlog() for _ in range(listeners)]
        self.sizer = Sizer(rules, settings["capacity"], prompt, scales)
        self.due = Due(strict=strict)
        self.now = 0.0
        self.turn = 0
        """The listener that comes first (BC-PICK-04)."""
        self.expired = 0
        """Orders in a row that have expired, in the whole pool (BC-SILENT-02)."""
        self.was_ready = False
        """A worker of the pool has been READY (BC-SCALE-13)."""
        self.gave_up = False
        self.forgives_everybody = False
        """When all workers that may be chosen were passed over, so is nobody any more, chosen or not (BC-SHORT-01)."""
        self.generation = 0
        self.reloading = False
        self.at_once = False

    def copy(self) -> Pool:
        """The same, apart from this one. Settings and rules are shared: nobody changes them."""
        other = Pool.__new__(Pool)
        other.__dict__.update(self.__dict__)
        other.workers = {slot: worker.copy() for slot, worker in self.workers.items()}
        other.backlogs = [backlog.copy() for backlog in self.backlogs]
        other.sizer, other.due = self.sizer.copy(), self.due.copy()
        return other

    def views(self) -> list[dict[str, Any]]:
        """All workers, as the vectors have them."""
        return [worker.view(self.now) for worker in self.workers.values()]

    def step(self, worker: Worker, event: str) -> None:
        """``worker`` moves by the table."""
        worker.step(event, self.now, self.settings)

    # ---------------------------------------------------------------------------------------------- orders

    def send(
        self, worker: Worker, listener: int, most: int, *, again: bool = False, clause: str, expect: bool = True
    ) -> None:
        """An ACCEPT goes out."""
        due = None
        if worker.state != "STARTING":  # the welcome cannot expire (BC-SILENT-01)
            doublings = min(self.expired, self.settings["order_deadline_doublings"])
            due = self.now + self.settings["order_deadline"] * 2**doublings
        worker.last_order = worker.next_order
        worker.order = Order(worker.last_order, listener, most, again, due)
        if expect:
            self.due.then()
            self.due.add(Action("Send", worker.slot, worker.last_order, listener, most, clause=clause))

    def expire(self, worker: Worker) -> None:
        """The deadline of its order has passed (BC-SILENT-01)."""
        order = worker.order
        assert order is not None
        order.expired = True
        self.expired += 1
        if order.max:
            self._no_longer_in_flight(order)
            self.backlogs[order.listener].owed += order.max
            self.backlogs[order.listener].look_again()
        self.step(worker, "expired")

    def end_order(self, worker: Worker, *, filled: bool = False) -> None:
        """Its order has been answered, or never will be (BC-ROOM-02)."""
        order, worker.order = worker.order, None
        if order is None or not order.max:
            return
        backlog = self.backlogs[order.listener]
        if order.expired:
            backlog.owed = max(0, backlog.owed - order.max)
            backlog.look_again()
        else:
            self._no_longer_in_flight(order)
            # all that was counted had an order, and this one was filled: what is pending has an edge (BC-WATCH-04)
            settled = filled and backlog.alone and backlog.left <= 0
            if not settled or any(other.passed_over for other in self.workers.values()):
                backlog.look_again()
        live = [other.order for other in self.workers.values() if other.order and not other.order.expired]
        in_flight = sum(other.max for other in live if other.listener == order.listener)
        check(in_flight == backlog.in_flight, "BC-ROOM-02: a reservation leaked")

    def _no_longer_in_flight(self, order: Order) -> None:
        backlog = self.backlogs[order.listener]
        backlog.in_flight -= order.max
        backlog.drained = False
        if order.again:
            backlog.retrying = False

    # --------------------------------------------------------------------------------- beginnings and ends

    @property
    def free_slot(self) -> int:
        """The smallest (BC-SCALE-10)."""
        return next(slot for slot in range(len(self.workers) + 1) if slot not in self.workers)

    def spawn(self, *, newcomer: bool = False, clause: str, expect: bool = True) -> None:
        """A worker is started. Without ``expect``, its spawn has been seen already."""
        worker = Worker(self.free_slot, self.now, self.generation, newcomer)
        worker.enter("STARTING", self.now, self.settings)
        self.workers[worker.slot] = worker
        if newcomer:
            self.sizer.last_maybe = self.now
        if expect:
            self.due.add(Action("Spawn", worker.slot, clause=clause))

    def drain(self, worker: Worker, *, clause: str, expect: bool = True) -> None:
        """Its channel is half-closed (BC-DRAIN-01)."""
        self.step(worker, "drain")
        worker.drained, worker.newcomer = True, False
        if expect:
            self.due.add(Action("HalfClose", worker.slot, clause=clause))

    def drain_each(self, workers: Iterable[Worker], *, clause: str) -> None:
        """Those of ``workers`` whose channels are still open in both directions."""
        for worker in workers:
            if worker.state in READING and not worker.drained:
                self.drain(worker, clause=clause)

    def abandon_reload(self) -> None:
        """There is nobody to replace any more."""
        self.reloading = False
        for worker in self.workers.values():
            worker.newcomer = False

    def drain_all(self, clause: str) -> None:
        """Everybody is to go; who is STARTING holds nothing, and is killed (BC-STOP-04)."""
        self.abandon_reload()
        self.due.then()
        self.due.add(Action("CloseListeners", clause=clause))
        for worker in self.workers.values():
            if worker.state == "STARTING":
                self.kill(worker, "stop", clause="BC-STOP-04")
            elif worker.state in ("READY", "SUSPECT"):
                self.drain(worker, clause=clause)

    def kill(self, worker: Worker, event: str, *, clause: str) -> None:
        """SIGKILL, and the end of the channel (BC-KILL-01)."""
        self.step(worker, event)
        self.end_order(worker)
        self.due.add(Action("Kill", worker.slot, clause=clause))
        if event in ("start_deadline", "violation") and not worker.accepted and clause != "BC-VER-05":
            self.exited_early()

    def reap(self, worker: Worker, status: int) -> None:
        """It has exited, and its channel has been read."""
        expected = worker.drained or worker.state == "KILLED"
        early = not worker.accepted and self.now - worker.born < self.sizer.rules["early_exit"]
        self._end_of_series()
        self.step(worker, "exit")
        del self.workers[worker.slot]
        self.end_order(worker)
        if expected:
            return
        if status in (76, 78):
            self.hopeless(worker, status)
        elif early:
            self.exited_early()

    def exited_early(self) -> None:
        """All spawning is delayed (BC-SCALE-12)."""
        self._end_of_series()
        self.sizer.early_exit(self.now)

    def _end_of_series(self) -> None:
        """A worker that was spawned after the last early exit and has outlived *early_exit* ends a crash loop."""
        grown = self.now - self.sizer.rules["early_exit"]
        if any(self.sizer.last_death < worker.born < grown for worker in self.workers.values()):
            self.sizer.served()

    def hopeless(self, worker: Worker, status: int) -> None:
        """``worker`` has exited with ``status``, or is treated as if it had: so would another (BC-SCALE-13)."""
        if self.reloading and worker.generation == self.generation and not worker.was_ready:
            self.end_reload(failed=True)
        if self.was_ready:
            self.exited_early()
            self.sizer.hopeless_until = self.sizer.not_before
        elif not self.gave_up:
            self.gave_up = True
            self.due.add(Action("GiveUp", status=status, clause="BC-SCALE-13"))

    def end_reload(self, *, failed: bool = False, expect: bool = True) -> None:
        """A reload is over; if it has failed, newcomers that have replaced nobody are drained (BC-RELOAD-05).

        That it is over is said in a trace alone.
        """
        surplus = [worker for worker in self.workers.values() if worker.newcomer]
        self.abandon_reload()
        if failed:
            self.drain_each(surplus, clause="BC-RELOAD-05")
        if expect and self.due.strict:
            self.due.add(Action("Reloaded", failed=failed, clause="BC-RELOAD-05" if failed else "BC-RELOAD-01"))


def check(holds: bool, said: str) -> None:
    """A rule that the model keeps, asserted apart from how it keeps it. Raises :class:`Deviation`."""
    if not holds:
        raise Deviation(said)
