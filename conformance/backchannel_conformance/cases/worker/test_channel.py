"""The channel itself: split, merged, full, closed, reset."""

from __future__ import annotations

import signal
import socket

import pytest
from backchannel_conformance import frames, processes
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Workers

event = pytest.mark.classes("event")


@pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=event)])
@pytest.mark.req("BC-CHAN-04", "BC-CHAN-13")
def test_orders_octet_by_octet(workers: Workers, capacity: int) -> None:
    """An order in twenty writes, then one and a half in one write, then the rest."""
    worker = workers.greeted(capacity=capacity)
    octets = worker.accept(1).octets
    worker.send(*(octets[at : at + 1] for at in range(frames.SIZE)))
    worker.answer("BC-CHAN-04")
    both = worker.accept(0).octets + worker.accept(1).octets
    worker.send(both[:30])
    worker.answer("BC-CHAN-13")
    worker.send(both[30:])
    worker.answer("BC-CHAN-04")


@pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=event)])
@pytest.mark.req("BC-CHAN-05")
def test_signal_in_the_middle(workers: Workers, capacity: int) -> None:
    """Stopped and continued, which interrupts its wait, the worker goes on as before."""
    worker = workers.greeted(capacity=capacity)
    for _ in range(5):
        processes.send(worker.pid, signal.SIGSTOP)
        worker.order(0)
        processes.send(worker.pid, signal.SIGCONT)
        frame = worker.frame("BC-CHAN-05")
        check(frame is not None, "BC-CHAN-05", "a signal has ended the worker")


@event
@pytest.mark.req("BC-CHAN-14", "BC-DRAIN-04", "BC-DRAIN-12", "BC-DEATH-05")
def test_parent_gone_while_holding(workers: Workers) -> None:
    """The parent closes its end; the worker, which then has a report to write, is not ended by it."""
    worker = workers.greeted(capacity=4)
    held = [worker.client.send("hold") for _ in range(2)]
    worker.order(2)
    worker.answer()
    for connection in held:
        connection.answer()
    worker.channel.close()
    held[0].close()
    worker.serves(held[1], "BC-DRAIN-04")
    check(not worker.gone(), "BC-CHAN-14", "the worker did not survive its report")
    held[1].close()
    worker.exits(0, "BC-DRAIN-12")


@pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=event)])
@pytest.mark.req("BC-CHAN-06", "BC-CHAN-14", "BC-DEATH-05")
def test_parent_gone_with_reports_unread(workers: Workers, capacity: int) -> None:
    """The parent dies with reports unread, told by ECONNRESET on some systems: the worker drains, and exits with 0."""
    worker = workers.greeted(capacity=capacity)
    held = worker.client.send("hold")
    worker.order(1)
    held.answer()
    worker.channel.close()
    held.close()
    worker.exits(0, "BC-CHAN-06")


@event
@pytest.mark.req("BC-CHAN-08", "BC-CHAN-17", "BC-STATUS-01")
def test_parent_that_does_not_read(workers: Workers) -> None:
    """A hundred connections end one by one, and the small channel is not read: when it is, it holds no more than fits
    besides one status, and the last figures are the true ones.
    """
    worker = workers.greeted(capacity=200, small=True)
    held = [worker.client.send("hold") for _ in range(120)]
    worker.order(120)
    worker.answer()
    for connection in held:
        connection.answer()
    other = held.pop()
    room = fits()
    for connection in held:
        connection.close()
        other.again()  # the worker has turned since, and has written its report if it could
    count = 0
    while worker.open != 1:
        worker.status("BC-CHAN-17")
        count += 1
    check(count <= room + 2, "BC-CHAN-08", f"{count} statuses came from a channel that holds {room}")
    check(worker.barrier() == [], "BC-STATUS-02", "a status followed the newest one")


def fits() -> int:
    """Frames that a channel as small as this one holds, found out by filling another one."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        ours.setblocking(False)
        count = 0
        try:
            while ours.send(bytes(frames.SIZE)):
                count += 1
        except BlockingIOError:
            pass
        return count


@event
@pytest.mark.req("BC-CHAN-17", "BC-CHAN-08", "BC-BUSY-01")
def test_answer_waits_for_a_full_channel(workers: Workers) -> None:
    """The channel is full when an order comes: the answer is owed, and comes before any newer status."""
    worker = workers.greeted(capacity=200, small=True)
    held = [worker.client.send("hold") for _ in range(100)]
    worker.order(100)
    worker.answer()
    for connection in held:
        connection.answer()
    other = held.pop()
    for connection in held[:60]:
        connection.close()
        other.again()
    worker.order(0)
    other.again()
    for connection in held[60:]:
        connection.close()
        other.again()
    worker.answer("BC-CHAN-17")
    while worker.open != 1:
        worker.status("BC-CHAN-17")
    check(worker.barrier() == [], "BC-STATUS-02", "a status followed the newest one")


@pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=event)])
@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.req("BC-CHAN-12")
def test_flags_of_its_end_are_its_own(workers: Workers, capacity: int, blocks: bool) -> None:
    """Whether its end of the channel blocks or not when it starts: the worker waits for orders, and serves."""
    worker = workers(capacity=capacity, blocks=blocks)
    worker.must("BC-CHAN-12", 20)
    client = worker.client.send("who")
    for most in (0, 1):
        try:
            worker.order(most)
            answer = worker.frame("BC-CHAN-12")
        except BrokenPipeError:
            answer = None
        check(answer is not None, "BC-CHAN-12", "the worker ended when it was to wait for an order")
    client.answer()
    worker.half_close()
    while worker.frame("BC-CHAN-12") is not None:
        pass
    worker.exits(0, "BC-CHAN-12")
