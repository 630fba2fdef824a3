"""A history of role *worker* as it happens: the suite is the parent and all clients of a running worker.

After each step the stage looks until the worker has come to rest: what was written is read, every thread of the worker
sleeps, and none has run between two looks. What the model says is due must have come by then; since a report may be
held back for *coalesce*, and what is on its way to a sleeper may need a moment, the worker must have slept for
:data:`PATIENCE` before that something is missing. Where the system does not tell who sleeps, an order for nothing and
its answer take the place of this.

Clients are read before the channel, so what a client has been told was told before what the channel does not hold yet.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import time
from contextlib import ExitStack
from itertools import pairwise
from typing import Final

from .. import frames, kernel, processes
from ..errors import ContractError, RequirementViolated, check
from ..waiting import TimedOut, deadline_in, scale, until
from ..worker_under_test import PROPER, WorkerUnderTest
from .worker_model import Due, Visitor, WorkerModel
from .worker_scenario import (
    FAULTY,
    Close,
    Connect,
    Continue,
    Descriptors,
    Eof,
    Fault,
    HalfClose,
    Halts,
    Item,
    Order,
    Reset,
    Say,
    Setting,
    Signal,
    Step,
    Stop,
    Vanish,
    Welcome,
    Write,
)

__all__ = ["PATIENCE", "WorkerStage"]

PATIENCE: Final = 0.3
"""Seconds that a worker sleeps before that what is due is missing: *coalesce* many times over."""
LIMIT: Final = 20.0
BUSY_FOR: Final = 2.0
"""Seconds of processor time that no step needs."""


class WorkerStage:
    """One worker under test and those around it."""

    def __init__(self, worker: WorkerUnderTest, setting: Setting) -> None:
        self.worker = worker
        self.model = WorkerModel(setting)
        self.trace: list[str] = []
        """What was done and what came, the newest last."""
        self.over = False
        """The worker has exited, as it had to or might."""
        self._clients: dict[int, socket.socket] = {}
        self._ports: dict[int, int] = {}
        self._lines: dict[int, bytes] = {}
        self._kept = self._begun = b""
        self._numbers = 0
        self._count_of_steps = 0
        self._stack = ExitStack()
        self._halts = False
        self._few: ExitStack | None = None
        self._drained_at: float | None = None
        self._answered = False
        self._inodes = [os.fstat(listener.fileno()).st_ino for listener in worker.listeners]

    # ---------------------------------------------------------------------------------------- steps

    def play(self, step: Step) -> None:
        """Do ``step``, and wait until the worker has come to rest. Raises :class:`RequirementViolated`."""
        if self.over:
            return
        self._count_of_steps += 1
        self.trace.append(f"{self._count_of_steps:>3}. {step}")
        fault = self._fault(step)
        with ExitStack() as stack:
            if fault:
                when = f"{fault.first}..{fault.last}"
                stack.enter_context(kernel.faulty(self.worker.pid, "accept", f"error={fault.error}", when))
            self._do(step, fault)
            self.settle()

    def _fault(self, step: Step) -> Fault | None:
        """The fault of ``step``, if it can be said which order it hits."""
        if not isinstance(step, Write) or step.fault is None or self._halts or not kernel.can("faulty"):
            return None
        alone = len(step.items) == 1 and not step.kept and not self._kept and not self.model.orders
        return step.fault if alone and self.model.reads else None

    def _do(self, step: Step, fault: Fault | None = None) -> None:
        pid = self.worker.pid
        match step:
            case Write():
                self._write(step, fault)
            case Connect(who, listener, says):
                self._connect(who, listener, says)
            case Say(who, text):
                self._say(who, text)
            case HalfClose(who) | Close(who) | Reset(who):
                self._leave(who, step)
            case Welcome():
                self.greet()
            case Stop() if not self.model.stopped:
                processes.send(pid, signal.SIGSTOP)
                if kernel.can("state"):
                    until(lambda: kernel.state(pid) == "T", what="the worker to stop")
                self.model.stopped = True
            case Continue() if self.model.stopped:
                with contextlib.suppress(processes.Ended):
                    processes.send(pid, signal.SIGCONT)
                self.model.stopped = False
            case Signal(name):
                self.model.condemned = self.model.condemned or name not in ("SIGCHLD", "SIGURG", "SIGWINCH")
                with contextlib.suppress(processes.Ended):
                    processes.send(pid, getattr(signal, name))
            case Descriptors(more):
                self._allow(more)
            case Halts() if kernel.can("faulty") and not self._halts and not self.model.stopped:
                self._stack.enter_context(kernel.faulty(pid, "send", "signal=STOP", "1+"))
                self._halts = True
            case Eof() if not self.model.eof:
                self.worker.half_close()
                self.model.eof = True
                self._drains()
            case Vanish() if not self.model.eof and not self.model.orders:
                self.worker.channel.close()
                self.model.vanished()
                self._drains()

    def greet(self) -> None:
        """Hello and welcome."""
        if not self.model.greeted:
            self.settle()
        if not (self.model.eof or self.model.violated or self._numbers):
            self._do(Write((Order(0),)))

    def _write(self, step: Write, fault: Fault | None = None) -> None:
        if self.model.eof:
            return
        whole = self._kept + b"".join(self._frame(item).octets for item in step.items)
        end = max(len(self._kept), len(whole) - step.kept)
        data, self._kept = whole[:end], whole[end:]
        edges = [0, *sorted({cut for cut in step.cuts if 0 < cut < len(data)}), len(data)]
        for begin, end in pairwise(edges):
            with contextlib.suppress(BrokenPipeError):  # it has left after a violation
                self.worker.send(data[begin:end])
            self._wrote(data[begin:end], fault)
            if step.pauses:
                self.settle()

    def _wrote(self, data: bytes, fault: Fault | None) -> None:
        self.trace += [_arrow("parent --> worker", line) for line in self._shown(data)]
        known = len(self.model.orders)
        violated = self.model.violated
        self.model.wrote(data, fault)
        self.worker.orders.extend((order.number, order.max) for order in list(self.model.orders)[known:])
        if self.model.violated != violated:
            self._drains()

    def _shown(self, data: bytes) -> list[str]:
        whole, begun = frames.cut(self._begun + data)
        pieces = f" (the rest of it: {len(data)} octets)" if self._begun and whole and len(data) < frames.SIZE else ""
        lines = [str(frames.Frame.parse(raw)).partition(" (")[0] for raw in whole]
        if begun and len(begun) <= len(data) and (len(data) < frames.SIZE or not lines):
            lines.append(f"{min(len(begun), len(data))} octets of a frame")
        self._begun = begun
        return [f"{lines[0]}{pieces}", *lines[1:]] if lines else lines

    def _frame(self, item: Item) -> frames.Frame:
        if isinstance(item, Order):
            self._numbers += 1
            number = self._numbers if item.number is None else item.number
            return frames.accept(number, item.max, item.listener)
        if item.what == "the listener after the last":
            return frames.accept(1, 0, listener=self.model.setting.listeners)
        return FAULTY[item.what]

    def _drains(self) -> None:
        self._drained_at = time.monotonic()

    # -------------------------------------------------------------------------------------- clients

    def _connect(self, who: int, listener: int, says: str) -> None:
        setting = self.model.setting
        if who in self._clients or listener >= setting.listeners - setting.useless:
            return
        client = socket.create_connection(self.worker.address(listener), timeout=LIMIT * scale())
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._clients[who], self._lines[who] = client, b""
        self._ports[who] = client.getsockname()[1]
        visitor = Visitor(who, listener)
        expected = len(self.model.queues[listener]) + 1
        self.model.connected(visitor)
        if kernel.can("pending"):
            with contextlib.suppress(TimedOut):  # if somebody has taken one, that is found out below
                sock = self.worker.listeners[listener]
                until(lambda: kernel.pending(sock) >= expected, 1, what="the connection to be pending")
        self._say(who, says)

    def _say(self, who: int, text: str) -> None:
        if who in self._clients and text and not self.model.visitors[who].left:
            with contextlib.suppress(ConnectionError):  # it is served, and closed
                self._clients[who].sendall(text.encode())
            self.model.visitors[who].said += text

    def _leave(self, who: int, step: Step) -> None:
        visitor = self.model.visitors.get(who)
        if who not in self._clients or visitor is None or visitor.left in ("closed", "reset"):
            return
        client = self._clients[who]
        if isinstance(step, HalfClose):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            visitor.left = "half"
            return
        if isinstance(step, Reset):
            # where a reset takes a connection out of the queue, nobody could say what an order must give
            if visitor.state == "pending" and not kernel.can("pending"):
                return
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        visitor.left = "reset" if isinstance(step, Reset) else "closed"
        del self._clients[who]

    def _hear(self) -> None:
        """What has come to the clients."""
        for who, client in self._clients.items():
            visitor = self.model.visitors.get(who)
            if visitor is None or visitor.over:
                continue
            with contextlib.suppress(BlockingIOError):
                client.setblocking(False)
                try:
                    while data := client.recv(4096):
                        self._lines[who] += data
                    visitor.over = True
                except ConnectionError:
                    visitor.over = True
            self._read(visitor)

    def _read(self, visitor: Visitor) -> None:
        *lines, self._lines[visitor.name] = self._lines[visitor.name].split(b"\n")
        for line in lines:
            self.trace.append(
                _arrow(f"           worker --> client {visitor.name}", repr(line.decode(errors="replace")))
            )
            right = line.split()[:2] == [b"%d" % self.worker.pid, b"0"]
            check(right, "BC-WORK-04", f"client {visitor.name} was told {line[:80]!r} by worker {self.worker.pid}")
        visitor.answers += len(lines)
        if visitor.over:
            self.trace.append(_arrow(f"           worker --| client {visitor.name}", "the end of the connection"))

    # ---------------------------------------------------------------------------------------- looks

    def look(self) -> None:
        """Take what has come. Raises :class:`RequirementViolated` for what must not come."""
        shown = len(self.trace)
        self._hear()
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
                    self.trace.append(_arrow("parent <-- worker", str(frame).partition(" (")[0]))
                    self._answered = self._answered or frame.type == frames.BUSY
                    self.model.frame(frame)
                    before |= set(self.model.held)
            finally:
                came = len(self.trace) > shown
                self.trace += heard
        if came:
            self._hear()
            self._closed([visitor for visitor in before if visitor.state == "ended" and not visitor.over])
        for visitor in served:
            if visitor.state == "pending":
                self._served_early(visitor)
        if self.worker.at_end:
            self._channel_ended()

    def _closed(self, left_out: list[Visitor]) -> None:
        """A report has left them out, and no client has seen its end: perhaps it is on the way."""
        doubtful = [visitor for visitor in left_out if visitor.sees or self._halts]
        if doubtful and kernel.can("clients"):
            for listener in {visitor.listener for visitor in doubtful}:
                held = kernel.clients(self.worker.pid, self.worker.address(listener)[1])
                here = [visitor for visitor in doubtful if visitor.listener == listener]
                self.model.not_closed([visitor for visitor in here if self._ports[visitor.name] in held])

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
                raise ContractError(f"the worker ended before end-of-file; {self.worker.last_words()}")
            raise RequirementViolated(rule, f"the worker ended before end-of-file; {self.worker.last_words()}")
        left = [visitor.name for visitor in model.held if not visitor.ends]
        check(
            not left or self._deadline_over(0.95),
            "BC-DRAIN-04",
            f"the worker left the connections of clients {left}, which it holds",
        )

    def _deadline_over(self, share: float = 1.0) -> bool:
        if self._drained_at is None:
            return False
        return time.monotonic() >= self._drained_at + share * self.model.setting.drain_deadline

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
            if self._halts and self._halted():
                continue
            gone = self._exited()
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
                self._do(Write((Order(0),)))
                asked = True
            if now > limit:
                self._missing(due)
                raise ContractError(f"the worker does not come to rest; {self.worker.last_words()}")
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
            self._wait(0.0005 if turns < 20 else 0.005)
        model.settled()
        self._after()

    def _halted(self) -> bool:
        """Whether the worker has stopped after a write. Then all that it had led to was seen, and it goes on."""
        if kernel.state(self.worker.pid) not in ("T", "t"):
            return False
        self.look()
        with contextlib.suppress(processes.Ended):
            processes.send(self.worker.pid, signal.SIGCONT)
        return True

    def _missing(self, due: Due | None) -> None:
        if due is not None:
            why = f"; {self.worker.last_words()}" if self.worker.gone() else ", and it sleeps"
            raise RequirementViolated(due.requirement, f"the worker owes {due.missing}{why}")

    def _wait(self, seconds: float) -> None:
        poll = select.poll()
        if self.worker.channel.fileno() >= 0 and not self.worker.at_end:
            poll.register(self.worker.channel, select.POLLIN)
        for who, client in self._clients.items():
            visitor = self.model.visitors.get(who)
            if visitor is not None and not visitor.over:
                poll.register(client, select.POLLIN)
        poll.poll(seconds * 1000)

    def _unread(self) -> bool:
        channel = self.worker.channel
        return (
            self.model.reads and kernel.can("unread") and channel.fileno() >= 0 and kernel.unread(channel.fileno()) > 0
        )

    def _can_ask(self) -> bool:
        model = self.model
        return model.reads and model.greeted and not model.orders and not self._kept and not self.over

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
        if self.model.overdue:
            return Due("BC-DRAIN-05", "to exit: the drain deadline has passed")
        if self.model.over:
            rule = "BC-VIOL-08" if self.model.violated else "BC-DRAIN-12"
            return Due(rule, "to exit: it holds no connection after the end of its channel")
        return None

    def _exited(self) -> bool:
        if self.over or not self.worker.gone():
            return self.over
        self.look()  # what it has written before
        if not self.over:
            model = self.model
            self._may_leave()
            early = model.early and bool(model.orders)
            if not model.condemned:
                status = 76 if early else model.status
                late = model.overdue or self._deadline_over(0.95)
                rule = "BC-VIOL-08" if model.violated or early else "BC-DRAIN-14" if late else "BC-DRAIN-12"
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
            cut = visitor.over and not visitor.ends and not self.over
            rule = "BC-DRAIN-04" if self.model.draining else "BC-WORK-07"
            check(
                not cut, rule, f"the worker has closed the connection of client {visitor.name}, whose service goes on"
            )

    def _count(self, listener: int, pending: int) -> None:
        expected = len(self.model.queues[listener])
        if self.model.eof and self.model.mute and self.model.orders:
            return  # what it has taken for an order that it cannot answer, nobody can tell
        rule = "BC-BUSY-03" if self._answered else "BC-DRAIN-10" if self.model.draining else "BC-WORK-09"
        check(
            pending == expected, rule, f"{pending} connections are pending on listener {listener}, {expected} should be"
        )

    def _allow(self, more: int | None) -> None:
        if not kernel.can("no_descriptors") or self.model.stopped:
            return
        if self._few is not None:
            self._few.close()
        self._few = None
        if more is not None:
            self._few = self._stack.enter_context(ExitStack())
            self._few.enter_context(kernel.no_descriptors(self.worker.pid, more))
        self.model.descriptors = more

    # -------------------------------------------------------------------------------------- the end

    def finish(self) -> None:
        """End the history: what was begun is finished, clients leave, and the worker holds nothing, or has exited."""
        if not self.over:
            self._do(Continue())
            self._allow(None)
            self.settle()
        if not self.over and self._kept and not self.model.eof:
            self._write(Write(()))
            self.settle()
        if self.model.draining and self.model.setting.drain_deadline < LIMIT:
            self._wait_for_deadline()
        for who in list(self._clients):
            self._leave(who, HalfClose(who))
        if not self.over:
            self.settle()
        if not self.over and self.model.reads and self.model.greeted:
            self._do(Write((Order(0),)))
            self.settle()
        self._clear()

    def _wait_for_deadline(self) -> None:
        while not self.over and not self._deadline_over():
            self.look()
            self._exited()
            self._wait(0.02)
        self.model.overdue = True
        if not self.over:
            self.settle()

    def _clear(self) -> None:
        """For the next history."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        for listener in self.worker.listeners:
            # by now a port may have made it block, and a connection may be gone
            os.set_blocking(listener.fileno(), False)
            with contextlib.suppress(OSError):
                while True:
                    listener.accept()[0].close()
        self.model.forget()
        self.trace.clear()
        self._stack.close()
        self._halts, self._few = False, None

    def close(self) -> None:
        """Let go of everything, whatever has happened."""
        self._stack.close()
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        self.worker.close()


def _arrow(between: str, what: str) -> str:
    """A line of the chart."""
    return f"       {between:<31}{what}"
