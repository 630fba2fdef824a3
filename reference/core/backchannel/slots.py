"""The parent's slots: one :class:`Worker` each, and the order it may owe an answer to.

Plain records, with the arithmetic that belongs to one worker alone, and what its reports may claim: a figure is taken
over only if the orders of its worker allow it (BC-STATUS-06). What concerns several workers, listeners or time is
elsewhere.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from .deadlines import Deadline, Kind
from .errors import Violation
from .frames import Accept, Busy, FrameReader, Gone, Idle, Reason, Report, decode
from .states import SlotState

__all__ = ["Order", "Slots", "Worker"]

MAX_ORDER_NUMBER = 0xFFFF_FFFF


@dataclass(slots=True)
class Order:
    """One unanswered ACCEPT."""

    id: int
    listener: int
    max: int
    expired: bool = False
    again: bool = False
    """It is for a connection of an expired order (BC-SILENT-03)."""


@dataclass(slots=True, eq=False)
class Worker:
    """One worker, as its parent knows it.

    The last fields are notes that the parts of the parent keep about it: each is written by one of them alone, and is
    here because it is needed for every connection.
    """

    slot: int
    spawned_at: float
    generation: int = 1
    state: SlotState = SlotState.STARTING
    open: int = 0
    capacity: int = 0
    order: Order | None = None
    last_order: int = 0
    reader: FrameReader = field(default_factory=FrameReader)
    cooling: bool = False
    """It is given no order for a while (BC-SHORT-02)."""
    greeted: bool = False
    """Its hello has been read."""
    was_ready: bool = False
    """It has answered the welcome, so its program can start."""
    drained: bool = False
    """The parent half-closed its channel."""
    ordered: int = 0
    """Connections it was ordered to take."""
    accepted: int = 0
    """Connections it took."""
    expired: int = 0
    """Connections it was ordered to take and did not in time."""

    # of the lifecycle
    state_deadline: Deadline = field(init=False)
    """Until when it may be in this state, if there is such a time: it is cancelled as the state is left."""

    # of the dispatch
    order_deadline: Deadline = field(init=False)
    """One for all its orders."""
    cool_down: Deadline = field(init=False)
    passed_over: set[int] = field(default_factory=set)
    """Listeners for which it gave a short answer (BC-SHORT-01)."""
    short_rows: dict[int, int] = field(default_factory=dict)
    """For each listener: short answers in a row that accepted nothing (BC-SHORT-02)."""
    ticket: int = 0
    """Names its one valid entry among the candidates; 0 while it has none."""
    key: int = 0
    """Where that entry stands."""

    # of the sizing
    counted: tuple[SlotState, int] = (SlotState.EXITED, 0)
    """State and room that the sums have counted for it."""

    def __post_init__(self) -> None:
        self.state_deadline = Deadline(Kind.STATE, self.slot)
        self.order_deadline = Deadline(Kind.ORDER, self.slot)
        self.cool_down = Deadline(Kind.COOL_DOWN, self.slot)

    @property
    def reserved(self) -> int:
        """Room promised to the unanswered order, expired or not (BC-ROOM-01)."""
        return self.order.max if self.order else 0

    @property
    def room(self) -> int:
        """Connections it could still be given."""
        room = self.capacity - self.open - (self.order.max if self.order else 0)
        return room if room > 0 else 0

    @property
    def may_be_chosen(self) -> bool:
        """Whether an order may go to it at all (BC-ORDER-01, BC-ORDER-02)."""
        return self.order is None and self.state is SlotState.READY and self.capacity > self.open and not self.cooling

    def new_order(self, listener: int, most: int, *, again: bool = False) -> Order:
        """Number an order, and reserve room for it (BC-ACCEPT-01)."""
        number = self.last_order + 1 if self.last_order < MAX_ORDER_NUMBER else 1
        self.last_order = number
        self.ordered += most
        self.order = order = Order(number, listener, most, False, again)
        return order

    def end_order(self) -> Order | None:
        """The unanswered order is answered, or cannot be any more: return it, and give back what it reserved."""
        order, self.order = self.order, None
        self.order_deadline.when = None
        return order

    # ------------------------------------------------------------------------------------------------ what it may claim

    def greet(self, hello: Idle, ceiling: int) -> None:
        """Take over the figures of the ``hello``. Raises :class:`Violation` for more than ``ceiling``."""
        if hello.capacity > ceiling:
            raise _too_much(hello.capacity, ceiling)
        self.greeted = True
        self.capacity = hello.capacity

    def report(self, raw: bytes, ceiling: int) -> Report:
        """Understand a frame after the hello, and take over its figures: a capacity up to ``ceiling``, and no more
        connections than its orders allow. Raises :class:`Violation` for what a worker may not say now.
        """
        frame = decode(raw)
        if isinstance(frame, Accept):
            raise Violation("BC-FRAME-03", "ACCEPT from a worker")
        if isinstance(frame, Idle) and frame.hello is not None:
            raise Violation("BC-HELLO-03", "a second hello")
        if frame.capacity > ceiling:
            raise _too_much(frame.capacity, ceiling)
        if self.state is SlotState.STARTING and not isinstance(frame, Busy):
            raise Violation("BC-HELLO-05", "a status before the answer to the welcome")
        open_, capacity, allowed = 0, frame.capacity, self.open
        if isinstance(frame, Busy):
            self._check_answer(frame.order, frame.accepted, frame.reason)
            open_, allowed = frame.open, allowed + frame.accepted
        elif isinstance(frame, Gone):
            open_ = frame.open
        if open_ > allowed:
            raise Violation("BC-STATUS-06", f"open {open_} where its orders allow at most {allowed}")
        # only an answer may repeat the figures: a worker could keep its parent busy with statuses that say nothing
        if open_ == self.open and capacity == self.capacity and not isinstance(frame, Busy):
            raise Violation("BC-STATUS-06", f"a status that changes nothing (open {open_})")
        if capacity and not self.capacity:
            raise Violation("BC-CAP-03", f"capacity {capacity} after the final 0")
        self.open, self.capacity = open_, capacity
        return frame

    def _check_answer(self, order: int, accepted: int, reason: Reason) -> None:
        mine = self.order
        if mine is None:
            raise Violation("BC-BUSY-06", f"BUSY for order {order} while no order is unanswered")
        if order != mine.id:
            raise Violation("BC-BUSY-06", f"BUSY for order {order} while {mine.id} is unanswered")
        if accepted > mine.max:
            raise Violation("BC-BUSY-06", f"accepted {accepted} of at most {mine.max}")
        if (accepted == mine.max) is not (reason is Reason.FILLED):
            raise Violation("BC-BUSY-06", f"reason {reason.name} with {accepted} of {mine.max} accepted")


def _too_much(capacity: int, ceiling: int) -> Violation:
    return Violation("BC-STATUS-07", f"capacity {capacity} is above the ceiling of {ceiling}")


class Slots:
    """Who is in which slot. A new worker gets the smallest number that is free (BC-SCALE-10)."""

    def __init__(self) -> None:
        self.workers: dict[int, Worker] = {}
        self._free: list[int] = []
        self._next = 0

    def add(self, now: float, generation: int) -> Worker:
        """A worker that is spawned ``now``."""
        if self._free:
            slot = heapq.heappop(self._free)
        else:
            slot, self._next = self._next, self._next + 1
        self.workers[slot] = worker = Worker(slot, now, generation)
        return worker

    def remove(self, worker: Worker) -> None:
        """``worker`` has exited: its number is free again."""
        del self.workers[worker.slot]
        heapq.heappush(self._free, worker.slot)
