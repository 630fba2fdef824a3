"""What exactly rests after a short answer, and for how long: the worker or the listener, and for which of them.

A case that says that somebody is *not* held up looks after a barrier, and not after a time: on a slow machine a
cool-down may be over by then, and the case shows less.
"""

from __future__ import annotations

import time

import pytest
from backchannel_conformance import frames
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Parents
from backchannel_conformance.parent_under_test import ParentUnderTest
from backchannel_conformance.stub_worker import StubWorker

COOL_DOWN = 0.1
"""The default of *cool_down*; what is measured can only be longer, so the bound is exact."""
TWO = "127.0.0.1:0,127.0.0.1:0"
listeners = pytest.mark.classes("listeners")
part = pytest.mark.classes("event", "counted")


def rested(since: float, clause: str, seen: str) -> None:
    """A cool-down that began after ``since`` must be over."""
    took = time.monotonic() - since
    check(took >= COOL_DOWN, clause, f"{seen} {took:.3f} s after the answer")


# ------------------------------------------------------------------------------------------------------ who cools down


@pytest.mark.req("BC-SHORT-20", "BC-SHORT-03")
def test_worker_rests_and_not_the_listener(parents: Parents) -> None:
    """WORKER from one: its connection is ordered again at once, from the other."""
    parent = parents.pool(2, capacity=2, policy="lowest")
    resting, other = parent.workers
    parent.connect()
    resting.order("BC-PICK-01")
    resting.answer(0, frames.WORKER)
    parent.barrier()
    check(other.waiting(), "BC-SHORT-20", "one worker answered WORKER, and nobody else was ordered: the listener rests")


@listeners
@pytest.mark.req("BC-SHORT-18", "BC-SHORT-03")
def test_worker_rests_for_every_listener(parents: Parents) -> None:
    """WORKER in an answer for one listener: no order comes for the other one either, until the worker has rested."""
    parent = parents.pool(1, listen=TWO)
    (stub,) = parent.workers
    parent.connect(1, 0)
    stub.order("BC-PICK-01")
    parent.connect(1, 1)
    parent.barrier()
    answered = time.monotonic()
    stub.answer(0, frames.WORKER)
    stub.order("BC-SHORT-03")
    rested(answered, "BC-SHORT-18", "a worker that had answered WORKER was ordered")


@listeners
@pytest.mark.req("BC-SHORT-18", "BC-SHORT-02")
def test_series_rests_for_every_listener(parents: Parents) -> None:
    """Three short answers for one listener: no order comes for the other one either, until the worker has rested."""
    parent = parents.pool(1, listen=TWO)
    (stub,) = parent.workers
    parent.connect(1, 0)
    for last in (False, False, True):
        stub.order("BC-SHORT-02")
        if last:
            parent.connect(1, 1)
            parent.barrier()
        answered = time.monotonic()
        stub.answer(0)
    stub.order("BC-SHORT-02")
    rested(answered, "BC-SHORT-18", "after three short answers for listener 0, a worker was ordered")


@listeners
@pytest.mark.parametrize("resting", [0, 1])
@pytest.mark.req("BC-SHORT-15", "BC-SHORT-19", "BC-SHORT-20")
def test_one_listener_rests(parents: Parents, resting: int) -> None:
    """SYSTEM in an answer for one listener: nobody is ordered for it, and somebody is for the other one."""
    parent = parents.pool(3, listen=TWO)
    first, second, third = parent.workers
    parent.connect(1, resting)
    first.order("BC-PICK-01")
    answered = time.monotonic()
    first.answer(0, frames.SYSTEM)
    parent.connect(1, 1 - resting)
    parent.barrier()
    for stub in (first, second, third):
        while stub.waiting():
            order = stub.order("BC-SHORT-15")
            if order.listener == resting:
                rested(answered, "BC-SHORT-19", f"listener {resting} was to rest, and {order} came")
            stub.take()
            if order.listener != resting:
                return
    check(False, "BC-SHORT-20", f"listener {resting} rests, and nobody was ordered for the other one")


@part
@pytest.mark.needs("max_per_order")
@pytest.mark.parametrize(("reason", "clause"), [(frames.WORKER, "BC-SHORT-03"), (frames.SYSTEM, "BC-SHORT-15")])
@pytest.mark.req("BC-SHORT-03", "BC-SHORT-15")
def test_rest_after_a_part_of_an_order(parents: Parents, reason: int, clause: str) -> None:
    """Of two it takes one, and then it or the system lacks something: it rests as if it had taken none."""
    parent = parents(start=2, min=2, max=2, capacity=4, max_per_order=2, policy="lowest")
    stub, parent.witness = sorted((parent.stub(), parent.stub()), key=lambda stub: stub.slot)
    parent.connect(2)
    stub.greet(4)
    order = stub.order("BC-PEND-05")
    assert order.max == 2, "its first order was for one"
    assert stub.call("accept")["accepted"] == 1
    answered = time.monotonic()
    stub.answer(1, reason)
    stub.order("BC-SHORT-17")
    rested(answered, clause, "somebody was ordered")


# ----------------------------------------------------------------------------------------------- who is passed over


@pytest.mark.req("BC-SHORT-07", "BC-SHORT-01")
def test_all_are_available_again(parents: Parents) -> None:
    """Worker after worker says that there is none, twice over: in the second round each is asked once, too."""
    parent = parents.pool(3)
    parent.connect()
    for turn, stub in enumerate((*parent.workers, *parent.workers)):
        asked, _ = parent.ordered(parent.workers, "BC-SHORT-07")
        check(
            asked is stub,
            "BC-SHORT-07",
            f"slot {asked.slot} was ordered after {turn} short answers, and it was slot {stub.slot}'s turn",
        )
        asked.answer(0)


def short_for_one(parent: ParentUnderTest) -> tuple[StubWorker, StubWorker, StubWorker]:
    """The first of three workers is passed over for listener 1, the second has the order for the client there."""
    first, second, third = parent.workers
    parent.connect(1, 1)
    first.order("BC-PICK-01")
    first.answer(0)
    second.order("BC-SHORT-01")
    return first, second, third


@listeners
@pytest.mark.req("BC-SHORT-08")
def test_passed_over_for_one_listener(parents: Parents) -> None:
    """A worker fell short for one listener: it is still the one to be chosen for the other."""
    parent = parents.pool(3, listen=TWO)
    first, _, third = short_for_one(parent)
    parent.connect(1, 0)
    stub, _ = parent.ordered((first, third), "BC-SHORT-08")
    check(stub is first, "BC-SHORT-08", "slot 0 fell short for listener 1, and was passed over for listener 0 as well")


@pytest.mark.classes("listeners", "counted")
@pytest.mark.req("BC-SHORT-01", "BC-SHORT-06")
def test_another_listener_that_is_empty_forgives_nothing(parents: Parents) -> None:
    """A worker fell short for one listener, and the queue of the other is seen empty: it stays passed over."""
    parent = parents.pool(3, listen=TWO)
    first, _, third = short_for_one(parent)
    parent.connect(1, 0)
    first.order("BC-SHORT-08")
    first.take()
    first.finish()
    parent.barrier()
    parent.connect(1, 1)
    stub, _ = parent.ordered((first, third), "BC-PEND-05")
    check(stub is third, "BC-SHORT-01", "slot 0 was ordered for listener 1: the other listener's queue was seen empty")
