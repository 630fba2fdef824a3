"""Dispatch: which worker is ordered to accept what, and what its answer means.

How many connections are pending on a listener, and how many of them unanswered orders cover, is in its
``Ledger``; who may be chosen is with the ``Candidates``. Here the two meet (BC-PICK-01).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .actions import Send
from .deadlines import Deadline, Kind
from .frames import Busy, Reason, encode_accept
from .lifecycle import Roster
from .slots import Order, Worker
from .states import ParentEvent, PoolState, State

__all__ = ["Dispatching"]

_DISPATCHING: Final = frozenset({PoolState.RUNNING, PoolState.STOPPING})


class Dispatching(Roster):
    """A roster whose workers are given orders."""

    # ---------------------------------------------------------------------------------------------- what the shell asks

    def to_count(self) -> list[int]:
        """Listeners whose pending connections must be counted before :meth:`dispatch` (BC-PEND-02)."""
        if self.state not in _DISPATCHING or (not self._candidates.count and not self.stopping):
            return []
        return [
            index
            for index, ledger in enumerate(self.ledgers)
            if (ledger.dirty or (self.stopping and not ledger.empty and not ledger.covered)) and not ledger.resting
        ]

    def watching(self, listener: int) -> bool:
        """Whether a level-triggered watch of ``listener`` is to be armed: somebody may be chosen, and no order covers
        what is pending (BC-WATCH-05).
        """
        ledger = self.ledgers[listener]
        return self._may_order and not ledger.covered and not ledger.resting

    def hidden(self, listener: int) -> bool:
        """Whether an unanswered order keeps a level-triggered watch of ``listener`` from seeing what arrives meanwhile,
        although somebody may be chosen (BC-WATCH-02).
        """
        ledger = self.ledgers[listener]
        return self._may_order and ledger.covered > 0 and not ledger.resting

    @property
    def _may_order(self) -> bool:
        return self.state in _DISPATCHING and self._candidates.count > 0

    @property
    def stopping(self) -> bool:
        """It is going to end: it serves what is pending, or drains everybody."""
        return self.state in (PoolState.STOPPING, PoolState.DRAINING)

    @property
    def patient(self) -> bool:
        """Whether reports may wait a little: orders are unanswered, they cover all that is known to be pending, and
        somebody may be chosen for what comes next. Then an arrival is the next thing that needs the parent.
        """
        if not self._may_order or self.state is not PoolState.RUNNING:
            return False
        return all(ledger.settled for ledger in self.ledgers) and any(ledger.covered for ledger in self.ledgers)

    @property
    def awaited(self) -> int:
        """How many connections are covered by orders that are unanswered: all R together (BC-PEND-01)."""
        return sum(ledger.covered for ledger in self.ledgers)

    # ----------------------------------------------------------------------------------------------------------- orders

    def _order_all(self, counts: Mapping[int, int]) -> None:
        for listener, pending in counts.items():
            self.ledgers[listener].counted(pending)
            if not pending:
                self._seen_empty(listener)
        waiting = {listener: pending for listener, pending in counts.items() if pending}
        while waiting:
            # rotation: the next listener after the one that was served last (BC-PICK-04)
            listener = self._next_in_turn(waiting)
            if not self._order_one(listener, waiting[listener]):
                del waiting[listener]

    def _next_in_turn(self, waiting: Mapping[int, int]) -> int:
        if len(waiting) == 1:
            return next(iter(waiting))
        return min(waiting, key=lambda index: (index < self._turn, index))

    def _order_one(self, listener: int, pending: int) -> bool:
        """Send one order for ``listener``; ``False`` when none is wanted or nobody can take it."""
        ledger = self.ledgers[listener]
        wanted, again = ledger.wanted(pending)
        if not wanted:
            return False
        worker = self._candidates.best(listener)
        if worker is None:
            ledger.dirty = True  # count again when room returns: never a blind order (BC-WATCH-03)
            return False
        most = 1
        if wanted > 1:  # a fair share, so that all who could begin do so at once (BC-PICK-03)
            share = -(-wanted // self._candidates.count)
            most = min(share, worker.room, self.settings.max_per_order)
        order = worker.new_order(listener, most, again=again)
        ledger.sent(order)
        self.counters.orders += most
        self._turn = (listener + 1) % len(self.ledgers)
        self._send(worker, order)
        self._refresh(worker)
        return True

    def _send(self, worker: Worker, order: Order) -> None:
        if not order.max:
            self.counters.probes += 1
        if worker.state is not State.STARTING:  # the welcome is covered by start_deadline
            self._await_answer(worker, order)
        self._actions.append(Send(worker.slot, encode_accept(order.id, order.listener, order.max)))

    def _await_answer(self, worker: Worker, order: Order) -> None:
        doublings = min(self._voids_in_row, self.settings.order_deadline_doublings)
        order.deadline = self._now + self.settings.order_deadline * 2**doublings
        if not worker.deadline_at or order.deadline < worker.deadline_at:
            worker.deadline_at = order.deadline
            self._deadlines.add(order.deadline, worker.deadline)

    def _seen_empty(self, listener: int) -> None:
        for worker in self._fallen_short:
            worker.passed_over.discard(listener)
            worker.short_rows.pop(listener, None)
        self._fallen_short = {worker for worker in self._fallen_short if worker.passed_over or worker.short_rows}

    # ---------------------------------------------------------------------------------------------------------- answers

    def _answered(self, worker: Worker, busy: Busy) -> None:
        order, worker.order = worker.order, None
        assert order is not None
        worker.accepted += busy.accepted
        if order.max:
            filled = self.edges and busy.accepted == order.max and not order.void and not self._fallen_short
            self.ledgers[order.listener].ended(order, filled=filled)
        if busy.accepted:
            worker.short_rows.clear()
            self._sizing.served()
        if order.void:
            self.counters.late += busy.accepted
            worker.step(ParentEvent.LATE_ANSWER)
        elif worker.state is State.STARTING:
            worker.step(ParentEvent.WELCOMED)
            self._became_ready(worker)
        else:
            if order.deadline:  # none: a welcome, answered by a worker that was drained meanwhile (BC-SILENT-02)
                self._voids_in_row = 0
            self.counters.accepted += busy.accepted
            self.counters.short += order.max - busy.accepted
        if busy.accepted < order.max:
            self._fell_short(worker, order, busy)

    def _fell_short(self, worker: Worker, order: Order, busy: Busy) -> None:
        reason, rows = busy.reason, worker.short_rows
        worker.passed_over.add(order.listener)
        self._fallen_short.add(worker)
        if not busy.accepted and reason is not Reason.PEER and not order.void:
            rows[order.listener] = rows.get(order.listener, 0) + 1
        if reason is Reason.WORKER or rows.get(order.listener, 0) >= self.settings.short_in_a_row:
            rows.clear()
            worker.resting = True
            self._note(worker.slot, f"rests for {self.settings.rest} s: its last answer was {reason.name}")
            self._add_deadline(worker, Kind.REST, self.settings.rest)
        elif reason is Reason.SYSTEM:
            ledger = self.ledgers[order.listener]
            ledger.resting = True
            ledger.rests_until = self._now + self.settings.rest
            self._note(None, f"listener {order.listener} rests for {self.settings.rest} s: SYSTEM")
            self._deadlines.add(ledger.rests_until, Deadline(Kind.LISTENER_REST, order.listener, 0))
        elif reason is Reason.UNUSABLE:
            self._note(worker.slot, f"cannot use listener {order.listener}: it is drained", "BC-SHORT-04")
            if worker.state is State.READY:
                self._drain(worker)
            self._died_young()
