"""The worker's side of the channel.

Bytes from the parent in, orders out; what happened to connections in, bytes for the parent out. A shell around it
reads the channel, calls ``accept`` as often as an order says, serves, and writes what :meth:`WorkerSide.outgoing`
hands out::

    side = WorkerSide(capacity=1, listeners=1)
    side.hello()
    ...                                        # write side.outgoing(), tell it with side.sent(n)
    for order in side.receive(channel.recv(4096)):
        taken, reason = ...                    # at most order.max attempts to accept
        side.answer(order, taken, reason)      # write outgoing() before anything that may block
    side.ended()                               # a connection was closed; write outgoing()
    side.eof()                                 # recv returned nothing: close the listeners, finish, exit

Nothing is queued but what has to be said: the rest of a frame written in part, one BUSY, and the newest status,
which is made up only when it can be written (BC-CHAN-08).
"""

from __future__ import annotations

from collections import deque
from typing import Final

from .errors import SettingError, Violation
from .frames import (
    VERSION,
    Accept,
    Features,
    FrameReader,
    Hello,
    Idle,
    Reason,
    Type,
    decode,
    encode,
    encode_busy,
    encode_status,
)
from .states import CLEAN, PROTOCOL, WORKER, WorkerEvent, WorkerState

__all__ = ["WorkerSide"]

_EARLY: Final = frozenset({WorkerState.STARTING, WorkerState.GREETED})


class WorkerSide:
    """One worker's end of the protocol.

    ``capacity`` connections at once, ``listeners`` as many as the worker was given. ``responsive``: it answers while
    it serves (BC-WORK-08).
    """

    def __init__(self, capacity: int, listeners: int = 1, *, responsive: bool = False) -> None:
        if capacity < 1:
            raise SettingError(f"capacity is {capacity}: it must be at least 1")
        self.state = WorkerState.STARTING
        self.open = 0
        self.capacity = capacity
        self.exit_status = CLEAN
        """What the process should exit with once it has finished."""
        self._listeners = listeners
        self._features = Features.RESPONSIVE if responsive else Features.NONE
        self._reader = FrameReader()
        self._unanswered: deque[Accept] = deque()
        self._offered = b""
        self._begun = b""
        self._queued: deque[bytes] = deque()
        self._reported = (0, capacity)
        self._unsent = self._reported
        self._mute = False

    # ------------------------------------------------------------------------------ from the shell

    def hello(self) -> None:
        """Ready to serve: greet the parent (BC-HELLO-01)."""
        self._step(WorkerEvent.HELLO)
        hello = Hello(VERSION, VERSION, self._features)
        self._queued.append(encode(Idle(self.capacity, hello)))

    def receive(self, data: bytes) -> list[Accept]:
        """Take bytes from the channel; return the orders they complete, to be attempted in this order (BC-WORK-04).

        Raises :class:`Violation` when the parent broke the protocol; the side is DRAINING then and writes nothing any
        more (BC-VIOL-07). Orders that came before the violation are dropped with it (BC-VIOL-10).
        """
        orders: list[Accept] = []
        try:
            for raw in self._reader.feed(data):
                order = self._order(raw)
                self._step(WorkerEvent.ORDER)
                if not self.capacity and self.state is WorkerState.SERVING:
                    self._step(WorkerEvent.RETIRE)
                orders.append(order)
        except Violation:
            self._step(WorkerEvent.VIOLATION)
            self._mute = True
            self.exit_status = PROTOCOL
            raise
        self._unanswered.extend(orders)
        return orders

    def answer(self, order: Accept, accepted: int, reason: Reason, *, ended: int = 0) -> None:
        """``order`` was attempted and gave ``accepted`` connections (BC-BUSY-01, BC-BUSY-03), of which ``ended`` have
        been served and closed already (BC-BUSY-05).
        """
        if self._unanswered.popleft() is not order:
            raise LookupError("orders are answered in the order in which they were received")
        self.open += accepted - ended
        self._queued.append(encode_busy(order.order, accepted, reason, self.open, self.capacity))
        self._reported = (self.open, self.capacity)

    def ended(self, count: int = 1) -> None:
        """``count`` connections have been closed (BC-STATUS-05)."""
        if count > self.open:
            raise LookupError(f"{count} connections ended, {self.open} were open")
        self.open -= count

    def set_capacity(self, capacity: int) -> None:
        """Hold at most ``capacity`` from now on; what is held above it stays (BC-CAP-01). For 0, :meth:`retire`."""
        if capacity < 1:
            raise SettingError(f"capacity is {capacity}: it must be at least 1 (to stop, retire)")
        if self.capacity:
            self.capacity = capacity

    def retire(self) -> None:
        """Want no more connections, for good (BC-CAP-02)."""
        if self.state is WorkerState.SERVING:
            self._step(WorkerEvent.RETIRE)
        self.capacity = 0

    def eof(self) -> None:
        """The channel has ended: a drain, or the parent is gone (BC-DEATH-05). Close the listeners, finish, exit."""
        if self.state is not WorkerState.DRAINING:
            self._step(WorkerEvent.EOF)

    def parent_gone(self) -> None:
        """Writing failed with EPIPE or ECONNRESET: write nothing any more (BC-CHAN-06)."""
        self._mute = True

    # ------------------------------------------------------------------------------- to the shell

    @property
    def draining(self) -> bool:
        """No new connections; exit when :attr:`finished`."""
        return self.state is WorkerState.DRAINING

    @property
    def finished(self) -> bool:
        """Draining, and nothing is held any more."""
        return self.draining and not self.open

    @property
    def full(self) -> bool:
        """The parent knows of no room: an end of a connection is urgent (BC-STATUS-10)."""
        return self._reported[0] >= self._reported[1]

    def outgoing(self) -> bytes:
        """What to write now: the rest of a frame, an answer, the newest status. Tell :meth:`sent` how much went."""
        if self._mute:
            return b""
        self._offered = self._begun + b"".join(self._queued) + self._status()
        return self._offered

    def sent(self, count: int) -> None:
        """``count`` octets of the last :meth:`outgoing` were written."""
        if self._mute:
            return
        if count < len(self._offered):
            self._sent_in_part(count)
            return
        self._begun = b""
        self._queued.clear()
        if not self._unanswered and self.state not in _EARLY:
            self._reported = (self.open, self.capacity)

    def _sent_in_part(self, count: int) -> None:
        status = self._status()
        frames = [self._begun, *self._queued, *([status] if status else [])]
        self._queued.clear()
        if status:
            self._reported = (self.open, self.capacity)
        first = 0
        while first < len(frames) and count >= len(frames[first]):
            count -= len(frames[first])
            first += 1
        self._begun = b""
        if count or (first == 0 and frames[0]):
            self._begun = frames[first][count:]
            first += 1
        rest = frames[first:]
        if status and rest:
            # not even begun: it is made up anew, from the figures as they are by then
            rest.pop()
            self._reported = self._unsent
        self._queued.extend(rest)

    # ------------------------------------------------------------------------------------ inside

    def _status(self) -> bytes:
        """The status that is due: none before the welcome, none between an order and its answer (BC-STATUS-04)."""
        figures = (self.open, self.capacity)
        if figures == self._reported or self._unanswered or self.state in _EARLY:
            return b""
        self._unsent = self._reported
        return encode_status(self.open, self.capacity)

    def _order(self, raw: bytes) -> Accept:
        if self.state is WorkerState.STARTING:
            raise Violation("BC-HELLO-06", "an order came before the hello")
        if self.state is WorkerState.GREETED and raw[0] != VERSION:
            raise Violation("BC-VER-06", f"welcome in version {raw[0]:#04x}, not {VERSION:#04x}")
        if raw[1] != Type.ACCEPT:  # asked before what else may be wrong with it (BC-VIOL-04)
            raise Violation("BC-FRAME-03", f"type {raw[1]:#04x} from the parent")
        frame = decode(raw)
        assert isinstance(frame, Accept)
        if frame.listener >= self._listeners:
            raise Violation("BC-ACCEPT-04", f"listener {frame.listener}, of {self._listeners} that were given")
        return frame

    def _step(self, event: WorkerEvent) -> None:
        self.state = WORKER[self.state][event]
