"""End-of-file: what was ordered is answered, the listeners are let go, what is held is finished, and then the end."""

from __future__ import annotations

import time

import pytest
from backchannel_conformance import kernel
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Workers
from backchannel_conformance.waiting import scale

event = pytest.mark.classes("event")
CAPACITIES = pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=event)])


@CAPACITIES
@pytest.mark.req("BC-DRAIN-03", "BC-DRAIN-04", "BC-WORK-04")
def test_order_then_drain(workers: Workers, capacity: int) -> None:
    """An order and the half-close right behind it: the order is answered, its client served, the status is 0."""
    worker = workers.greeted(capacity=capacity)
    client = worker.client.send("who")
    worker.order(1)
    worker.half_close()
    busy = worker.answer("BC-DRAIN-03")
    check(busy.accepted == 1, "BC-DRAIN-03", f"an order before end-of-file was answered with {busy}")
    client.answer()
    while (frame := worker.frame("BC-DRAIN-04")) is not None:
        check(frame.open == 0, "BC-DRAIN-04", str(frame))
    worker.exits(0, "BC-DRAIN-04")


@CAPACITIES
@pytest.mark.req("BC-DRAIN-03")
def test_no_new_connection_after_end_of_file(workers: Workers, capacity: int) -> None:
    """A client waits, nothing is ordered, the parent half-closes: the worker leaves the client where it is."""
    worker = workers.greeted(capacity=capacity)
    worker.client.send("who")
    worker.half_close()
    worker.exits(0, "BC-DRAIN-04")
    try:
        worker.listeners[0].accept()[0].close()
        left = True
    except BlockingIOError:
        left = False
    check(left, "BC-DRAIN-03", "the worker took a connection that nobody ordered it to take")


@pytest.mark.req("BC-DRAIN-04", "BC-STATUS-01")
def test_one_connection_outlasts_the_end_of_file(workers: Workers) -> None:
    """Capacity 1, and the parent half-closes while a connection is held: it goes on, and the status is 0."""
    worker = workers.greeted()
    held = worker.client.send("hold")
    worker.order(1)
    worker.answer()
    held.answer()
    worker.half_close()
    worker.serves(held, "BC-DRAIN-04")
    check(not worker.gone(), "BC-DRAIN-04", "the worker left the connection that it holds")
    held.close()
    worker.status("BC-DRAIN-04")
    worker.ended("BC-DRAIN-04")
    worker.exits(0, "BC-DRAIN-04")


@event
@pytest.mark.req("BC-DRAIN-03", "BC-DRAIN-04")
def test_draining_worker_lets_go_of_listeners(workers: Workers) -> None:
    """While it finishes what it holds, nobody can connect any more once the suite has closed the listener too."""
    worker = workers.greeted(capacity=4)
    held = worker.client.send("hold")
    worker.order(1)
    worker.answer()
    held.answer()
    worker.half_close()
    worker.serves(held, "BC-DRAIN-04")
    worker.lets_go("BC-DRAIN-03")
    check(not worker.gone(), "BC-DRAIN-04", "the worker left the connection that it holds")
    held.close()
    worker.status("BC-DRAIN-04")
    worker.exits(0, "BC-DRAIN-04")


@event
@pytest.mark.kernel("cpu_seconds")
@pytest.mark.req("BC-DRAIN-04")
def test_end_of_file_does_not_spin(workers: Workers) -> None:
    """Draining with a connection that is quiet, the worker takes no processor time."""
    worker = workers.greeted(capacity=4)
    held = worker.client.send("hold")
    worker.order(1)
    worker.answer()
    held.answer()
    worker.half_close()
    worker.serves(held, "BC-DRAIN-04")
    before = kernel.cpu_seconds(worker.pid)
    time.sleep(0.5)  # the figure is taken over this time
    spent = kernel.cpu_seconds(worker.pid) - before
    check(spent < 0.1, "BC-DRAIN-04", f"after end-of-file the worker took {spent:.2f} s of processor time in 0.5 s")
    held.close()
    worker.exits(0, "BC-DRAIN-04")


@event
@pytest.mark.req("BC-DRAIN-05", "BC-DEATH-05")
def test_worker_keeps_the_drain_deadline(workers: Workers) -> None:
    """Its connection does not end, and the parent is gone: at the deadline, not before, the worker exits by itself."""
    deadline = 0.5 * scale()
    worker = workers.greeted(capacity=4, drain_deadline=deadline)
    held = worker.client.send("hold")
    worker.order(1)
    worker.answer()
    held.answer()
    began = time.monotonic()
    worker.channel.close()
    worker.wait("BC-DRAIN-05")
    took = time.monotonic() - began
    check(took >= deadline * 0.9, "BC-DRAIN-05", f"the worker left its connection after {took:.2f} s of {deadline:g}")
    check(held.ended(), "BC-DRAIN-05", "the connection outlived its worker")
