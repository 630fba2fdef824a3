"""Short answers: who gave one is passed over; who gives several in a row, or lacks something, rests."""

from __future__ import annotations

import time

import pytest
from backchannel_conformance import wire
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Parents

REST = 0.1
"""The default of *rest*; what is measured can only be longer, so the bound is exact."""


@pytest.mark.req("BC-SHORT-01")
def test_short_answer_is_passed_over(parents: Parents) -> None:
    """A client waits, and worker after worker says that there is none: each is asked once before anyone is again."""
    under = parents.pool(3)
    under.connect()
    for stub in (*under.workers, under.workers[0]):
        stub.order("BC-SHORT-01")
        others = [other for other in under.workers if other is not stub]
        for other in others:
            other.quiet("BC-SHORT-01", f"the client's order is with slot {stub.slot}")
        stub.answer(0)


@pytest.mark.req("BC-SHORT-01")
def test_forgiven_when_the_queue_was_empty(parents: Parents) -> None:
    """After a short answer the other worker takes the connection; the queue is empty, and the next goes to slot 0."""
    under = parents.pool(2)
    first, second = under.workers
    under.connect()
    first.order("BC-PICK-01")
    first.answer(0)
    second.order("BC-SHORT-01")
    second.take()
    second.finish()
    under.barrier()
    under.connect()
    stub, _ = under.ordered((first, second), "BC-SHORT-01")
    check(stub is first, "BC-SHORT-01", "slot 1 was ordered: slot 0 is passed over still")


@pytest.mark.req("BC-SHORT-02")
def test_three_short_answers_rest(parents: Parents) -> None:
    """The only worker says three times that nothing is pending, though something is: it rests before the fourth."""
    under = parents.pool(1)
    (stub,) = under.workers
    under.connect()
    for _ in range(3):
        stub.order("BC-SHORT-01")
        answered = time.monotonic()
        stub.answer(0)
    stub.order("BC-SHORT-02")
    took = time.monotonic() - answered
    check(took >= REST, "BC-SHORT-02", f"it was ordered again after {took:.3f} s")


@pytest.mark.req("BC-SHORT-02")
def test_peer_is_nobodys_fault(parents: Parents) -> None:
    """Three answers with reason PEER: the worker does not rest."""
    under = parents.pool(1)
    (stub,) = under.workers
    under.connect()
    for _ in range(3):
        stub.order("BC-SHORT-01")
        stub.answer(0, wire.PEER)
    under.barrier()
    check(stub.waiting(), "BC-SHORT-02", "it was not ordered again, although its answers said PEER")


@pytest.mark.parametrize(("reason", "name"), [(wire.WORKER, "WORKER"), (wire.SYSTEM, "SYSTEM")])
@pytest.mark.req("BC-SHORT-03")
def test_lack_of_resources_rests(parents: Parents, reason: int, name: str) -> None:
    """WORKER rests the worker, SYSTEM the listener: the one worker is not ordered before that time is over."""
    under = parents.pool(1)
    (stub,) = under.workers
    under.connect()
    stub.order("BC-PICK-01")
    answered = time.monotonic()
    stub.answer(0, reason)
    under.barrier()
    stub.order("BC-SHORT-03")
    took = time.monotonic() - answered
    check(took >= REST, "BC-SHORT-03", f"after {name} it was ordered again within {took:.3f} s")


@pytest.mark.req("BC-SHORT-03")
def test_others_go_on_while_one_rests(parents: Parents) -> None:
    """WORKER from one: the other is ordered. SYSTEM from that one: nobody is, until the listener has rested."""
    under = parents.pool(2)
    first, second = under.workers
    under.connect()
    first.order("BC-PICK-01")
    first.answer(0, wire.WORKER)
    second.order("BC-SHORT-03")
    answered = time.monotonic()
    second.answer(0, wire.SYSTEM)
    under.ordered(under.workers, "BC-SHORT-03")
    took = time.monotonic() - answered
    check(took >= REST, "BC-SHORT-03", f"after SYSTEM somebody was ordered within {took:.3f} s")


@pytest.mark.req("BC-SHORT-04", "BC-DRAIN-01")
def test_unusable_listener(parents: Parents) -> None:
    """UNUSABLE: that worker is drained and logged, and the other one ordered."""
    under = parents.pool(2)
    first, second = under.workers
    under.connect()
    first.order("BC-PICK-01")
    first.answer(0, wire.UNUSABLE)
    first.drained("BC-SHORT-04")
    second.order("BC-SHORT-04")
    under.logged("BC-SHORT-04", f"slot {first.slot}")
