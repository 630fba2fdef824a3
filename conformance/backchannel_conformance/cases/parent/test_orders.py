"""Which orders a parent sends: one for each connection that is pending, and none that is not."""

from __future__ import annotations

import signal

import pytest
from backchannel_conformance import frames, kernel
from backchannel_conformance.errors import UNTESTABLE, check
from backchannel_conformance.fixtures import Parents
from backchannel_conformance.manifest import Manifest
from backchannel_conformance.parent_under_test import ParentUnderTest
from backchannel_conformance.waiting import scale

counted = pytest.mark.classes("counted")
event = pytest.mark.classes("event")


@pytest.mark.req("BC-PEND-01", "BC-PEND-02", "BC-HERD-01")
def test_one_client_one_order(parents: Parents) -> None:
    """Of two idle workers one is ordered, and nobody else while that is unanswered, nor after it was answered."""
    parent = parents.pool(2)
    first, second = parent.workers
    parent.connect()
    first.order("BC-PICK-01")
    parent.barrier()
    second.quiet("BC-PEND-01", "the one connection that is pending has an order")
    first.take()
    parent.barrier()
    first.quiet("BC-PEND-02", "nothing is pending any more")
    second.quiet("BC-PEND-02", "nothing is pending any more")


@counted
@pytest.mark.req("BC-PEND-05", "BC-WATCH-02", "BC-WATCH-07", "BC-ROOM-02", "BC-ORDER-01")
def test_orders_do_not_wait_for_each_other(parents: Parents) -> None:
    """Three clients, three workers: all are ordered before anybody answers; a fourth client waits for room."""
    parent = parents.pool(3)
    for stub in parent.workers:
        parent.connect()
        stub.order("BC-WATCH-02")
    parent.connect()
    parent.barrier()
    for stub in parent.workers:
        stub.quiet("BC-ORDER-01", "it has not answered its order")
    parent.workers[1].take()
    parent.workers[1].finish()
    parent.workers[1].order("BC-WATCH-07")


def one_at_a_time(parent: ParentUnderTest, requirement: str) -> None:
    """Three clients, two idle workers: one order, and the next one when that is answered, until all are served."""
    first, second = parent.workers
    parent.connect(2)
    first.order(requirement)
    parent.connect()
    parent.barrier()
    second.quiet(requirement, "an order is unanswered, and the pending count is taken as 1")
    first.take()
    second.order(requirement)
    first.finish()
    parent.barrier()
    first.quiet(requirement, "an order is unanswered, and the pending count is taken as 1")
    second.take()
    first.order(requirement)
    first.take()
    second.finish()
    parent.barrier()
    second.quiet(requirement, "nothing is pending any more")


@pytest.mark.req("BC-PEND-03", "BC-WATCH-02")
def test_without_a_count_one_order_at_a_time(parents: Parents, manifest: Manifest) -> None:
    """No count is to be had, or it is not asked for: one order at a time, and no client is forgotten."""
    parent = parents.pool(2, order_deadline=30)
    if "counted" not in manifest.classes:
        one_at_a_time(parent, "BC-PEND-03")
        return
    if not kernel.can("faulty"):
        pytest.skip(f"{UNTESTABLE}{kernel.missing('faulty')}")
    with kernel.faulty(parent.process.pid, "count", "error=ENOPROTOOPT", "1+"):
        one_at_a_time(parent, "BC-PEND-03")


@counted
@pytest.mark.kernel("faulty")
@pytest.mark.req("BC-PEND-04", "BC-WATCH-02")
def test_count_that_says_none(parents: Parents) -> None:
    """The count says 0 whatever is pending: a readable listener counts instead, and no client is forgotten."""
    parent = parents.pool(2, order_deadline=30)
    with kernel.faulty(parent.process.pid, "count", "zeros", "1+"):
        one_at_a_time(parent, "BC-PEND-04")


@event
@pytest.mark.req("BC-ORDER-01", "BC-ACCEPT-06")
def test_one_order_at_a_time(parents: Parents) -> None:
    """A worker with room for eight and five clients waiting gets order after order, each when the last is answered."""
    parent = parents.pool(1, capacity=8)
    (stub,) = parent.workers
    parent.connect(5)
    for _ in range(5):
        stub.order("BC-PEND-05")
        parent.barrier()
        stub.quiet("BC-ORDER-01", "its order is not answered")
        stub.take()
    parent.barrier()
    stub.quiet("BC-PEND-01", "nothing is pending any more")


@event
@counted
@pytest.mark.needs("max_per_order")
@pytest.mark.req("BC-PICK-03", "BC-PICK-09", "BC-ACCEPT-03", "BC-PEND-01")
def test_max_of_an_order(parents: Parents) -> None:
    """The least of max_per_order, the room and what is pending without an order."""
    parent = parents(start=2, min=2, max=2, capacity=4, max_per_order=3, policy="least-loaded")
    first, second = sorted((parent.stub(), parent.stub()), key=lambda stub: stub.slot)
    parent.connect(5)
    first.greet(4)
    order = first.order("BC-PEND-05")
    check(order.max == 3, "BC-PICK-03", f"5 pending, room 4, max_per_order 3: {order}")
    second.greet(4)
    order = second.order("BC-PEND-05")
    check(order.max == 2, "BC-PICK-09", f"5 pending, 3 of them ordered: {order}")
    parent.connect(2)
    first.take()
    order = first.order("BC-PEND-05")
    check(order.max == 1, "BC-PICK-03", f"room 1, 2 pending without an order: {order}")


@event
@counted
@pytest.mark.kernel("state")
@pytest.mark.needs("max_per_order")
@pytest.mark.req("BC-PICK-03", "BC-PICK-10", "BC-PICK-11", "BC-PEND-05")
def test_fair_share(parents: Parents) -> None:
    """Five come while the parent is stopped: each of three workers that could begin gets its share of them at once."""
    parent = parents.pool(3, capacity=8, max_per_order=8)
    parent.barrier()
    parent.freeze_between_passes()
    try:
        parent.connect(5)
    finally:
        parent.signal(signal.SIGCONT)
    shares = [stub.order("BC-PEND-05").max for stub in parent.workers]
    check(shares == [2, 2, 1], "BC-PICK-10", f"5 pending, 3 workers with room for 8: they were ordered {shares}")


@pytest.mark.req("BC-ORDER-03", "BC-WATCH-06", "BC-WATCH-07", "BC-ACCEPT-03", "BC-ROOM-01")
def test_no_order_without_room(parents: Parents) -> None:
    """The one worker is full and a client waits: nothing, not even a probe, until there is room."""
    parent = parents.pool(1)
    (stub,) = parent.workers
    parent.connect()
    stub.order("BC-PEND-03")
    stub.take()
    parent.connect()
    parent.barrier()
    stub.quiet("BC-ORDER-03", "it has no room")
    stub.finish()
    stub.order("BC-WATCH-07")


@pytest.mark.req("BC-WATCH-03", "BC-PEND-02")
def test_no_blind_order_when_room_returns(parents: Parents) -> None:
    """A client waited while nobody had room, and is gone from the backlog when room returns: no order."""
    parent = parents.pool(1)
    (stub,) = parent.workers
    parent.connect()
    stub.order("BC-PEND-03")
    stub.take()
    parent.connect()
    parent.barrier()  # the parent has seen it come
    parent.witness = parent.stub()
    assert parent.witness.call("accept")["accepted"] == 1, "the client is to be taken by somebody unseen"
    stub.finish()
    parent.barrier()
    stub.quiet("BC-WATCH-03", "nothing is pending")


@pytest.mark.req("BC-MSG-01", "BC-BUSY-05")
def test_room_is_in_the_figures(parents: Parents) -> None:
    """Answers with the connection's end folded in leave open 0: the worker has room, without any IDLE."""
    parent = parents.pool(1)
    (stub,) = parent.workers
    for _ in range(3):
        parent.connect()
        stub.order("BC-MSG-01")
        assert stub.call("accept")["accepted"] == 1
        stub.call("finish")
        stub.answer(1, ended=1)


@event
@pytest.mark.req("BC-MSG-01", "BC-CAP-01", "BC-ACCEPT-03")
def test_capacity_that_changes(parents: Parents) -> None:
    """A full worker's capacity grows, and it is ordered; it shrinks to what is held, and it is not."""
    parent = parents.pool(1, capacity=2)
    (stub,) = parent.workers
    parent.connect(2)
    for _ in range(2):
        stub.order("BC-PEND-05")
        stub.take()
    parent.connect(2)
    parent.barrier()
    stub.quiet("BC-ORDER-03", "it holds 2 of 2")
    stub.status(2, capacity=3)
    stub.order("BC-MSG-01")
    stub.take()
    stub.status(2, capacity=2)
    parent.barrier()
    stub.quiet("BC-MSG-01", "it holds 2, and its capacity is 2 now")


@pytest.mark.req("BC-CHAN-04", "BC-CHAN-13")
def test_reports_split_and_merged(parents: Parents) -> None:
    """Octet by octet, and two reports in one write: they are read as what they are."""
    parent = parents.pool(1)
    (stub,) = parent.workers
    for _ in range(2):
        parent.connect()
        stub.order("BC-CHAN-04")
        assert stub.call("accept")["accepted"] == 1
        octets = stub.busy(1).octets
        stub.write(*(octets[at : at + 1] for at in range(len(octets))))
        stub.finish()
    parent.connect()
    stub.order("BC-CHAN-04")
    assert stub.call("accept")["accepted"] == 1
    answer = stub.busy(1).octets
    stub.open = 0
    both = answer + frames.idle(1).octets
    stub.write(both[:30], both[30:])
    parent.connect()
    stub.order("BC-CHAN-13")


@event
@pytest.mark.req("BC-CHAN-09", "BC-HARM-01", "BC-WAIT-01")
def test_flooding_worker_delays_no_other(parents: Parents) -> None:
    """One worker changes its capacity for ever, as fast as it can; clients are ordered to the other one meanwhile."""
    parent = parents.pool(2, capacity=2, policy="lowest")
    good, flooder = parent.workers
    flooder.begin("flood", octets=frames.flood().hex())
    for _ in range(3):
        parent.connect()
        good.order("BC-CHAN-09")
        good.take()
        good.finish()


@event
@pytest.mark.needs("order_deadline", "silence_deadline")
@pytest.mark.req("BC-PASS-05", "BC-CHAN-09", "BC-SILENT-01", "BC-SILENT-05")
def test_order_of_a_flooding_worker_expires(parents: Parents) -> None:
    """One worker has an order, and writes for ever instead of answering: at the deadline the order expires and is
    given to the other one, which is served meanwhile; the one that writes is killed in the end.
    """
    parent = parents.pool(2, capacity=2, policy="lowest", order_deadline=0.1 * scale(), silence_deadline=2 * scale())
    flooder, good = parent.workers
    parent.connect()
    flooder.order("BC-PICK-01")
    flooder.begin("flood", octets=frames.flood().hex())
    good.order("BC-PASS-05")
    good.take()
    good.finish()
    for _ in range(3):
        parent.connect()
        good.order("BC-CHAN-09")
        good.take()
        good.finish()
    flooder.killed("BC-SILENT-05", "it wrote for ever, and never answered")


@pytest.mark.kernel("state")
@pytest.mark.req("BC-PASS-01", "BC-RULE-01")
def test_reports_come_before_dispatch(parents: Parents) -> None:
    """While the parent is stopped, slot 0 reports room and a client connects: it is slot 0 that is ordered."""
    parent = parents.pool(2)
    first, second = parent.workers
    parent.connect()
    first.order("BC-PICK-01")
    first.take()
    parent.barrier()
    parent.freeze_between_passes()
    parent.connect()
    first.finish()
    parent.signal(signal.SIGCONT)
    stub, _ = parent.ordered((first, second), "BC-PEND-05")
    check(stub is first, "BC-PASS-01", "slot 1 was ordered, although slot 0 had reported its room before")
