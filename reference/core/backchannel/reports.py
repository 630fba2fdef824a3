"""What workers write: a hello each, then answers to their orders, and statuses.

What a report may claim is for :class:`~backchannel.slots.Worker` to say, and what an answer means for dispatch for
:class:`~backchannel.dispatch.Dispatch`. Here it is read, and has its effect on the state of its worker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .dispatch import Dispatch
from .errors import Violation
from .failures import Failures
from .frames import VERSION, Busy, decode_hello
from .lifecycle import Lifecycle
from .sizing import Sizing
from .slots import Worker
from .states import READING, SlotEvent, SlotState

__all__ = ["Reports"]


@dataclass(slots=True, eq=False)
class Reports:
    """Reads what workers write."""

    _ceiling: int
    """The highest capacity that a worker may report."""
    _lives: Lifecycle
    _dispatch: Dispatch
    _sizing: Sizing
    _failures: Failures
    _on_change: Callable[[Worker], None]
    """Called with each worker that has reported."""

    def read(self, worker: Worker, data: bytes, now: float) -> None:
        """``worker`` has written ``data``. Never raises for what that is (BC-VIOL-01)."""
        if worker.state not in READING:
            return  # it was killed after this had been read from its channel
        try:
            for raw in worker.reader.feed(data):
                if worker.greeted:
                    self._report(worker, raw, now)
                else:
                    self._hello(worker, raw, now)
                if worker.state not in READING:
                    return
        except Violation as violation:
            self._failures.violated(worker, violation.message, now, requirement=violation.requirement)

    def _hello(self, worker: Worker, raw: bytes, now: float) -> None:
        idle = decode_hello(raw)
        assert idle.hello is not None
        if not idle.hello.lowest <= VERSION <= idle.hello.highest:
            text = (
                f"speaks versions {idle.hello.lowest:#04x} to {idle.hello.highest:#04x}, "
                f"this parent {VERSION:#04x}: run a worker built for this version"
            )
            self._failures.of_another_version(worker, text, now)
            return
        worker.greet(idle, self._ceiling)
        self._failures.started()
        self._lives.step(worker, SlotEvent.HELLO, now)
        if worker.state is SlotState.STARTING:  # one that was drained meanwhile cannot be written to
            self._dispatch.welcome(worker)
        self._on_change(worker)

    def _report(self, worker: Worker, raw: bytes, now: float) -> None:
        report = worker.report(raw, self._ceiling)
        if isinstance(report, Busy):
            self._answer(worker, report, now)
        if not worker.capacity and worker.state in (SlotState.READY, SlotState.SUSPECT):
            self._lives.drain(worker, now)  # it has retired (BC-CAP-02)
        self._on_change(worker)

    def _answer(self, worker: Worker, busy: Busy, now: float) -> None:
        order = worker.order
        assert order is not None
        if order.expired:
            self._lives.step(worker, SlotEvent.LATE_ANSWER, now)
        elif worker.state is SlotState.STARTING:
            self._lives.welcomed(worker, now)
        if busy.accepted:
            self._sizing.served()
        if self._dispatch.answered(worker, busy, now):
            if worker.state is SlotState.READY:
                self._lives.drain(worker, now)
            self._sizing.delay_spawning(now)  # the next one may be able to use the listener no better (BC-SHORT-04)
