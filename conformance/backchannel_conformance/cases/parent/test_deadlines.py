"""From which event each deadline counts.

That a deadline is not counted from an earlier event is shown by the clock: what is measured can only be longer than it
was. That it is not counted from a later one is shown without a limit of time. The parent is stopped until the deadline
has passed, the later event happens meanwhile, and when the parent goes on it must find the deadline passed.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable
from typing import TypeVar

import pytest
from backchannel_conformance import frames
from backchannel_conformance.errors import ContractError, RequirementViolated, check
from backchannel_conformance.fixtures import Parents
from backchannel_conformance.parent_under_test import ParentUnderTest
from backchannel_conformance.stub_worker import StubWorker
from backchannel_conformance.waiting import TimedOut, scale

event = pytest.mark.classes("event")
stops = pytest.mark.kernel("state")
COOL_DOWN = 0.1
"""The default of *cool_down*."""


def by_slot(parent: ParentUnderTest, count: int) -> list[StubWorker]:
    """The first workers."""
    return sorted((parent.stub() for _ in range(count)), key=lambda stub: stub.slot)


def wait(seconds: float) -> None:
    """Let time pass between two events, so that it makes a difference from which of them a deadline counts."""
    time.sleep(seconds)


T = TypeVar("T")


def in_time(seconds: float, attempt: Callable[[float], tuple[float, T]]) -> T:
    """What ``attempt`` returns beside the moment from which on the parent did nothing, for a deadline that had not
    passed by then. It is given one of ``seconds``, and a longer one as often as the machine was too slow for the last.
    """
    for doublings in range(6):
        deadline = seconds * max(1.0, scale()) * 2**doublings
        began = time.monotonic()
        try:
            stopped, found = attempt(deadline)
        except (RequirementViolated, ContractError):
            if time.monotonic() < began + deadline:
                raise
            continue  # the deadline has passed, and the parent may have done what it then must
        if stopped < began + deadline:
            return found
    raise TimedOut(f"this machine did not do within {deadline:g} s what has to be done before a deadline passes")


# ------------------------------------------------------------------------------------------------------ start_deadline


@stops
@pytest.mark.needs("start_deadline")
@pytest.mark.req("BC-KILL-03", "BC-PASS-02")
def test_hello_does_not_put_off_the_start_deadline(parents: Parents) -> None:
    """A worker says hello, and start_deadline after its spawn it has not answered the welcome: it is killed."""
    deadline = 2 * max(1.0, scale())
    parent = parents(start=2, min=2, max=2, start_deadline=deadline)
    ready, late = by_slot(parent, 2)
    ready.greet()
    with parent.asleep(late.started + deadline):
        late.err(frames.hello(1))
    parent.barrier(by=ready)
    check(not late.alive(), "BC-KILL-03", "its hello came just before start_deadline, and it was not killed then")


@pytest.mark.needs("start_deadline")
@pytest.mark.req("BC-KILL-03")
def test_start_deadline_of_a_later_worker(parents: Parents) -> None:
    """A worker that has served is replaced: the new one has the whole start_deadline, counted from its own spawn."""
    deadline = 1.5 * max(1.0, scale())
    parent = parents(start=1, min=1, max=1, start_deadline=deadline)
    first = parent.stub()
    first.greet()
    parent.connect()
    first.order("BC-PICK-01")
    first.take()
    wait(deadline / 4)
    began = time.monotonic()
    first.leave(1)
    second = parent.stub("BC-SCALE-11")
    second.killed("BC-KILL-03", "it did not start")
    took = time.monotonic() - began
    check(took >= deadline, "BC-KILL-03", f"it was killed {took:.3f} s after the death of the worker that it replaced")


@stops
@pytest.mark.needs("start_deadline")
@pytest.mark.req("BC-PASS-02", "BC-KILL-03")
def test_answer_in_time_to_the_welcome(parents: Parents) -> None:
    """A worker answers its welcome in time, and the parent is stopped until start_deadline has passed: it is READY."""

    def attempt(deadline: float) -> tuple[float, tuple[ParentUnderTest, StubWorker, StubWorker]]:
        parent = parents(start=2, min=2, max=2, start_deadline=deadline)
        ready, late = by_slot(parent, 2)
        ready.greet()
        late.hello()
        late.order("BC-HELLO-04")
        with parent.asleep(late.started + deadline) as stopped:
            late.answer(0)
        return stopped, (parent, ready, late)

    parent, ready, late = in_time(2, attempt)
    parent.barrier(by=ready)
    check(late.alive(), "BC-PASS-02", "it had answered its welcome in time, and was killed at start_deadline")


# ------------------------------------------------------------------------------------------------------ order_deadline


@event
@stops
@pytest.mark.needs("order_deadline")
@pytest.mark.req("BC-SILENT-01")
def test_status_does_not_put_off_the_order_deadline(parents: Parents) -> None:
    """A worker with an order unanswered reports another capacity: the order expires all the same when it is due."""
    deadline = 0.4 * scale()
    parent = parents.pool(2, capacity=2, policy="lowest", order_deadline=deadline)
    silent, other = parent.workers
    parent.connect()
    silent.order("BC-PICK-01")
    sent = time.monotonic()
    parent.barrier()
    with parent.asleep(sent + deadline):
        silent.status(0, capacity=3)
    parent.barrier()
    check(other.waiting(), "BC-SILENT-01", "order_deadline had passed since the order, and no other worker was ordered")


@pytest.mark.needs("order_deadline")
@pytest.mark.req("BC-SILENT-01")
def test_each_order_has_its_own_deadline(parents: Parents) -> None:
    """One order is answered, the next is not: it expires order_deadline after it was sent itself."""
    deadline = 0.3 * scale()
    parent = parents.pool(2, order_deadline=deadline)
    silent, other = parent.workers
    parent.connect()
    silent.order("BC-PICK-01")
    silent.take()
    silent.finish()
    wait(deadline / 2)
    began = time.monotonic()
    parent.connect()
    silent.order("BC-PICK-01")
    other.order("BC-SILENT-01")
    took = time.monotonic() - began
    check(took >= deadline, "BC-SILENT-01", f"the second order of a worker expired {took:.3f} s after it was sent")


@pytest.mark.classes("counted")
@pytest.mark.needs("order_deadline")
@pytest.mark.req("BC-SILENT-01")
def test_each_worker_has_its_own_deadline(parents: Parents) -> None:
    """Two workers are ordered, one later than the other: the later order expires by its own time."""
    deadline = 0.4 * scale()
    parent = parents.pool(3, order_deadline=deadline)
    first, second, third = parent.workers
    parent.connect()
    first.order("BC-PICK-01")
    wait(deadline / 2)
    began = time.monotonic()
    parent.connect()
    second.order("BC-PICK-01")
    third.order("BC-SILENT-01")
    third.take()
    third.finish()
    third.order("BC-SILENT-01")
    took = time.monotonic() - began
    check(took >= deadline, "BC-SILENT-01", f"the second worker's order expired {took:.3f} s after it was sent")


# ---------------------------------------------------------------------------------------------------- silence_deadline


def suspected(parent: ParentUnderTest) -> tuple[StubWorker, StubWorker, float]:
    """The first worker, whose order has expired; the second, which has taken the client; and when the first was SUSPECT
    already.
    """
    silent, other = parent.workers
    parent.connect()
    silent.order("BC-PICK-01")
    other.order("BC-SILENT-01")
    since = time.monotonic()
    other.take()
    return silent, other, since


@event
@stops
@pytest.mark.needs("order_deadline", "silence_deadline")
@pytest.mark.req("BC-SILENT-05")
def test_status_does_not_put_off_the_silence_deadline(parents: Parents) -> None:
    """A SUSPECT worker reports another capacity, but no answer: it is killed all the same when it is due."""
    long = 0.4 * scale()
    parent = parents.pool(
        2, capacity=2, policy="lowest", order_deadline=0.05 * scale(), silence_deadline=long, pass_=0.02
    )
    silent, other, since = suspected(parent)
    with parent.asleep(since + long):
        silent.err(frames.idle(3))
    parent.barrier(by=other)
    check(not silent.alive(), "BC-SILENT-05", "it had been SUSPECT for silence_deadline, and was not killed")


@stops
@pytest.mark.needs("order_deadline", "silence_deadline")
@pytest.mark.req("BC-PASS-02", "BC-SILENT-04")
def test_late_answer_before_the_silence_deadline(parents: Parents) -> None:
    """A SUSPECT worker answers, and the parent is stopped until silence_deadline has passed: the answer counts."""

    def attempt(long: float) -> tuple[float, tuple[ParentUnderTest, StubWorker]]:
        parent = parents.pool(2, order_deadline=0.05 * scale(), silence_deadline=long)
        late, other, since = suspected(parent)
        other.finish()
        with parent.asleep(since + long) as stopped:
            late.answer(0)
        return stopped, (parent, late)

    parent, late = in_time(1, attempt)
    parent.barrier()
    check(late.alive(), "BC-PASS-02", "its answer came before silence_deadline had passed, and it was killed")


# ------------------------------------------------------------------------------------------------------ drain_deadline


@stops
@pytest.mark.needs("drain_deadline")
@pytest.mark.req("BC-DRAIN-02")
def test_report_does_not_put_off_the_drain_deadline(parents: Parents) -> None:
    """A draining worker reports that a connection has ended: it is killed all the same when it is due."""
    deadline = 0.4 * scale()
    parent = parents.pool(2, drain_deadline=deadline)
    leaving, other = parent.workers
    parent.connect()
    leaving.order("BC-PICK-01")
    assert leaving.call("accept")["accepted"] == 1
    leaving.answer(1, capacity=0)
    leaving.drained("BC-CAP-03")
    began = time.monotonic()
    parent.barrier(by=other)
    with parent.asleep(began + deadline):
        leaving.err(frames.idle(0))
    parent.barrier(by=other)
    check(not leaving.alive(), "BC-DRAIN-02", "it had been DRAINING for drain_deadline, and was not killed")


@pytest.mark.needs("drain_deadline", "stop_deadline")
@pytest.mark.req("BC-DRAIN-02", "BC-STOP-01")
def test_drain_deadline_at_a_stop(parents: Parents) -> None:
    """SIGTERM, and a while later the worker is drained: its drain_deadline counts from the half-close."""
    deadline = 0.3 * scale()
    parent = parents.pool(1, stop_deadline=30, drain_deadline=deadline)
    (stub,) = parent.workers
    parent.connect()
    stub.order("BC-PICK-01")
    stub.take()
    parent.connect()
    parent.barrier()
    parent.signal(signal.SIGTERM)
    wait(deadline)
    stub.finish()
    stub.order("BC-STOP-01")
    began = time.monotonic()
    stub.take()
    stub.drained("BC-STOP-01")
    stub.killed("BC-DRAIN-02", "it did not exit")
    took = time.monotonic() - began
    check(
        took >= deadline, "BC-DRAIN-02", f"it was killed {took:.3f} s after its last answer, before which nobody drains"
    )


# ------------------------------------------------------------------------------------------------------- stop_deadline


@stops
@pytest.mark.needs("stop_deadline")
@pytest.mark.parametrize(("what", "clause"), [("SIGTERM", "BC-STOP-05"), ("a client", "BC-STOP-07")])
@pytest.mark.req("BC-STOP-07", "BC-STOP-05")
def test_nothing_puts_off_the_stop_deadline(parents: Parents, what: str, clause: str) -> None:
    """SIGTERM while clients wait that nobody takes. SIGTERM comes again, or another client; then a worker reports room.
    When stop_deadline has passed since the first SIGTERM, that worker is drained and not ordered.
    """
    deadline = 0.8 * scale()
    parent = parents.pool(2, stop_deadline=deadline, order_deadline=30)
    first, second = parent.workers
    parent.connect()
    first.order("BC-PICK-01")
    first.take()
    parent.connect()
    second.order("BC-PICK-01")
    parent.connect()
    parent.signal(signal.SIGTERM)
    with contextlib.suppress(RequirementViolated, ContractError):
        parent.barrier()  # on a machine so slow that the deadline passes meanwhile, the witness is killed
    stopped = time.monotonic()
    wait(deadline / 4)
    if what == "SIGTERM":
        parent.signal(signal.SIGTERM)
    else:
        parent.connect()
    wait(deadline / 8)
    with parent.asleep(stopped + deadline):
        first.finish()
    first.drained(clause)
    second.drained(clause)


# ---------------------------------------------------------------------------------------------------------- cool_downs


@pytest.mark.parametrize(("reason", "name"), [(frames.WORKER, "WORKER"), (frames.SYSTEM, "SYSTEM")])
@pytest.mark.req("BC-SHORT-17", "BC-SHORT-03", "BC-SHORT-15")
def test_cool_down_counts_from_the_answer(parents: Parents, reason: int, name: str) -> None:
    """An order is answered a while after it was sent: the cool-down counts from the answer."""
    parent = parents.pool(1)
    (stub,) = parent.workers
    parent.connect()
    stub.order("BC-PICK-01")
    wait(COOL_DOWN)
    answered = time.monotonic()
    stub.answer(0, reason)
    stub.order("BC-SHORT-17")
    took = time.monotonic() - answered
    check(took >= COOL_DOWN, "BC-SHORT-17", f"somebody was ordered {took:.3f} s after an answer with {name}")
