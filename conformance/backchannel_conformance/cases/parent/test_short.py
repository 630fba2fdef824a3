"""Short answers: a worker that gave one is passed over; one that gives several in a row, or lacks something, cools
down.
"""

from __future__ import annotations

import time

import pytest
from backchannel_conformance import frames
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Parents
from backchannel_conformance.waiting import scale

COOL_DOWN = 0.1
"""The default of *cool_down*; what is measured can only be longer, so the bound is exact."""


@pytest.mark.req("BC-SHORT-01", "BC-SHORT-07")
def test_short_answer_is_passed_over(parents: Parents) -> None:
    """A client waits, and worker after worker says that there is none: each is asked once before anyone is again."""
    parent = parents.pool(3)
    parent.connect()
    for stub in (*parent.workers, parent.workers[0]):
        stub.order("BC-SHORT-01")
        others = [other for other in parent.workers if other is not stub]
        for other in others:
            other.quiet("BC-SHORT-01", f"the client's order is with slot {stub.slot}")
        stub.answer(0)


@pytest.mark.req("BC-SHORT-06", "BC-SHORT-01")
def test_forgiven_when_the_queue_was_empty(parents: Parents) -> None:
    """After a short answer the other worker takes the connection; the queue is empty, and the next goes to slot 0."""
    parent = parents.pool(2)
    first, second = parent.workers
    parent.connect()
    first.order("BC-PICK-01")
    first.answer(0)
    second.order("BC-SHORT-01")
    second.take()
    second.finish()
    parent.barrier()
    parent.connect()
    stub, _ = parent.ordered((first, second), "BC-SHORT-06")
    check(stub is first, "BC-SHORT-06", "slot 1 was ordered: slot 0 is passed over still")


@pytest.mark.req("BC-SHORT-02", "BC-SHORT-07", "BC-SHORT-17", "BC-SHORT-18")
def test_three_short_answers_cool_down(parents: Parents) -> None:
    """The only worker says three times that nothing is pending, though one is: it cools down before the fourth."""
    parent = parents.pool(1)
    (stub,) = parent.workers
    parent.connect()
    for _ in range(3):
        stub.order("BC-SHORT-07")
        answered = time.monotonic()
        stub.answer(0)
    stub.order("BC-SHORT-02")
    took = time.monotonic() - answered
    check(took >= COOL_DOWN, "BC-SHORT-02", f"it was ordered again after {took:.3f} s")


@pytest.mark.req("BC-SHORT-10")
def test_peer_is_nobodys_fault(parents: Parents) -> None:
    """Three answers with reason PEER: the worker does not cool down."""
    parent = parents.pool(1)
    (stub,) = parent.workers
    parent.connect()
    for _ in range(3):
        stub.order("BC-SHORT-07")
        stub.answer(0, frames.PEER)
    parent.barrier()
    check(stub.waiting(), "BC-SHORT-10", "it was not ordered again, although its answers said PEER")


@pytest.mark.classes("event", "counted")
@pytest.mark.needs("max_per_order")
@pytest.mark.req("BC-SHORT-12", "BC-SHORT-02")
def test_part_of_an_order_breaks_the_series(parents: Parents) -> None:
    """Of two it takes one, and then twice none: these are two short answers that accepted nothing, and no rest."""
    parent = parents(start=2, min=2, max=2, capacity=4, max_per_order=2)
    stub, parent.witness = parent.stub(), parent.stub()
    parent.connect(3)
    stub.greet(4)
    order = stub.order("BC-PICK-01")
    assert order.max == 2, "its first order was for one"
    assert stub.call("accept")["accepted"] == 1
    stub.answer(1)
    for _ in range(2):
        stub.order("BC-SHORT-07")
        stub.answer(0)
    parent.barrier()
    check(stub.waiting(), "BC-SHORT-12", "it was not ordered again after two answers that accepted nothing")


@pytest.mark.classes("listeners")
@pytest.mark.req("BC-SHORT-02", "BC-SHORT-13")
def test_series_belongs_to_a_listener(parents: Parents) -> None:
    """A client on each of two listeners, and a worker that finds none: two short answers for one listener and one for
    the other are no cool-down, three for one are.
    """
    parent = parents(start=2, min=2, max=2, listen="127.0.0.1:0,127.0.0.1:0")
    stub, parent.witness = parent.stub(), parent.stub()
    for listener in (0, 1):
        parent.connect(1, listener)
    stub.greet()
    asked: list[int] = []
    for _ in range(5):
        if len(asked) == 3:
            parent.barrier()
            check(stub.waiting(), "BC-SHORT-02", f"it was not ordered again after short answers for {asked}")
        asked.append(stub.order("BC-SHORT-01").listener)
        answered = time.monotonic()
        stub.answer(0)
    stub.order("BC-SHORT-02")
    took = time.monotonic() - answered
    check(took >= COOL_DOWN, "BC-SHORT-02", f"after short answers for {asked} it was ordered again within {took:.3f} s")


@pytest.mark.needs("order_deadline")
@pytest.mark.req("BC-SHORT-05")
def test_late_short_answer_is_passed_over(parents: Parents) -> None:
    """Slot 0 says late that there was none, slot 1 says so in time: slot 2 is ordered, and slot 0 is not."""
    parent = parents.pool(3, order_deadline=0.4 * scale())
    late, second, third = parent.workers
    parent.connect()
    late.order("BC-PICK-01")
    second.order("BC-SILENT-01")
    late.answer(0)
    parent.barrier()
    second.answer(0)
    stub, _ = parent.ordered((late, third), "BC-SHORT-05")
    check(stub is third, "BC-SHORT-05", "slot 0 was ordered, although it had given a short answer, if late")


@pytest.mark.parametrize(("reason", "name"), [(frames.WORKER, "WORKER"), (frames.SYSTEM, "SYSTEM")])
@pytest.mark.req("BC-SHORT-03", "BC-SHORT-15", "BC-SHORT-17", "BC-SHORT-18", "BC-SHORT-19")
def test_lack_of_resources_cools_down(parents: Parents, reason: int, name: str) -> None:
    """WORKER cools the worker down, SYSTEM the listener: the one worker is not ordered before that time is over."""
    parent = parents.pool(1)
    (stub,) = parent.workers
    parent.connect()
    stub.order("BC-PICK-01")
    answered = time.monotonic()
    stub.answer(0, reason)
    parent.barrier()
    stub.order("BC-SHORT-17")
    took = time.monotonic() - answered
    check(
        took >= COOL_DOWN,
        "BC-SHORT-03" if name == "WORKER" else "BC-SHORT-15",
        f"after {name} it was ordered again within {took:.3f} s",
    )


@pytest.mark.req("BC-SHORT-15", "BC-SHORT-19", "BC-SHORT-20")
def test_others_go_on_while_one_cools_down(parents: Parents) -> None:
    """WORKER from one: the other is ordered. SYSTEM from that one: nobody is, until the listener has cooled down."""
    parent = parents.pool(2)
    first, second = parent.workers
    parent.connect()
    first.order("BC-PICK-01")
    first.answer(0, frames.WORKER)
    second.order("BC-SHORT-20")
    answered = time.monotonic()
    second.answer(0, frames.SYSTEM)
    parent.ordered(parent.workers, "BC-SHORT-17")
    took = time.monotonic() - answered
    check(took >= COOL_DOWN, "BC-SHORT-19", f"after SYSTEM somebody was ordered within {took:.3f} s")


@pytest.mark.req("BC-SHORT-04", "BC-SHORT-21", "BC-DRAIN-01")
def test_unusable_listener(parents: Parents) -> None:
    """UNUSABLE: that worker is drained and logged, and the other one ordered."""
    parent = parents.pool(2)
    first, second = parent.workers
    parent.connect()
    first.order("BC-PICK-01")
    first.answer(0, frames.UNUSABLE)
    first.drained("BC-SHORT-04")
    second.order("BC-SHORT-04")
    parent.logged("BC-SHORT-21", f"slot {first.slot}")


@pytest.mark.needs("order_deadline")
@pytest.mark.parametrize(("reason", "name"), [(frames.WORKER, "WORKER"), (frames.SYSTEM, "SYSTEM")])
@pytest.mark.req("BC-SHORT-16")
def test_late_lack_of_resources_cools_down(parents: Parents, reason: int, name: str) -> None:
    """Slot 0 says late that it lacks something; slot 1 takes the connection. The next one has to wait for slot 0, or
    for the listener, to have cooled down.
    """
    parent = parents.pool(2, order_deadline=0.2 * scale())
    late, other = parent.workers
    parent.connect()
    late.order("BC-PICK-01")
    other.order("BC-SILENT-01")
    other.take()
    parent.connect()
    answered = time.monotonic()
    late.answer(0, reason)
    late.order("BC-SHORT-17")
    took = time.monotonic() - answered
    check(took >= COOL_DOWN, "BC-SHORT-16", f"after a late {name} it was ordered again within {took:.3f} s")


@pytest.mark.req("BC-SHORT-22", "BC-SHORT-04", "BC-SCALE-35")
def test_unusable_listener_is_an_early_exit(parents: Parents) -> None:
    """UNUSABLE from workers that have accepted nothing: each is drained and exits, and the next one starts a second
    after the first, two after the second.
    """
    parent = parents.pool(1)
    (stub,) = parent.workers
    parent.connect()
    for delay in (1.0, 2.0):
        stub.order("BC-PEND-05")
        began = time.monotonic()
        stub.answer(0, frames.UNUSABLE)
        stub.drained("BC-SHORT-04")
        stub.leave(0)
        stub = parent.stub("BC-SCALE-11", delay + 5)
        took = time.monotonic() - began
        check(took >= delay, "BC-SHORT-22", f"a new worker started {took:.3f} s after UNUSABLE, not {delay:g} s")
        stub.greet()
