"""A history of role *worker* as it happens: the suite is the parent and all clients of a running worker.

The stage does the steps. Between them :mod:`~.observer` waits until the worker has come to rest.
"""

from __future__ import annotations

import contextlib
import select
import signal
import time
from contextlib import ExitStack
from itertools import pairwise

from ... import frames, kernel, processes
from ...waiting import until
from ...worker_under_test import WorkerUnderTest
from .clients import Clients, arrow
from .model import WorkerModel
from .observer import Observer
from .scenario import (
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

__all__ = ["WorkerStage"]


class WorkerStage:
    """One worker under test and those around it."""

    def __init__(self, worker: WorkerUnderTest, setting: Setting) -> None:
        self.worker = worker
        self.model = WorkerModel(setting)
        self.trace: list[str] = []
        """What was done and what came, the newest last."""
        self._clients = Clients(worker, self.model, self.trace)
        self._observer = Observer(worker, self.model, self._clients, self.trace, self._ask)
        self._kept = self._begun = b""
        self._numbers = 0
        self._count_of_steps = 0
        self._acts_at = 0.0
        self._stack = ExitStack()
        self._few: ExitStack | None = None

    @property
    def over(self) -> bool:
        """The worker has exited, as it had to or might."""
        return self._observer.over

    def settle(self) -> None:
        """Wait until the worker has come to rest. Raises :class:`RequirementViolated` for what is wrong or missing."""
        self._observer.settle()

    def _ask(self) -> None:
        """Send an order for nothing."""
        self._do(Write((Order(0),)))

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
        if not isinstance(step, Write) or step.fault is None or self._observer.halts or not kernel.can("faulty"):
            return None
        alone = len(step.items) == 1 and not step.kept and not self._kept and not self.model.orders
        return step.fault if alone and self.model.reads else None

    def _do(self, step: Step, fault: Fault | None = None) -> None:
        pid, self._acts_at = self.worker.pid, time.monotonic()
        match step:
            case Write():
                self._write(step, fault)
            case Connect(who, listener, says):
                self._clients.connect(who, listener, says)
            case Say(who, text):
                self._clients.say(who, text)
            case HalfClose(who) | Close(who) | Reset(who):
                self._clients.leave(who, step)
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
            case Halts() if kernel.can("faulty") and not self._observer.halts and not self.model.stopped:
                self._stack.enter_context(kernel.faulty(pid, "send", "signal=STOP", "1+"))
                self._observer.halts = True
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
        self.trace += [arrow("parent --> worker", line) for line in self._shown(data)]
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
        self._observer.drained_at = self._acts_at

    def _allow(self, more: int | None) -> None:
        if not kernel.can("no_descriptors") or self.model.stopped:
            return
        if self._few is not None:
            self._few.close()
        self._few = None
        if more is not None:
            self._few = self._stack.enter_context(ExitStack())
            self._few.enter_context(kernel.no_descriptors(self.worker.pid, more))
        self.model.descriptors, self.model.freed = more, 0

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
        if self.model.draining and self.model.setting.drain_deadline < Setting.drain_deadline:
            self._wait_for_deadline()
        self._clients.all_leave()
        if not self.over:
            self.settle()
        if not self.over and self.model.reads and self.model.greeted:
            self._ask()
            self.settle()
        self._clear()

    def _wait_for_deadline(self) -> None:
        observer = self._observer
        while not self.over and observer.leaves_at is not None and time.monotonic() < observer.leaves_at:
            observer.look()
            observer.exited()
            observer.wait(0.02)
        if not self.over:
            self.settle()

    def _clear(self) -> None:
        """For the next history."""
        self._clients.close()
        for listener in self.worker.listeners:
            with contextlib.suppress(OSError):  # one does not listen
                # looked at first: a worker that has made it block has made it block for the suite as well
                while select.select([listener], [], [], 0)[0]:
                    listener.accept()[0].close()
        self.model.forget()
        self.trace.clear()
        self._stack.close()
        self._observer.halts, self._few = False, None

    def close(self) -> None:
        """Let go of everything, whatever has happened."""
        self._stack.close()
        self._clients.close()
        self.worker.close()
