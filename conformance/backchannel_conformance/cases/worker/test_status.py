"""GONE and IDLE: what has changed is told, once, in time, and not before it is true."""

from __future__ import annotations

import pytest
from backchannel_conformance import frames, kernel
from backchannel_conformance.client import Held
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Workers
from backchannel_conformance.worker_under_test import WorkerUnderTest

event = pytest.mark.classes("event")


def hold(worker: WorkerUnderTest, count: int) -> list[Held]:
    """Have the worker take so many connections that stay."""
    held = [worker.client.send("hold") for _ in range(count)]
    worker.order(count)
    busy = worker.answer()
    assert busy.accepted == count
    for connection in held:
        connection.answer()
    return held


@pytest.mark.kernel("established")
@pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=event)])
@pytest.mark.req("BC-STATUS-01", "BC-STATUS-05", "BC-STATUS-08")
def test_idle_after_the_last_one(workers: Workers, capacity: int) -> None:
    """The connection ends, it is closed, and then an IDLE says so."""
    worker = workers.greeted(capacity=capacity)
    (held,) = hold(worker, 1)
    held.close()
    idle = worker.status()
    port = worker.listeners[0].getsockname()[1]
    left = kernel.established([worker.pid], port)[worker.pid]
    check(idle.type == frames.IDLE, "BC-STATUS-08", str(idle))
    check(left == 0, "BC-STATUS-05", f"the IDLE came while the worker held {left} connections")


@event
@pytest.mark.req("BC-STATUS-01", "BC-STATUS-03", "BC-STATUS-08")
def test_gone_while_others_stay(workers: Workers) -> None:
    """Of three connections one ends, then another: a GONE with the figures, each in time, without any order."""
    worker = workers.greeted(capacity=4)
    held = hold(worker, 3)
    for left in (2, 1):
        held.pop().close()
        gone = worker.status("BC-STATUS-03")
        check(gone == frames.gone(left, 4), "BC-STATUS-01", str(gone))
    held.pop().close()
    worker.status("BC-STATUS-03")


@event
@pytest.mark.req("BC-STATUS-10")
def test_room_returns_to_a_full_worker(workers: Workers) -> None:
    """A full worker whose connection ends says so at once."""
    worker = workers.greeted(capacity=2)
    held = hold(worker, 2)
    held[0].close()
    gone = worker.status("BC-STATUS-10")
    check(gone == frames.gone(1, 2), "BC-STATUS-10", str(gone))


@pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=event)])
@pytest.mark.req("BC-STATUS-02")
def test_nothing_new_is_not_reported(workers: Workers, capacity: int) -> None:
    """After an empty order, a probe and a connection with its IDLE, no further status comes."""
    worker = workers.greeted(capacity=capacity)
    worker.order(1)
    worker.answer()
    check(worker.barrier() == [], "BC-STATUS-02", f"{worker.statuses} came after an empty order")
    client = worker.client.send("who")
    worker.order(1)
    worker.reported(worker.answer())
    client.answer()
    check(worker.barrier() == [], "BC-STATUS-02", f"{worker.statuses} came after the IDLE")


@event
@pytest.mark.req("BC-STATUS-04", "BC-STATUS-09", "BC-BUSY-01")
def test_no_status_between_order_and_answer(workers: Workers) -> None:
    """Connections end while an order is under way: what follows the answer starts from the answer's figures."""
    worker = workers.greeted(capacity=16)
    for _ in range(20):
        held = hold(worker, 4)
        before = len(worker.statuses)
        client = worker.client.send("hold")
        for connection in held:
            connection.close()
        worker.order(1)
        worker.answer()
        early = worker.statuses[before:]
        check(len(early) <= 4, "BC-STATUS-02", f"four ends were reported by {len(early)} statuses")
        while worker.open > 1:
            worker.status()
        client.close()
        while worker.open:
            worker.status()
        worker.barrier()


@pytest.mark.needs("quota")
@pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=event)])
@pytest.mark.req("BC-CAP-01", "BC-CAP-02", "BC-CAP-04", "BC-CAP-05", "BC-WORK-04")
def test_retiring_worker_takes_what_crossed(workers: Workers, capacity: int) -> None:
    """After its quota the worker reports capacity 0, attempts an order that crossed it, and stays to the end."""
    worker = workers.greeted(capacity=capacity, quota=1)
    client = worker.client.send("who")
    worker.order(1)
    worker.answer()
    client.answer()
    while worker.capacity:
        worker.status("BC-CAP-02")
    late = worker.client.send("who")
    worker.order(1)
    busy = worker.answer("BC-CAP-01")
    check(busy.accepted == 1, "BC-CAP-01", f"an order that crossed the cut to 0 was answered with {busy}")
    late.answer()
    worker.barrier()
    check(not worker.gone(), "BC-CAP-04", "the worker went before end-of-file")
    worker.half_close()
    worker.exits(0, "BC-DRAIN-12")
