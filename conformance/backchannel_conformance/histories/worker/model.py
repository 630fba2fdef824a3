"""What a worker may do and must do, written from the specification alone (pages "Messages", "The worker", "Drain").

The model is told what the parent and the clients do, and then each frame that comes. It knows which connections are
pending on which listener, so it knows what an order must give. What it does not know is when the worker notices the
end of a connection, and where in the stream it reports it. So the figure ``open`` of a report is right if what it
leaves out is no more than what may have ended by then; when the worker has come to rest it must be exact.

:meth:`WorkerModel.frame` raises for a frame that must not come. :meth:`WorkerModel.due` says what must still come.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from ... import frames
from ...errors import RequirementViolated, check
from .accepting import CLASSES, reason_of, results
from .scenario import Fault, Setting
from .visitor import Visitor

__all__ = ["Due", "WorkerModel"]

CLEAN, PROTOCOL = 0, 76


@dataclass(frozen=True)
class Due:
    """What must come and has not: the rule, and what is missing."""

    requirement: str
    missing: str


@dataclass
class Sent:
    """An order that has been sent whole and has not been answered."""

    number: int
    listener: int
    max: int
    fault: Fault | None = None


@dataclass
class WorkerModel:
    """One worker, from its hello to its exit."""

    setting: Setting
    capacity: int = 0
    open: int = 0
    """The figures of its last report."""
    greeted: bool = False
    orders: deque[Sent] = field(default_factory=deque)
    queues: list[list[Visitor]] = field(default_factory=list)
    held: list[Visitor] = field(default_factory=list)
    """Accepted, and in the last report."""
    visitors: dict[int, Visitor] = field(default_factory=dict)
    taken: int = 0
    ended: int = 0
    stopped: bool = False
    eof: bool = False
    violated: str = ""
    """The rule by which what the parent sent is a violation."""
    mute: bool = False
    """Nothing can come any more: after a violation, or because the parent's end is closed."""
    early: bool = False
    """A frame was sent before the hello was read: the worker may have read it before it wrote the hello."""
    condemned: bool = False
    """A signal may have ended it."""
    overdue: bool = False
    """Its drain deadline may have passed: it may leave what it holds."""
    faulted: Fault | None = None
    descriptors: int | None = None
    """How many more it can get for sure."""
    freed: int = 0
    """And how many more perhaps: what it has closed since, if that was below its limit. The limit is the lowest number
    that was not used then, and what it had may be above that.
    """
    _octets: bytes = b""
    _sent: int = 0

    def __post_init__(self) -> None:
        self.queues = [[] for _ in range(self.setting.listeners)]

    # ------------------------------------------------------------------------------ what is done to it

    def wrote(self, octets: bytes, fault: Fault | None = None) -> None:
        """The parent has written this. ``fault``: what ``accept`` meets at the last order in it."""
        whole, self._octets = frames.cut(self._octets + octets)
        for raw in whole:
            self._wrote_frame(raw)
        if fault and self.orders and not self.violated:
            self.orders[-1].fault = fault

    def _wrote_frame(self, raw: bytes) -> None:
        if self.violated or self.eof:
            return
        self.early = self.early or not self.greeted
        self._sent += 1
        try:
            frames.decode(raw, "parent", first=self._sent == 1)
        except frames.Violation as violation:
            self.violated = _rule(violation.requirement, frames.Frame.parse(raw))
            return
        frame = frames.Frame.parse(raw)
        if frame.listener >= self.setting.listeners:
            self.violated = "BC-ACCEPT-04"
            return
        self.orders.append(Sent(frame.order, frame.listener, frame.max))

    def connected(self, visitor: Visitor) -> None:
        """A client waits to be accepted."""
        self.visitors[visitor.name] = visitor
        self.queues[visitor.listener].append(visitor)

    def forget(self) -> None:
        """The clients of one history are gone; the next one's begin at 0."""
        self.visitors = {visitor.name: visitor for visitor in self.held}
        for queue in self.queues:
            queue.clear()

    def vanished(self) -> None:
        """The parent has closed its end. What was written before is still read, and its answers are lost."""
        self.eof = self.mute = True

    @property
    def begun(self) -> bool:
        """Whether a part of a frame has been sent."""
        return bool(self._octets)

    # ------------------------------------------------------------------------------ what comes from it

    def frame(self, frame: frames.Frame) -> None:
        """Take a frame, which is right in itself. Raises :class:`RequirementViolated` if it must not come now."""
        if self.mute:
            # an answer says that it has taken for an order what is none
            rule = self.violated if frame.type == frames.BUSY else "BC-VIOL-07"
            raise RequirementViolated(rule, f"{frame} came after a violation by the parent ({self.violated})")
        if not self.greeted:
            self._hello(frame)
            return
        if frame.type == frames.BUSY:
            self._answer(frame)
        self._figures(frame)

    def _hello(self, frame: frames.Frame) -> None:
        given = self.setting.capacity
        check(
            frame.capacity == given,
            "BC-HELLO-08",
            f"it was given capacity {given}, and its hello says {frame.capacity}",
        )
        check(not frame.order & 0xFFFE, "BC-VER-10", f"its hello has the feature bits {frame.order & 0xFFFF:#06x}")
        self.greeted, self.capacity = True, frame.capacity

    def _answer(self, frame: frames.Frame) -> None:
        check(bool(self.orders), "BC-BUSY-01", f"{frame} came, and no order is unanswered")
        order = self.orders.popleft()
        queue = self.queues[order.listener]
        possible = self._results(order)
        if (frame.accepted, frame.reason) not in possible:
            self._refuse(frame, order, len(queue), possible)
        for visitor in queue[: frame.accepted]:
            visitor.state = "held"
        self.held += queue[: frame.accepted]
        del queue[: frame.accepted]
        self.taken += frame.accepted
        if self.descriptors is not None:
            most = self.descriptors + self.freed - frame.accepted
            self.descriptors = max(0, self.descriptors - frame.accepted)
            self.freed = most - self.descriptors

    def _results(self, order: Sent) -> set[tuple[int, int]]:
        useless = self.setting.useless and order.listener == self.setting.listeners - 1
        at_the_end = "UNUSABLE" if useless else "EMPTY"
        pending = len(self.queues[order.listener])
        if self.descriptors is None:
            return results(order.max, pending, order.fault, at_the_end=at_the_end)
        # what has ended and was not reported yet may be closed already, and its descriptor free
        most = self.descriptors + self.freed + sum(visitor.ends for visitor in self.held)
        choices = range(self.descriptors, most + 1)
        return {found for free in choices for found in results(order.max, pending, order.fault, free, at_the_end)}

    def _refuse(self, frame: frames.Frame, order: Sent, pending: int, possible: set[tuple[int, int]]) -> None:
        accepted = {number for number, _ in possible}
        why = [str(order.fault)] * bool(order.fault) + [f"{self.descriptors} more descriptors"] * (
            self.descriptors is not None
        )
        given = f"an order for {order.max} from listener {order.listener}, where {pending} are pending"
        seen = f"{given}{''.join(f', {text}' for text in why)}, was answered with {frame}: {_either(possible)} is right"
        if order.fault:
            requirement = CLASSES[reason_of(order.fault.error)]
        elif self.descriptors is not None:
            requirement = "BC-ERRNO-03"
        elif self.setting.useless and order.listener == self.setting.listeners - 1:
            requirement = "BC-ERRNO-06"
        elif frame.accepted in accepted:
            requirement = "BC-BUSY-09"
        else:
            requirement = "BC-BUSY-03" if frame.accepted > max(accepted) else "BC-WORK-11"
        raise RequirementViolated(requirement, seen)

    def _figures(self, frame: frames.Frame) -> None:
        over = [visitor for visitor in self.held if visitor.ends or self.overdue]
        left_out = len(self.held) - frame.open
        check(
            left_out <= len(over),
            "BC-STATUS-01",
            f"{frame} came while {len(self.held)} connections are held, of which {len(over)} may have ended",
        )
        if frame.capacity != self.capacity:
            may = self.setting.quota and self.taken >= self.setting.quota
            check(
                not frame.capacity and bool(may),
                "BC-STATUS-01",
                f"{frame} came, and the worker's capacity is {self.capacity}",
            )
        # who has seen its end is left out first; of those of whom nobody can tell, one is as good as another
        over.sort(key=lambda visitor: (not visitor.over, visitor.sees))
        for visitor in over[: max(0, left_out)]:
            visitor.state = "ended"
            self.held.remove(visitor)
            self.freed += 1
        self.ended += max(0, left_out)
        self.open, self.capacity = frame.open, frame.capacity

    def not_closed(self, still: Sequence[Visitor]) -> None:
        """``still`` are held by the worker although a report may have left them out already. Raises if one has."""
        for visitor in still:
            check(
                visitor.state != "ended",
                "BC-STATUS-05",
                f"a report with open={self.open} left out the connection of client {visitor.name}, not closed yet",
            )

    # ----------------------------------------------------------------------------------- what is to be

    @property
    def blocked(self) -> bool:
        """Whether a worker of capacity 1 may be waiting for its client, and read nothing (BC-DRAIN-06)."""
        return self.setting.capacity == 1 and any(not visitor.ends for visitor in self.held)

    @property
    def reads(self) -> bool:
        """Whether it must read what is written to it."""
        return not (self.blocked or self.stopped or self.eof or self.violated)

    @property
    def draining(self) -> bool:
        """Whether it has read an end, and has to act on it."""
        return (self.eof or bool(self.violated)) and not (self.blocked or self.stopped)

    @property
    def over(self) -> bool:
        """Whether it has nothing left to do but to exit."""
        return self.draining and not any(not visitor.ends for visitor in self.held)

    @property
    def status(self) -> int:
        """With which it must exit."""
        return PROTOCOL if self.violated else CLEAN

    def settled(self) -> None:
        """It has read all that was sent and rests."""
        if self.violated and not self.stopped and not self.blocked:
            self.orders.clear()
            self.mute = True

    def due(self) -> Due | None:
        """What must come by itself now; the first of it."""
        if self.stopped:
            return None
        return self.due_frame() or self._service_due()

    def due_frame(self) -> Due | None:
        """The frame that must come now."""
        if self.mute or self.violated or self.overdue:
            return None
        if not self.greeted:
            return None if self.eof else Due("BC-HELLO-01", "the hello")
        if self.blocked:
            return None
        if self.orders:
            order = self.orders[0]
            rule = "BC-DRAIN-03" if self.eof else "BC-BUSY-01"
            return Due(rule, f"the answer to order {order.number}")
        truth = sum(not visitor.ends for visitor in self.held)
        if truth != self.open:
            rule = "BC-DRAIN-11" if self.eof else "BC-STATUS-03" if self.setting.capacity > 1 else "BC-STATUS-01"
            return Due(rule, f"a status: it has told of {self.open} connections, and holds {truth}")
        if self.setting.quota and self.ended >= self.setting.quota and self.capacity:
            return Due("BC-CAP-02", f"a status with capacity 0: {self.ended} connections have ended, its quota is over")
        return None

    def _service_due(self) -> Due | None:
        for visitor in self.visitors.values():
            if visitor.state == "pending" or not visitor.sees or visitor.over or self.overdue:
                continue
            if visitor.answers < visitor.owed:
                return Due(
                    "BC-DRAIN-04" if self.draining else "BC-WORK-04",
                    f"line {visitor.answers + 1} of what client {visitor.name} is to be told: the worker holds it",
                )
            if visitor.ends:
                return Due("BC-STATUS-05", f"the end of the connection of client {visitor.name}, which is served")
        return None


def _rule(broken: str, frame: frames.Frame) -> str:
    """Which rule makes ``frame`` a violation of this class."""
    if broken != "BC-FRAME-03" or frame.version != frames.VERSION:
        return broken
    if frame.type != frames.ACCEPT:
        return "BC-FRAME-05"
    return "BC-FRAME-07" if frame.reason else "BC-FRAME-08"


def _either(possible: set[tuple[int, int]]) -> str:
    return " or ".join(f"accepted={number} reason={frames.REASONS[reason]}" for number, reason in sorted(possible))
