"""Retiring, draining, stopping."""

from __future__ import annotations

import signal
import socket
import time
from functools import partial
from typing import Any

import pytest
from backchannel_conformance import kernel
from backchannel_conformance.errors import RequirementViolated, check
from backchannel_conformance.fixtures import Parents
from backchannel_conformance.manifest import Manifest
from backchannel_conformance.waiting import TimedOut, scale, until

NEVER_READY = "it has never been READY, and everybody is to go"


@pytest.mark.req("BC-CAP-03", "BC-DRAIN-01", "BC-DRAIN-07", "BC-SCALE-09", "BC-SCALE-10", "BC-SCALE-19")
def test_retiring_worker_is_drained(parents: Parents, manifest: Manifest) -> None:
    """Capacity 0 in an IDLE: the channel is half-closed, no signal comes, and another worker takes its place."""
    parent = parents.pool(2)
    first, second = parent.workers
    first.status(0, capacity=0)
    first.drained("BC-CAP-03")
    parent.connect()
    second.order("BC-CAP-03")
    assert parent.witness
    if "scaling" in manifest.classes:  # others may wait until it has exited (BC-SCALE-15)
        new = parent.stub("BC-SCALE-09")
        check(
            new.slot not in (first.slot, second.slot, parent.witness.slot), "BC-SCALE-10", f"slot {new.slot} is taken"
        )
    check(first.alive(), "BC-DRAIN-07", "it was killed, or ended by a signal")
    first.leave(0)


@pytest.mark.classes("event")
@pytest.mark.req("BC-DRAIN-08", "BC-CAP-03")
def test_draining_worker_is_listened_to(parents: Parents) -> None:
    """A worker retires in an answer, while it holds two; its later reports are read, and no violations."""
    parent = parents.pool(2, capacity=4, policy="lowest")
    first, second = parent.workers
    for last in (False, True):
        parent.connect()
        first.order("BC-PICK-01")
        assert first.call("accept")["accepted"] == 1
        first.answer(1, capacity=0 if last else 4)
    first.drained("BC-CAP-03")
    first.finish()
    first.finish()
    parent.barrier()
    check(first.alive(), "BC-DRAIN-08", "it was killed for what it reported while it was draining")
    parent.connect()
    second.order("BC-DRAIN-08")


@pytest.mark.needs("drain_deadline")
@pytest.mark.req("BC-DRAIN-02")
def test_drain_ends_at_its_deadline(parents: Parents) -> None:
    """A drained worker does not exit: it is killed at drain_deadline, not before."""
    deadline = 0.6 * scale()  # it must be able to read the end before
    parent = parents.pool(1, drain_deadline=deadline)
    (stub,) = parent.workers
    began = time.monotonic()
    stub.status(0, capacity=0)
    stub.drained("BC-CAP-03")
    stub.killed("BC-DRAIN-02", "it did not exit")
    took = time.monotonic() - began
    check(took >= deadline, "BC-DRAIN-02", f"it was killed after {took:.3f} s")


@pytest.mark.needs("drain_deadline", "exit_deadline")
@pytest.mark.parametrize(("drain", "leave"), [(0.6, 1.2), (30.0, 0.3)])
@pytest.mark.req("BC-DRAIN-02", "BC-DEATH-03")
def test_drained_worker_that_closes_its_channel(parents: Parents, drain: float, leave: float) -> None:
    """It is killed exit_deadline after the end of its channel, whether drain_deadline is shorter or longer."""
    deadline = leave * scale()
    parent = parents.pool(1, drain_deadline=drain * scale(), exit_deadline=deadline)
    (stub,) = parent.workers
    stub.status(0, capacity=0)
    stub.drained("BC-CAP-03")
    closed = time.monotonic()
    stub.call("close")
    stub.killed("BC-DEATH-03", "it had closed its channel")
    took = time.monotonic() - closed
    check(took >= deadline, "BC-DRAIN-02", f"it was killed {took:.3f} s after it had closed its channel")


@pytest.mark.req("BC-STOP-01", "BC-STOP-04", "BC-STOP-08", "BC-STOP-10", "BC-STOP-11", "BC-DRAIN-01")
def test_stop_orders_what_is_pending(parents: Parents) -> None:
    """SIGTERM while a worker is full and a client waits: it is ordered when there is room, then all are drained."""
    parent = parents.pool(1, stop_deadline=30)
    (stub,) = parent.workers
    witness = parent.witness
    assert witness
    parent.connect()
    stub.order("BC-PICK-01")
    stub.take()
    parent.connect()
    parent.signal(signal.SIGTERM)
    stub.finish()
    stub.order("BC-STOP-01")
    stub.take()
    stub.drained("BC-STOP-08")
    witness.killed("BC-STOP-04", NEVER_READY)
    stub.finish()
    stub.leave(0)
    status = parent.wait("BC-STOP-11")
    check(status == 0, "BC-STOP-11", f"exit status {status}")


@pytest.mark.needs("stop_deadline")
@pytest.mark.req("BC-STOP-07", "BC-STOP-01", "BC-STOP-02", "BC-STOP-04")
def test_stop_deadline(parents: Parents) -> None:
    """Nobody ever takes what is pending: all are drained at stop_deadline, and nobody is started meanwhile."""
    deadline = 0.3 * scale()
    parent = parents.pool(2, stop_deadline=deadline, order_deadline=30)
    first, second = parent.workers
    assert parent.witness
    parent.connect()
    first.order("BC-PICK-01")
    first.take()
    parent.connect()
    second.order("BC-PICK-01")
    began = time.monotonic()
    parent.signal(signal.SIGTERM)
    parent.witness.killed("BC-STOP-07", NEVER_READY)
    took = time.monotonic() - began
    check(took >= deadline, "BC-STOP-01", f"workers were drained after {took:.3f} s, with an order unanswered")
    first.kill()
    second.leave(0)
    parent.wait("BC-STOP-11")
    check(not parent.more(), "BC-STOP-02", "a worker was started while the pool stopped")


@pytest.mark.classes("listeners")
@pytest.mark.parametrize("pending", [0, 1])
@pytest.mark.req("BC-STOP-01", "BC-STOP-08")
def test_stop_looks_at_every_listener(parents: Parents, pending: int) -> None:
    """SIGTERM while a worker is full and a client waits on one of two listeners: it is ordered first."""
    parent = parents.pool(1, stop_deadline=30, listen="127.0.0.1:0,127.0.0.1:0")
    (stub,) = parent.workers
    parent.connect(1, 1 - pending)
    stub.order("BC-PICK-01")
    stub.take()
    parent.connect(1, pending)
    parent.signal(signal.SIGTERM)
    parent.barrier()
    stub.quiet("BC-STOP-01", f"a client waits on listener {pending}")
    stub.finish()
    order = stub.order("BC-STOP-01")
    check(order.listener == pending, "BC-ACCEPT-02", f"a client waits on listener {pending}: {order}")
    parent.connect(1, 1 - pending)
    stub.take()
    stub.quiet("BC-STOP-01", f"a client waits on listener {1 - pending}")
    stub.finish()
    order = stub.order("BC-STOP-01")
    stub.take()
    stub.drained("BC-STOP-08")


@pytest.mark.classes("listeners")
@pytest.mark.parametrize("ordered", [0, 1])
@pytest.mark.req("BC-STOP-01", "BC-STOP-08")
def test_stop_waits_for_orders_of_every_listener(parents: Parents, ordered: int) -> None:
    """SIGTERM while an order for one of two listeners is unanswered: nobody is drained before the answer."""
    parent = parents.pool(2, stop_deadline=30, listen="127.0.0.1:0,127.0.0.1:0")
    first, second = parent.workers
    parent.connect(1, ordered)
    first.order("BC-PICK-01")
    assert first.call("accept", listener=ordered)["accepted"] == 1
    parent.signal(signal.SIGTERM)
    parent.barrier()
    for stub in (first, second):
        stub.quiet("BC-STOP-01", f"an order for listener {ordered} is unanswered")
    first.answer(1)
    for stub in (first, second):
        stub.drained("BC-STOP-08")


def refused(address: Any) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as client:
        client.settimeout(5)
        try:
            client.connect(address)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.classes("listeners"))])
@pytest.mark.req("BC-STOP-09")
def test_stop_closes_every_listener(parents: Parents, count: int) -> None:
    """At a stop, while a worker finishes that has closed its own descriptors: nobody listens any more."""
    parent = parents(start=1, min=1, max=1, listen=",".join(["127.0.0.1:0"] * count), drain_deadline=60)
    stub = parent.stub()
    stub.greet()
    parent.signal(signal.SIGTERM)
    stub.drained("BC-STOP-08")
    stub.call("close_listeners")
    for index, address in enumerate(stub.addresses):
        try:
            until(partial(refused, address), what="it")
        except TimedOut:
            raise RequirementViolated("BC-STOP-09", f"all workers are drained, and listener {index} is open") from None
    check(stub.alive(), "BC-DRAIN-07", "the worker that was to finish has gone")
    stub.leave(0)
    status = parent.wait("BC-STOP-11")
    check(status == 0, "BC-STOP-11", f"exit status {status}")


@pytest.mark.needs("stop_deadline")
@pytest.mark.req("BC-STOP-05", "BC-STOP-01", "BC-STOP-08", "BC-STOP-11")
def test_second_stop_changes_nothing(parents: Parents) -> None:
    """SIGTERM again while clients wait, and again while workers finish: what is pending is ordered, nobody is killed,
    and the exit status is 0.
    """
    parent = parents(start=2, min=2, max=2, stop_deadline=30)
    first, second = sorted((parent.stub(), parent.stub()), key=lambda stub: stub.slot)
    for stub in (first, second):
        stub.greet()
        parent.connect()
        stub.order("BC-PICK-01")
        stub.take()
    parent.connect(2)
    for stub in (second, first):
        parent.signal(signal.SIGTERM)
        stub.finish()
        stub.order("BC-STOP-05")
        stub.take()
    for stub in (first, second):
        stub.drained("BC-STOP-08")
    parent.signal(signal.SIGTERM)
    for stub in (first, second):
        stub.finish()
        check(stub.alive(), "BC-STOP-05", "a worker that was draining was killed")
    for stub in (first, second):
        stub.leave(0)
    status = parent.wait("BC-STOP-11")
    check(status == 0, "BC-STOP-05", f"exit status {status} after three SIGTERM")


@pytest.mark.kernel("state", "session_of")
@pytest.mark.needs("pass")
@pytest.mark.req("BC-STOP-02", "BC-STOP-08")
def test_nobody_is_replaced_while_stopping(parents: Parents) -> None:
    """A worker dies while the pool stops, and a scaling pass is due before the stop is over: it stays dead."""
    parent = parents.pool(2, stop_deadline=30, pass_=0.02)
    first, second = parent.workers
    parent.connect(2)
    first.order("BC-PICK-01")
    first.take()
    second.order("BC-PICK-01")
    known = set(kernel.session_of(parent.process.pid))
    parent.signal(signal.SIGTERM)
    first.leave(1)
    until(lambda: not kernel.state(first.pid), what="the dead worker to be waited for")
    due = time.monotonic() + 0.02
    until(lambda: time.monotonic() > due, what="the next scaling pass to be due")
    parent.barrier()
    # a worker that it started would be killed at the drain, before it could say that it is there
    check(known >= set(kernel.session_of(parent.process.pid)), "BC-STOP-02", "the dead worker was replaced")
    second.take()
    second.drained("BC-STOP-08")
    second.leave(0)
    parent.wait("BC-STOP-11")
    check(not parent.more(), "BC-STOP-02", "a worker was started while the pool stopped")


@pytest.mark.req("BC-STOP-04", "BC-STOP-08", "BC-STOP-11", "BC-DRAIN-07")
def test_stop_does_not_wait_for_who_starts(parents: Parents) -> None:
    """SIGTERM while one worker has said nothing, one owes the answer to its welcome and one is READY: only that one is
    drained, and the others are killed.
    """
    parent = parents(start=3, min=3, max=3, start_deadline=30, drain_deadline=30)
    ready, greeted, silent = (parent.stub() for _ in range(3))
    greeted.hello()
    greeted.order("BC-HELLO-04")
    ready.greet()
    parent.signal(signal.SIGTERM)
    ready.drained("BC-STOP-08")
    greeted.killed("BC-STOP-04", "it has not answered its welcome, and everybody is to go")
    silent.killed("BC-STOP-04", NEVER_READY)
    check(ready.alive(), "BC-DRAIN-07", "the worker that was READY was killed, too")
    ready.leave(0)
    status = parent.wait("BC-STOP-11")
    check(status == 0, "BC-STOP-11", f"exit status {status}")


@pytest.mark.req("BC-STOP-03", "BC-STOP-13")
def test_interrupt_ends_all(parents: Parents) -> None:
    """SIGINT: all workers are killed, and the parent exits."""
    parent = parents.pool(2)
    parent.signal(signal.SIGINT)
    for stub in parent.workers:
        stub.killed("BC-STOP-03", "the parent was interrupted")
    status = parent.wait("BC-STOP-03")
    check(status != 0, "BC-STOP-13", "exit status 0, as if nothing had been cut")
