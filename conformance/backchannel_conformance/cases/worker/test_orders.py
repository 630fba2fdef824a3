"""Orders and their answers: as many attempts as ordered, one answer each, at once."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Final

import pytest
from backchannel_conformance import frames, kernel
from backchannel_conformance.client import NoAnswer
from backchannel_conformance.errors import RequirementViolated, check
from backchannel_conformance.fixtures import Workers
from backchannel_conformance.waiting import until
from backchannel_conformance.worker_under_test import HELLO_LIMIT

event = pytest.mark.classes("event")
WATCHED: Final = 0.2
"""Seconds for which a worker is looked at that has nothing to do."""


@pytest.mark.req("BC-WORK-09", "BC-BUSY-01")
def test_no_order_no_accept(workers: Workers) -> None:
    """A client waits, and no order is given for it: its connection stays in the backlog until one is."""
    worker = workers.greeted()
    client = worker.client.send("who")
    worker.barrier()
    check(worker.open == 0, "BC-WORK-09", f"the worker says that it holds {worker.open}")
    check(worker.rest() == 1, "BC-WORK-09", "the connection is not where it must still be")
    check(client.ended(), "BC-WORK-09", "the connection was somewhere else")


@pytest.mark.kernel("switches", "state")
@pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=event)])
@pytest.mark.req("BC-WORK-01", "BC-HERD-01")
def test_listener_is_not_watched(workers: Workers, capacity: int) -> None:
    """Twenty clients connect to a worker, each when it sleeps, and none wakes it. What else may make it switch, be it
    the kernel's want of memory or a thread of its run-time, does not do so each time.
    """
    worker = workers.greeted(capacity=capacity)
    woken = 0
    for _ in range(20):
        before = asleep(worker.pid)
        worker.client.send("who")
        woken += asleep(worker.pid) > before
    before = kernel.switches(worker.pid)
    time.sleep(WATCHED)  # the figure is taken over this time: one that looks again and again need not wake for each
    looked = kernel.switches(worker.pid) - before
    worker.barrier()
    check(woken < 10, "BC-WORK-01", f"it woke for {woken} of 20 clients that it was not ordered to take")
    seen = f"it woke {looked} times in {WATCHED:g} s while clients waited that it was not ordered to take"
    check(looked < 10, "BC-WORK-01", seen)


def asleep(pid: int) -> int:
    """The switches of a process so far, once it sleeps."""
    until(lambda: kernel.state(pid) == "S", what="the worker to sleep")
    return kernel.switches(pid)


@pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=event)])
@pytest.mark.req("BC-BUSY-03", "BC-BUSY-04", "BC-BUSY-07", "BC-WORK-04")
def test_order_is_filled(workers: Workers, capacity: int) -> None:
    """One client, an order for one: accepted 1, FILLED, and the client is served."""
    worker = workers.greeted(capacity=capacity)
    client = worker.client.send("who")
    worker.order(1)
    busy = worker.answer("BC-WORK-04")
    check((busy.accepted, busy.reason) == (1, frames.FILLED), "BC-BUSY-03", str(busy))
    check(client.answer().pid == worker.pid, "BC-WORK-04", "somebody else served it")


@pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=event)])
@pytest.mark.req("BC-WORK-03", "BC-BUSY-09", "BC-ERRNO-01")
def test_nothing_pending(workers: Workers, capacity: int) -> None:
    """An order for a connection that is not there: accepted 0, EMPTY, without blocking."""
    worker = workers.greeted(capacity=capacity)
    worker.order(1)
    busy = worker.answer("BC-WORK-03")
    check((busy.accepted, busy.reason) == (0, frames.EMPTY), "BC-ERRNO-01", str(busy))
    check(worker.open == 0, "BC-BUSY-03", str(busy))


@event
@pytest.mark.req("BC-BUSY-03", "BC-BUSY-09", "BC-WORK-10", "BC-WORK-11")
def test_fewer_pending_than_ordered(workers: Workers) -> None:
    """Two clients, an order for four: accepted 2, EMPTY."""
    worker = workers.greeted(capacity=4)
    for _ in range(2):
        worker.client.send("hold")
    worker.order(4)
    busy = worker.answer()
    check((busy.accepted, busy.reason, busy.open) == (2, frames.EMPTY, 2), "BC-BUSY-03", str(busy))


@pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=event)])
@pytest.mark.req("BC-WORK-02")
def test_no_more_than_ordered(workers: Workers, capacity: int) -> None:
    """Three clients, an order for one: the other two stay in the backlog."""
    worker = workers.greeted(capacity=capacity)
    for _ in range(3):
        worker.client.send("who")
    worker.order(1)
    worker.reported(worker.answer("BC-WORK-02"))
    worker.barrier()
    left = worker.rest()
    check(left == 2, "BC-WORK-02", f"of three clients and one order, {left} were left in the backlog")


@pytest.mark.req("BC-BUSY-02")
def test_answer_before_service(workers: Workers) -> None:
    """The client says nothing, so its service cannot end: the answer to the order comes all the same."""
    worker = workers.greeted()
    with socket.create_connection(worker.address()) as client:
        worker.order(1)
        busy = worker.answer("BC-BUSY-02")
        check((busy.accepted, busy.open) == (1, 1), "BC-BUSY-02", str(busy))
        client.sendall(b"who\n")
        worker.status()


@pytest.mark.req("BC-BUSY-01", "BC-BUSY-08", "BC-WORK-04", "BC-CHAN-13")
def test_several_orders_in_one_read(workers: Workers) -> None:
    """Three orders in one write: three answers, in their order."""
    worker = workers.greeted()
    client = worker.client.send("who")
    merged = b"".join(worker.accept(most).octets for most in (0, 1, 0))
    worker.send(merged)
    accepted = [worker.answer().accepted for _ in range(3)]
    check(accepted == [0, 1, 0], "BC-WORK-04", f"three orders for 0, 1 and 0 were answered with {accepted}")
    client.answer()


@pytest.mark.req("BC-ACCEPT-05", "BC-ACCEPT-10", "BC-BUSY-07")
def test_orders_are_taken_as_they_come(workers: Workers) -> None:
    """A welcome for one connection, and numbers out of sequence: each is carried out and answered."""
    worker = workers()
    worker.must("BC-HELLO-01", HELLO_LIMIT)
    client = worker.client.send("who")
    for number, most in ((7, 1), (3, 0), (0xFFFFFFFF, 0), (0, 1)):
        worker.orders.append((number, most))
        worker.send(frames.accept(number, most))
        worker.answer("BC-ACCEPT-05")
    check(client.answer().pid == worker.pid, "BC-ACCEPT-10", "the welcome's connection was not served")


@event
@pytest.mark.req("BC-ACCEPT-09", "BC-WORK-04")
def test_order_above_room(workers: Workers) -> None:
    """An order for more than the worker has room for is attempted: the parent knows what it does."""
    worker = workers.greeted(capacity=2)
    for _ in range(3):
        worker.client.send("hold")
    worker.order(3)
    busy = worker.answer()
    check(busy.accepted == 3, "BC-ACCEPT-09", str(busy))


@pytest.mark.classes("listeners")
@pytest.mark.req("BC-ACCEPT-02", "BC-EXEC-07")
def test_order_names_its_listener(workers: Workers) -> None:
    """Of three listeners, the one that an order names is accepted from."""
    worker = workers.greeted(listeners=3)
    with socket.create_connection(worker.address(2)) as client:
        for listener, expected in ((0, 0), (1, 0), (2, 1)):
            worker.order(1, listener)
            busy = worker.answer()
            check(
                busy.accepted == expected, "BC-EXEC-07", f"an order for listener {listener}, of which 2 waits: {busy}"
            )
        client.sendall(b"who\n")
        worker.status()


@pytest.mark.kernel("no_descriptors")
@pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=event)])
@pytest.mark.req("BC-ERRNO-03", "BC-BUSY-09", "BC-WORK-10")
def test_worker_is_out_of_descriptors(workers: Workers, capacity: int) -> None:
    """No descriptor is to be had: reason WORKER, the connection stays, and is taken when there is one again."""
    worker = workers.greeted(capacity=capacity)
    client = worker.client.send("who")
    with kernel.no_descriptors(worker.pid):
        worker.order(1)
        busy = worker.answer()
        check((busy.accepted, busy.reason) == (0, frames.WORKER), "BC-ERRNO-03", f"EMFILE was answered with {busy}")
    worker.order(1)
    worker.answer()
    check(client.answer().pid == worker.pid, "BC-ERRNO-03", "the connection was not taken later")


@pytest.mark.classes("listeners")
@pytest.mark.req("BC-ERRNO-06", "BC-BUSY-09")
def test_listener_that_does_not_listen(workers: Workers) -> None:
    """Its last listener is a socket that does not listen: reason UNUSABLE, and the other one still works."""
    worker = workers.greeted(useless=True)
    worker.order(1, listener=1)
    busy = worker.answer()
    check((busy.accepted, busy.reason) == (0, frames.UNUSABLE), "BC-ERRNO-06", f"EINVAL was answered with {busy}")
    client = worker.client.send("who")
    worker.order(1)
    worker.answer()
    client.answer()


@pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=event)])
@pytest.mark.req("BC-WORK-05", "BC-WORK-12")
def test_listener_flags_are_left_alone(workers: Workers, capacity: int) -> None:
    """After service and after its end, the listener does not block, and still listens."""
    worker = workers.greeted(capacity=capacity)
    client = worker.client.send("who")
    worker.order(1)
    worker.answer()
    client.answer()
    worker.barrier()
    check(not os.get_blocking(worker.listeners[0].fileno()), "BC-WORK-05", "the worker has made the listener block")
    worker.half_close()
    worker.exits(0, "BC-DRAIN-12")
    worker.client.send("who").close()
    check(not os.get_blocking(worker.listeners[0].fileno()), "BC-WORK-05", "the worker has made the listener block")
    try:
        worker.listeners[0].accept()[0].close()
    except OSError as error:
        raise RequirementViolated(
            "BC-WORK-12", f"the listener is of no use after the worker's end: {error.strerror}"
        ) from None


@event
@pytest.mark.req("BC-WORK-06", "BC-WORK-08")
def test_silent_client_holds_up_nobody(workers: Workers) -> None:
    """A client that says nothing does not keep the worker from serving another one, nor from answering."""
    worker = workers.greeted(capacity=4)
    silent = socket.create_connection(worker.address())
    with silent:
        worker.order(1)
        worker.answer()
        other = worker.client.send("who")
        worker.order(1)
        worker.answer("BC-WORK-08")
        try:
            other.answer(5)
        except NoAnswer as error:
            raise RequirementViolated(
                "BC-WORK-06", f"with a silent client before it, another one got {error}"
            ) from None
        worker.barrier()


@pytest.mark.classes("responsive")
@pytest.mark.req("BC-WORK-08")
def test_responsive_worker_answers_when_full(workers: Workers) -> None:
    """A worker that declared itself RESPONSIVE answers a probe although it is full."""
    worker = workers(capacity=2)
    hello = worker.greet()
    check(bool(hello.order & 1), "BC-WORK-08", "the implementation declares the class, its hello does not")
    held = [worker.client.send("hold") for _ in range(2)]
    worker.order(2)
    worker.answer()
    worker.order(0)
    busy = worker.answer("BC-WORK-08")
    check(busy.open == 2, "BC-WORK-08", str(busy))
    for connection in held:
        connection.close()


@pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=event)])
@pytest.mark.req("BC-WORK-07")
def test_service_that_fails(workers: Workers, capacity: int) -> None:
    """A service raises: its connection ends, the worker reports and lives on."""
    worker = workers.greeted(capacity=capacity)
    client = worker.client.send("raise")
    worker.order(1)
    worker.answer()
    check(client.ended(), "BC-WORK-07", "the connection did not end")
    with contextlib.suppress(OSError):
        worker.order(0)  # there may be no status: an end that was folded in has been reported
    check(worker.frame("BC-WORK-07") is not None, "BC-WORK-07", "the worker has ended with it")
    worker.barrier()


@event
@pytest.mark.kernel("faulty")
@pytest.mark.parametrize("error", ["ECONNABORTED", "EPROTO", "ENETDOWN", "EHOSTUNREACH"])
@pytest.mark.req("BC-ERRNO-02", "BC-BUSY-09", "BC-WORK-11")
def test_connection_that_went_away(workers: Workers, error: str) -> None:
    """The first of two attempts fails with an error of that connection: the second one is made, and the reason is
    PEER.
    """
    worker = workers.greeted(capacity=4)
    clients = [worker.client.send("who") for _ in range(2)]
    with kernel.faulty(worker.pid, "accept", f"error={error}", "1"):
        worker.order(2)
        busy = worker.answer()
    check(busy.accepted == 1, "BC-WORK-11", f"an attempt failed with {error}, the next one would not: {busy}")
    check(busy.reason == frames.PEER, "BC-ERRNO-02", f"{error} was answered with {busy}")
    clients[0].answer()


@event
@pytest.mark.kernel("faulty")
@pytest.mark.req("BC-ERRNO-05")
def test_accept_that_is_interrupted(workers: Workers) -> None:
    """The first accept of an order for two fails with EINTR: it is made again, and both connections are taken."""
    worker = workers.greeted(capacity=4)
    clients = [worker.client.send("who") for _ in range(2)]
    with kernel.faulty(worker.pid, "accept", "error=EINTR", "1"):
        worker.order(2)
        busy = worker.answer("BC-ERRNO-05")
    check((busy.accepted, busy.reason) == (2, frames.FILLED), "BC-ERRNO-05", f"EINTR was answered with {busy}")
    for client in clients:
        client.answer()
