"""The parent's table: one :class:`Worker` for each slot, and the order it may owe an answer to.

Plain records with the arithmetic that belongs to one worker alone. What concerns several workers, listeners or time
is in :mod:`backchannel.parent` and the modules it uses.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from .deadlines import Deadline, Kind
from .errors import Violation
from .frames import Busy, Features, FrameReader, Gone, Idle, Reason, Report
from .scaling import WorkerView
from .states import PARENT, ParentEvent, State

__all__ = ["Order", "Slots", "Worker"]

LAST_ORDER = 0xFFFF_FFFF


@dataclass(slots=True)
class Order:
    """One unanswered ACCEPT."""

    id: int
    listener: int
    max: int
    void: bool = False
    deadline: float = 0.0
    """When it becomes void."""
    again: bool = False
    """It covers a connection that a void order had covered (BC-SILENT-03)."""


@dataclass(slots=True, eq=False)
class Worker:
    """One worker, as its parent knows it."""

    slot: int
    serial: int
    """Counts the workers of this parent, those that could not be started among them: two workers of one slot differ
    here. It is an identity and no statistic.
    """
    spawned_at: float
    generation: int = 1
    state: State = State.STARTING
    open: int = 0
    capacity: int = 0
    features: Features = Features.NONE
    order: Order | None = None
    last_order: int = 0
    reader: FrameReader = field(default_factory=FrameReader)
    passed_over: set[int] = field(default_factory=set)
    """Listeners for which it gave a short answer (BC-SHORT-01)."""
    short_rows: dict[int, int] = field(default_factory=dict)
    """For each listener: short answers in a row that accepted nothing (BC-SHORT-02)."""
    resting: bool = False
    rests_until: float = 0.0
    state_until: float = 0.0
    """When the deadline of its state passes, if that has one."""
    greeted: bool = False
    """Its hello has been read."""
    was_ready: bool = False
    """It has answered the welcome, so its program can start."""
    drained: bool = False
    """The parent half-closed it."""
    orders: int = 0
    """Connections it was ordered to take."""
    accepted: int = 0
    """Connections it took."""
    voids: int = 0
    """Connections it was ordered to take and did not in time."""
    counted: tuple[State, int] = (State.STARTING, 0)
    """State and room that :class:`~backchannel.scaling.Totals` has counted for it."""
    ticket: int = 0
    """Names its one valid entry among the candidates; 0 while it has none."""
    key: int = 0
    """Where that entry stands."""
    deadline: Deadline = field(init=False)
    """The one of its orders, made once: it is used for each of them."""
    deadline_at: float = 0.0
    """Where its entry among the deadlines stands; 0 while it has none."""

    def __post_init__(self) -> None:
        self.deadline = Deadline(Kind.ORDER, self.slot, self.serial)

    @property
    def reserved(self) -> int:
        """Room promised to the unanswered order, void or not (BC-ROOM-01)."""
        return self.order.max if self.order else 0

    @property
    def room(self) -> int:
        """Connections it could still be given."""
        room = self.capacity - self.open - (self.order.max if self.order else 0)
        return room if room > 0 else 0

    @property
    def may_be_chosen(self) -> bool:
        """Whether an order may go to it at all (BC-ORDER-01, BC-ORDER-02)."""
        return self.order is None and self.state is State.READY and self.capacity > self.open and not self.resting

    def view(self) -> WorkerView:
        """The worker as scaling sees it."""
        return WorkerView(self.slot, self.to_count()[0], self.open, self.capacity, self.reserved)

    def to_count(self) -> tuple[State, int]:
        """What the sums are made of: state and room. One that was drained is DRAINING until it has exited
        (BC-SCALE-03): between the end of its channel and its exit it would count otherwise, and another would be
        retired in its stead.
        """
        return State.DRAINING if self.drained else self.state, self.room

    def step(self, event: ParentEvent) -> None:
        """Move the machine. ``KeyError``: the event cannot happen in this state, which is a bug."""
        self.state = PARENT[self.state][event]

    def new_order(self, listener: int, most: int, *, again: bool = False) -> Order:
        """Number an order, and reserve room for it (BC-ACCEPT-01)."""
        number = self.last_order + 1 if self.last_order < LAST_ORDER else 1
        self.last_order = number
        self.orders += most
        self.order = order = Order(number, listener, most, False, 0.0, again)
        return order

    def believe(self, report: Report) -> None:
        """Take over the figures of ``report``, or raise :class:`Violation` if they are not earned."""
        capacity = report.capacity
        limit = self.open
        if isinstance(report, Busy):
            self._check_answer(report.order, report.accepted, report.reason)
            limit, open_ = limit + report.accepted, report.open
        elif isinstance(report, Gone):
            open_ = report.open
        else:
            open_ = 0
        if open_ > limit:
            raise Violation("BC-STATUS-06", f"open {open_} where at most {limit} was earned")
        if open_ == self.open and capacity == self.capacity and not isinstance(report, Busy):
            raise Violation("BC-STATUS-06", f"a status that changes nothing (open {open_})")
        if capacity and not self.capacity:
            raise Violation("BC-CAP-03", f"capacity {capacity} after the final 0")
        self.open, self.capacity = open_, capacity

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

    def greet(self, hello: Idle) -> None:
        """Take over the figures of the hello."""
        self.greeted = True
        self.capacity = hello.capacity
        if hello.hello:
            self.features = hello.hello.features


class Slots:
    """Hands out the smallest free number (BC-SCALE-10)."""

    def __init__(self) -> None:
        self._free: list[int] = []
        self._next = 0

    def take(self) -> int:
        """The smallest number that is not taken."""
        if self._free:
            return heapq.heappop(self._free)
        self._next += 1
        return self._next - 1

    def give_back(self, slot: int) -> None:
        """``slot`` is free again."""
        heapq.heappush(self._free, slot)
