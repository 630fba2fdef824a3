"""What can be seen of a worker under test, and when it has come to rest.

After each step the observer looks until the worker rests: what was written is read, every thread of the worker sleeps,
and none has run between two looks. What the model says is due must have come by then; since a report may be held back
for *coalesce*, and what is on its way to a sleeper may need a moment, the worker must have slept for :data:`PATIENCE`
before that something is missing. Where the system does not tell who sleeps, an order for nothing and its answer take
the place of this.

Clients are read before the channel, so what a client has been told was told before what the channel does not hold yet.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from typing import Final

from ... import frames, kernel, processes
from ...errors import ContractError, RequirementViolated, check
from ...port_output import tail
from ...waiting import TimedOut, deadline_in, scale, until
from ...worker_under_test import PROPER, WorkerUnderTest
from .clients import Clients, arrow
from .model import Due, WorkerModel
from .visitor import Visitor

__all__ = ["LIMIT", "Observer"]

PATIENCE: Final = 0.3
"""Seconds that a worker sleeps before that what is due is missing: *coalesce* many times over."""
LIMIT: Final = 60.0
BUSY_FOR: Final = 2.0
"""Seconds of processor time that no step needs."""


class Observer:
    """Looks at one worker, its channel and its clients. ``ask`` sends an order for nothing."""

    def __init__(
        self, worker: WorkerUnderTest, model: WorkerModel, clients: Clients, trace: list[str], ask: Callable[[], None]
    ) -> None:
        self.worker, self.model, self.clients, self.trace = worker, model, clients, trace
        self.over = False
        """The worker has exited, as it had to or might."""
        self.halts = False
        """It is stopped after each of its writes."""
        self.drained_at: float | None = None
        """Not before then can it have read the end, or the violation."""
        self.leaves_at: float | None = None
        """When it must have exited, whatever it holds."""
        self._ask = ask
        self._answered = False
        self._inodes = [os.fstat(listener.fileno()).st_ino for listener in worker.listeners]

    def look(self) -> None:
        """Take what has come. Raises :class:`RequirementViolated` for what must not come."""
        shown = len(self.trace)
        self.model.overdue = self.model.overdue or self.deadline_over()
        self.clients.hear()
        heard = self.trace[shown:]
        pending = [visitor for visitor in self.model.visitors.values() if visitor.state == "pending"]
        served = [visitor for visitor in pending if visitor.answers or visitor.over]
        before = set(self.model.held)
        came = False
        if self.worker.channel.fileno() >= 0:
            # what clients had heard by now came at the same time at the latest: the chart shows it below
            del self.trace[shown:]
            try:
                for frame in self.worker.arrived():
                    self.trace.append(arrow("parent <-- worker", str(frame).partition(" (")[0]))
                    self._answered = self._answered or frame.type == frames.BUSY
                    self.model.frame(frame)
                    before |= set(self.model.held)
            finally:
                came = len(self.trace) > shown
                self.trace += heard
        if came:
            self.clients.hear()
            self._closed([visitor for visitor in before if visitor.state == "ended" and not visitor.over])
        for visitor in served:
            if visitor.state == "pending":
                self._served_early(visitor)
        if self.worker.at_end:
            self._channel_ended()

    def _closed(self, left_out: list[Visitor]) -> None:
        """A report has left them out, and no client has seen its end: perhaps it is on the way."""
        doubtful = [visitor for visitor in left_out if visitor.sees or self.halts]
        if doubtful and kernel.can("clients"):
            self.model.not_closed(self.clients.held(doubtful))

    def _served_early(self, visitor: Visitor) -> None:
        if self.model.mute or self.model.stopped:
            return
        ordered = any(order.listener == visitor.listener and order.max for order in self.model.orders)
        check(
            ordered, "BC-WORK-09", f"client {visitor.name} was served, and no order is there that could have taken it"
        )
        check(visitor.ends, "BC-BUSY-02", f"client {visitor.name} was served before its order was answered")

    def _channel_ended(self) -> None:
        model = self.model
        if model.condemned or self.over or (model.early and model.orders):
            return
        due = model.due_frame()
        if due is not None:
            raise RequirementViolated(due.requirement, f"the worker ended its channel, and owes {due.missing}")
        self._may_leave()

    def _may_leave(self) -> None:
        """It has ended its channel, or exited: had it to?"""
        model = self.model
        early = model.early and bool(model.orders)
        if model.condemned or early:
            return
        if not (model.eof or model.violated):
            rule = "BC-CAP-04" if model.setting.quota and not model.capacity else "BC-WORK-07"
            with contextlib.suppress(TimedOut):
                until(self.worker.gone, 2, what="the worker to exit")
            if self.worker.gone() and self.worker.wait(rule) not in PROPER:
                raise ContractError(f"the worker ended before end-of-file; {self._last_words()}")
            raise RequirementViolated(rule, f"the worker ended before end-of-file; {self._last_words()}")
        left = [visitor.name for visitor in model.held if not visitor.ends]
        check(
            not left or self.deadline_over(),
            "BC-DRAIN-04",
            f"the worker left the connections of clients {left}, which it holds",
        )

    def deadline_over(self) -> bool:
        """Whether the drain deadline may have passed."""
        if self.drained_at is None:
            return False
        return time.monotonic() >= self.drained_at + self.model.setting.drain_deadline

    # --------------------------------------------------------------------------------------- settle

    def settle(self) -> None:
        """Wait until the worker has come to rest. Raises :class:`RequirementViolated` for what is wrong or missing."""
        model, pid = self.model, self.worker.pid
        limit, calm_since, before = deadline_in(LIMIT), None, None
        spent, turns, asked = self._cpu(), 0, False
        while True:
            self.look()
            if model.stopped:
                return
            if self.halts and self._let_go_on():
                continue
            gone = self.exited()
            due = self._due()
            now = time.monotonic()
            slept = None if gone or not kernel.can("activity") else kernel.activity(pid)
            calm = gone or (slept is not None and slept == before)
            unread = self._unread()
            if calm and not due and not unread:
                break
            if not calm:
                calm_since = None
            elif calm_since is None:
                calm_since = now
            elif now - calm_since > (PATIENCE if model.greeted else LIMIT) * scale():
                # asleep for so long with half a frame unread: it waits for something else, and owes nothing
                self._missing(due)
                break
            if not kernel.can("activity") and not due and not gone:
                if asked or not self._can_ask():
                    break
                self._ask()
                asked = True
            if now > limit:
                self._missing(due)
                raise ContractError(f"the worker does not come to rest; {self._last_words()}")
            turns += 1
            if turns % 64 == 0 and self._cpu() - spent > BUSY_FOR * scale():
                self._missing(due)
                rule = "BC-DRAIN-13" if model.draining else "BC-HERD-01"
                raise RequirementViolated(
                    rule, f"the worker took {BUSY_FOR * scale():g} s of processor time for nothing"
                )
            if not calm and slept is not None and not due:
                before = slept  # asleep: ask once more at once
                continue
            before = slept
            self.wait(0.0005 if turns < 20 else 0.005)
        model.settled()
        if model.draining and self.leaves_at is None:
            self.leaves_at = time.monotonic() + model.setting.drain_deadline
        self._after()

    def _let_go_on(self) -> bool:
        """Whether the worker has stopped after a write. Then all that it had led to was seen, and it goes on."""
        if kernel.state(self.worker.pid) not in ("T", "t"):
            return False
        self.look()
        with contextlib.suppress(processes.Ended):
            processes.send(self.worker.pid, signal.SIGCONT)
        return True

    def _missing(self, due: Due | None) -> None:
        if due is not None:
            why = f"; {self._last_words()}" if self.worker.gone() else ", and it sleeps"
            raise RequirementViolated(due.requirement, f"the worker owes {due.missing}{why}")

    def wait(self, seconds: float) -> None:
        """Until something comes from the worker, or ``seconds`` have passed."""
        poll = select.poll()
        if self.worker.channel.fileno() >= 0 and not self.worker.at_end:
            poll.register(self.worker.channel, select.POLLIN)
        self.clients.watch(poll)
        poll.poll(seconds * 1000)

    def _unread(self) -> bool:
        channel = self.worker.channel
        return (
            self.model.reads and kernel.can("unread") and channel.fileno() >= 0 and kernel.unread(channel.fileno()) > 0
        )

    def _can_ask(self) -> bool:
        model = self.model
        return model.reads and model.greeted and not model.orders and not model.begun and not self.over

    def _cpu(self) -> float:
        with contextlib.suppress(OSError):
            return kernel.cpu_seconds(self.worker.pid) if kernel.can("cpu_seconds") else 0.0
        return 0.0

    def _due(self) -> Due | None:
        if self.over or self.worker.gone():
            return None
        due = self.model.due()
        if due is not None or self.model.stopped:
            return due
        if self.model.draining and kernel.can("sockets_of"):
            held = kernel.sockets_of(self.worker.pid)
            kept = [at for at, inode in enumerate(self._inodes) if inode in held]
            rule = "BC-VIOL-03" if self.model.violated else "BC-DRAIN-09"
            if self.model.violated and len(kept) == len(self._inodes):
                rule = self.model.violated  # it has not noticed
            if kept:
                return Due(rule, f"to close its listeners: it holds {kept} of {len(self._inodes)}")
        if self.leaves_at is not None and time.monotonic() >= self.leaves_at:
            return Due("BC-DRAIN-05", "to exit: the drain deadline has passed")
        if self.model.over:
            rule = "BC-VIOL-08" if self.model.violated else "BC-DRAIN-12"
            return Due(rule, "to exit: it holds no connection after the end of its channel")
        return None

    def exited(self) -> bool:
        """Whether it has exited. Raises :class:`RequirementViolated` if it had not to, or with another status."""
        if self.over or not self.worker.gone():
            return self.over
        self.look()  # what it has written before
        if not self.over:
            model = self.model
            self._may_leave()
            early = model.early and bool(model.orders)
            if not model.condemned:
                status = 76 if early else model.status
                rule = "BC-VIOL-08" if model.violated or early else "BC-DRAIN-14" if model.overdue else "BC-DRAIN-12"
                self.worker.exits(status, rule)
            self.over = True
        return True

    def _after(self) -> None:
        """At rest: the listeners are as they were, and nobody was taken whom no report has told of."""
        for at, listener in enumerate(self.worker.listeners):
            check(not os.get_blocking(listener.fileno()), "BC-WORK-05", f"listener {at} blocks: O_NONBLOCK was cleared")
            if at == self.model.setting.listeners - 1 and self.model.setting.useless:
                continue
            listens = listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            check(bool(listens), "BC-WORK-12", f"listener {at} listens no more")
            if kernel.can("pending") and not (self.model.condemned and self.over):
                self._count(at, kernel.pending(listener))
        self._answered = False
        for visitor in self.model.held:
            cut = visitor.over and not visitor.ends and not (self.over or self.model.overdue)
            rule = "BC-DRAIN-04" if self.model.draining else "BC-WORK-07"
            check(
                not cut, rule, f"the worker has closed the connection of client {visitor.name}, whose service goes on"
            )

    def _last_words(self) -> str:
        last = tail(self.worker.log)
        return f"its output ends:\n{last}" if last else "it wrote nothing to its output"

    def _count(self, listener: int, pending: int) -> None:
        expected = len(self.model.queues[listener])
        if self.model.eof and self.model.mute and self.model.orders:
            return  # what it has taken for an order that it cannot answer, nobody can tell
        rule = "BC-BUSY-03" if self._answered else "BC-DRAIN-10" if self.model.draining else "BC-WORK-09"
        check(
            pending == expected, rule, f"{pending} connections are pending on listener {listener}, {expected} should be"
        )
