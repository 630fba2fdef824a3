"""Dispatch: which worker is ordered to accept what, and what its answer means.

How many connections are pending on a listener, and how many of them are in flight, is in its
:class:`~backchannel.backlog.Backlog`; who may be chosen is with the :class:`~backchannel.candidates.Candidates`. Here
the two meet (BC-PICK-01). Whether the pool dispatches at all, and what becomes of a worker, is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .actions import Action, Note, Send
from .backlog import Backlog
from .candidates import Candidates
from .counters import Counters
from .deadlines import Deadline, Deadlines, Kind
from .frames import Busy, Reason, encode_accept
from .settings import Settings
from .slots import Order, Worker
from .states import READING, SlotState

__all__ = ["Dispatch"]


class Dispatch:
    """Orders for ``workers``, and their answers. ``backlogs`` has what is pending, listener by listener; ``on_change``
    is called with each worker that was given an order.
    """

    def __init__(
        self,
        settings: Settings,
        workers: Mapping[int, Worker],
        backlogs: Sequence[Backlog],
        deadlines: Deadlines,
        counters: Counters,
        actions: list[Action],
        on_change: Callable[[Worker], None],
    ) -> None:
        self.backlogs = backlogs
        self.edges = False
        """Each arrival makes an event, and counts are exact."""
        self.next_listener = 0
        """Is served first, if something is pending on several."""
        self._settings = settings
        self._workers = workers
        self._candidates = Candidates(settings.policy, workers)
        self._deadlines = deadlines
        self._counters = counters
        self._actions = actions
        self._on_change = on_change
        self._fallen_short: set[Worker] = set()
        """Who is passed over for some listener, or has a series of short answers."""
        self._expired_in_row = 0

    # ----------------------------------------------------------------------------------------------------- what it sees

    @property
    def has_candidate(self) -> bool:
        """Whether there is a worker that may be chosen."""
        return self._candidates.count > 0

    @property
    def in_flight(self) -> int:
        """Connections in flight: max of all unanswered orders together (BC-PEND-01)."""
        return sum(backlog.in_flight for backlog in self.backlogs)

    @property
    def settled(self) -> bool:
        """Whether orders are in flight for all that is known to be pending."""
        return all(backlog.settled for backlog in self.backlogs) and self.in_flight > 0

    @property
    def exhausted(self) -> bool:
        """Whether nothing is pending and nothing in flight."""
        return all(backlog.empty and not backlog.in_flight for backlog in self.backlogs)

    def to_count(self, *, to_the_end: bool) -> list[int]:
        """Listeners to count before :meth:`order` (BC-PEND-02): where something may have changed, or, if all is to be
        served ``to_the_end``, where it is not known that nothing is left.
        """
        # without edges nothing tells of who has come since the last count, unless a watch was armed (BC-STOP-01)
        return [
            index
            for index, backlog in enumerate(self.backlogs)
            if not backlog.cooling
            and (backlog.dirty or (to_the_end and not backlog.in_flight and not (backlog.empty and self.edges)))
        ]

    def look_again(self) -> None:
        """Count every listener before the next order: what was counted may be true no more."""
        for backlog in self.backlogs:
            backlog.dirty = True

    def changed(self, worker: Worker) -> None:
        """``worker`` is new, or may have changed, or has exited."""
        if worker.state not in READING:
            self._lost(worker)
        candidates = self._candidates
        had_none = not candidates.count
        candidates.refresh(worker)
        if had_none and candidates.count and not self.edges:
            # no watch was armed (BC-WATCH-05): who waits is known of none of the listeners (BC-WATCH-03)
            self.look_again()

    # ----------------------------------------------------------------------------------------------------------- orders

    def welcome(self, worker: Worker) -> None:
        """Order nothing: the answer shows that ``worker`` reads (BC-HELLO-04). *start_deadline* limits it."""
        self._counters.probes += 1
        order = worker.new_order(0, 0)
        self._actions.append(Send(worker.slot, encode_accept(order.id, order.listener, order.max)))

    def order(self, counts: Mapping[int, int], now: float) -> None:
        """Order what is pending: ``counts`` holds the pending count of each listener that :meth:`to_count` named."""
        for listener, pending in counts.items():
            self.backlogs[listener].counted(pending)
            if not pending:
                self._seen_empty(listener)
        waiting = {listener: pending for listener, pending in counts.items() if pending}
        while waiting:
            listener = next(iter(waiting))
            if len(waiting) > 1:  # rotation: the next one after the one that was served last (BC-PICK-04)
                listener = min(waiting, key=lambda index: (index < self.next_listener, index))
            if not self._order_one(listener, waiting[listener], now):
                del waiting[listener]

    def _order_one(self, listener: int, pending: int, now: float) -> bool:
        """Send one order for ``listener``; ``False`` when none is wanted or no worker can take it."""
        backlog = self.backlogs[listener]
        wanted, again = backlog.wanted(pending)
        if not wanted:
            return False
        worker = self._candidates.best(listener)
        if worker is None:
            backlog.dirty = True  # count again when room returns: never a blind order (BC-WATCH-03)
            return False
        most = 1
        if wanted > 1:  # a fair share, so that all who could begin do so at once (BC-PICK-10)
            share = -(-wanted // self._candidates.count)
            most = min(share, worker.room, self._settings.max_per_order)
        order = worker.new_order(listener, most, again=again)
        backlog.sent(order)
        self._counters.orders += most
        self.next_listener = (listener + 1) % len(self.backlogs)
        # expired in a row show that all are slow rather than this one: longer each time (BC-SILENT-02)
        doublings = min(self._expired_in_row, self._settings.order_deadline_doublings)
        self._deadlines.set(worker.order_deadline, now + self._settings.order_deadline * 2**doublings)
        self._actions.append(Send(worker.slot, encode_accept(order.id, listener, most)))
        self._on_change(worker)
        return True

    # ---------------------------------------------------------------------------------------------------------- answers

    def answered(self, worker: Worker, busy: Busy, now: float) -> bool:
        """``worker`` has answered its order. Returns whether it cannot use the listener, and so is of no use."""
        order = worker.end_order()
        assert order is not None
        if not order.max:
            return False  # the welcome: it says nothing about a listener
        worker.accepted += busy.accepted
        # not while a worker is passed over: it waits until the queue is seen empty, which takes a count (BC-WATCH-10)
        filled = self.edges and busy.accepted == order.max and not order.expired and not self._fallen_short
        self.backlogs[order.listener].ended(order, filled=filled)
        if busy.accepted:
            worker.short_rows.clear()
        if order.expired:
            self._counters.late += busy.accepted
        else:
            self._expired_in_row = 0
            self._counters.accepted += busy.accepted
            self._counters.short += order.max - busy.accepted
        return busy.accepted < order.max and self._fell_short(worker, order, busy, now)

    def _fell_short(self, worker: Worker, order: Order, busy: Busy, now: float) -> bool:
        reason, rows, cool_down = busy.reason, worker.short_rows, self._settings.cool_down
        worker.passed_over.add(order.listener)
        self._fallen_short.add(worker)
        # PEER is the client's doing, and a late answer comes when others may have taken all (BC-SHORT-09)
        if not busy.accepted and reason is not Reason.PEER and not order.expired:
            rows[order.listener] = rows.get(order.listener, 0) + 1
        if reason is Reason.WORKER or rows.get(order.listener, 0) >= self._settings.short_in_a_row:
            rows.clear()
            worker.cooling = True
            self._deadlines.set(worker.cool_down, now + cool_down)
            self._actions.append(Note(worker.slot, f"cools down for {cool_down} s: its last answer was {reason.name}"))
        if reason is Reason.SYSTEM:  # no other worker could accept either
            backlog = self.backlogs[order.listener]
            backlog.cooling = True
            self._deadlines.set(backlog.cool_down, now + cool_down)
            self._actions.append(Note(None, f"listener {order.listener} cools down for {cool_down} s: SYSTEM"))
        if reason is Reason.UNUSABLE:
            text = f"cannot use listener {order.listener}: it is drained"
            self._actions.append(Note(worker.slot, text, "BC-SHORT-04"))
            return True
        return False

    def _seen_empty(self, listener: int) -> None:
        """Nothing was there to be taken, so no worker fell short of anything (BC-SHORT-06, BC-SHORT-11)."""
        for worker in self._fallen_short:
            worker.passed_over.discard(listener)
            worker.short_rows.pop(listener, None)
        self._fallen_short = {worker for worker in self._fallen_short if worker.passed_over or worker.short_rows}

    # -------------------------------------------------------------------------------------------------------- no answer

    def expired(self, worker: Worker) -> None:
        """The order of ``worker`` was not answered in time: nothing is in flight by it any more (BC-ROOM-03)."""
        order = worker.order
        assert order is not None
        order.expired = True
        self._expired_in_row += 1
        self._counters.expired += order.max
        worker.expired += order.max
        self.backlogs[order.listener].expired(order)

    def cooled_down(self, deadline: Deadline) -> None:
        """The cool-down of a worker or of a listener is over (BC-SHORT-02, BC-SHORT-03)."""
        if deadline.kind is Kind.LISTENER_COOL_DOWN:
            self.backlogs[deadline.subject].cooling = False
        else:
            worker = self._workers[deadline.subject]
            worker.cooling = False
            self._on_change(worker)

    def _lost(self, worker: Worker) -> None:
        """``worker`` will not answer; what was in flight by its order may be ordered again (BC-DEATH-09)."""
        order = worker.end_order()
        if order is not None and order.max:
            self.backlogs[order.listener].ended(order)
            if not order.expired:
                self._counters.dead += order.max
        if worker.state is SlotState.EXITED:
            worker.cool_down.when = None
            self._fallen_short.discard(worker)
