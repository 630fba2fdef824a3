"""How a worker reads its orders and writes its reports: in any pieces, one order at a time, each end at once or several
together, folded into an answer or not.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from backchannel import WorkerSide
from backchannel_server import accepting, worker_channel
from backchannel_sync import blocking, events
from backchannel_sync.events import _Worker

from . import allowed, put

COALESCE = 0.008
"""Seconds that an end waits for others, below *coalesce*."""
READ = worker_channel.read


def reads(size: int) -> None:
    """What the channel gives is taken ``size`` octets at a time."""

    def read(channel: socket.socket) -> bytes | None:
        try:
            return channel.recv(size)
        except OSError as error:
            return None if error.errno in worker_channel.NO_ROOM else b""

    put(blocking, "read", read)
    put(events, "read", read)


@allowed("BC-CHAN-04", roles=["worker"])
def one_octet_of_the_channel() -> None:
    reads(1)


@allowed("BC-CHAN-04", roles=["worker", "pool"])
def one_order_at_a_time() -> None:
    """It answers an order, serves, and reports, before it reads the next."""
    reads(20)


@allowed("BC-CHAN-04", roles=["worker", "pool"])
def writes_in_pieces() -> None:
    """A frame leaves in three writes, with a moment in between."""

    def write_outgoing(side: WorkerSide, channel: socket.socket) -> bool:
        while data := side.outgoing():
            try:
                sent = channel.send(data[:7])
            except OSError as error:
                if error.errno in worker_channel.NO_ROOM:
                    return False
                side.parent_gone()
                return True
            side.sent(sent)
            time.sleep(0.001)
        return True

    put(blocking, "write_outgoing", write_outgoing)
    put(events, "write_outgoing", write_outgoing)


@allowed("BC-STATUS-03", roles=["worker", "pool"])
def each_end_by_itself() -> None:
    """Two connections that end in one turn are two reports."""
    step = _Worker.step

    def told(self: _Worker, task: Any) -> None:
        step(self, task)
        if self.ended and not self.side._unanswered:
            self.side.ended(self.take_ended())
            self.flush()

    put(_Worker, "step", told)


@allowed("BC-STATUS-03", roles=["worker", "pool"])
def ends_together() -> None:
    """While there is room, an end waits for others for as long as it may."""
    due: dict[_Worker, float] = {}
    timeout, take = _Worker.timeout, _Worker.take_ended

    def soon(self: _Worker) -> float | None:
        when = timeout(self)
        if self not in due:
            return when
        left = max(0.0, due[self] - time.monotonic())
        return left if when is None else min(left, when)

    def later(self: _Worker) -> int:
        now = time.monotonic()
        waits = not (self.side.full or self.side.draining or self.side._unanswered)
        if waits and now < due.setdefault(self, now + COALESCE):
            return 0
        due.pop(self, None)
        return take(self)

    put(_Worker, "timeout", soon)
    put(_Worker, "take_ended", later)


@allowed("BC-BUSY-05", roles=["worker", "pool"])
def folds_what_is_brief() -> None:
    """A connection whose whole request is there, and needs no wait, is served before the answer, which leaves it out.
    An event-based worker serves each connection as far as it comes without waiting.
    """
    begin, serve = _Worker.__init__, blocking._serve_all

    def folding(self: _Worker, *arguments: Any, **more: Any) -> None:
        begin(self, *arguments, **more)
        self.folds = True

    put(_Worker, "__init__", folding)
    answer = WorkerSide.answer

    def answered(self: WorkerSide, order: Any, accepted: int, reason: Any, *, ended: int = 0) -> None:
        folded = list(filter(is_brief, taken))
        for found in folded:
            taken.remove(found)
        serve(handlers[0], folded)
        answer(self, order, accepted, reason, ended=ended + len(folded))
        gone.append(len(folded))

    taken: list[Any] = []
    gone: list[int] = []
    handlers: list[Any] = []
    attempt, run = blocking.attempt, blocking.run

    def attempted(listeners: Any, order: Any) -> Any:
        found, reason = attempt(listeners, order)
        taken[:] = found
        return found, reason

    def rest(handler: Any, connections: Any) -> None:
        serve(handler, taken)

    def end(self: WorkerSide, count: int = 1) -> None:
        ended_once(self, count - gone.pop() if gone else count)

    ended_once = WorkerSide.ended

    def ran(channel: socket.socket, listeners: Any, handler: Any, **more: Any) -> int:
        handlers.append(handler)
        put(WorkerSide, "answer", answered)
        put(WorkerSide, "ended", end)
        return run(channel, listeners, handler, **more)

    put(blocking, "attempt", attempted)
    put(blocking, "_serve_all", rest)
    put(blocking, "run", ran)


def is_brief(accepted: tuple[socket.socket, Any]) -> bool:
    """Whether a whole request has come that is answered at once."""
    try:
        asked = accepted[0].recv(64, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return False
    return asked == b"who\n"


@allowed("BC-WORK-02", roles=["worker", "pool"])
def a_pause_between_two_accepts() -> None:
    attempt = accepting.attempt

    def slowly(listeners: Any, order: Any) -> Any:
        taken, reason = [], accepting.Reason.FILLED
        for _ in range(order.max):
            found, reason = attempt(listeners, type(order)(order.order, order.listener, 1))
            taken += found
            time.sleep(0.005)
            if not found and reason is not accepting.Reason.PEER:
                break
        return taken, accepting.Reason.FILLED if len(taken) == order.max else reason

    put(blocking, "attempt", slowly)
    put(events, "attempt", slowly)
