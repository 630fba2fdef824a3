"""What a parent does with a worker that breaks the protocol: it is killed and logged, and the others go on."""

from __future__ import annotations

import random

import pytest
from backchannel_conformance import wire
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Parents

IDLE = {
    "a type that does not exist": (wire.idle(2)._replace(type=0x5A), "BC-FRAME-03"),
    "an ACCEPT": (wire.accept(2, 0), "BC-FRAME-03"),
    "another version": (wire.idle(2)._replace(version=0x11), "BC-FRAME-03"),
    "a reserved octet": (wire.idle(2)._replace(reserved=1), "BC-FRAME-03"),
    "a reason in IDLE": (wire.idle(2)._replace(reason=1), "BC-FRAME-03"),
    "a reserved word of IDLE": (wire.idle(2)._replace(accepted=1), "BC-FRAME-03"),
    "a reason that does not exist": (wire.busy(2, 0, 6, 0, 1), "BC-FRAME-03"),
    "a second hello": (wire.hello(2), "BC-HELLO-03"),
    "a BUSY that nobody asked for": (wire.busy(2, 0, wire.FILLED, 0, 1), "BC-BUSY-06"),
    "a second answer to the welcome": (wire.busy(1, 0, wire.FILLED, 0, 1), "BC-BUSY-06"),
    "a GONE with open 0": (wire.gone(0, 2), "BC-STATUS-06"),
    "an IDLE with open 1": (wire.idle(2)._replace(open=1), "BC-STATUS-06"),
    "an IDLE that changes nothing": (wire.idle(1), "BC-STATUS-06"),
    "a GONE that raises open": (wire.gone(1, 1), "BC-STATUS-06"),
    "a capacity above the ceiling": (wire.idle((1 << 20) + 1), "BC-STATUS-07"),
}


@pytest.mark.req("BC-FRAME-03", "BC-VIOL-01", "BC-VIOL-02", "BC-STATUS-06", "BC-STATUS-07", "BC-BUSY-06", "BC-HELLO-03")
def test_idle_worker_errs(parents: Parents) -> None:
    """Each idle worker writes a frame with one fault: it is killed and logged, and the last one serves."""
    under = parents.pool(len(IDLE) + 1)
    *bad, good = under.workers
    for stub, (what, (frame, clause)) in zip(bad, IDLE.items(), strict=True):
        stub.err(frame)
        stub.killed(clause, f"it wrote {what}")
        under.logged("BC-VIOL-02", f"slot {stub.slot}", clause)
    under.connect()
    good.order("BC-VIOL-01")


ORDERED = {
    "another order": (wire.busy(3, 1, wire.FILLED, 1, 1), "BC-BUSY-06"),
    "more than was ordered": (wire.busy(2, 2, wire.FILLED, 2, 2), "BC-BUSY-06"),
    "FILLED with less": (wire.busy(2, 0, wire.FILLED, 0, 1), "BC-BUSY-06"),
    "EMPTY with all": (wire.busy(2, 1, wire.EMPTY, 1, 1), "BC-BUSY-06"),
    "more open than it took": (wire.busy(2, 1, wire.FILLED, 2, 4), "BC-STATUS-06"),
    "a capacity above the ceiling": (wire.busy(2, 1, wire.FILLED, 1, (1 << 20) + 1), "BC-STATUS-07"),
}


@pytest.mark.req("BC-BUSY-06", "BC-STATUS-06", "BC-STATUS-07", "BC-VIOL-01", "BC-VIOL-02", "BC-DEATH-02")
def test_ordered_worker_errs(parents: Parents) -> None:
    """Worker after worker errs in its answer to the one order: it is killed, and the next one ordered."""
    under = parents.pool(len(ORDERED) + 1)
    *bad, good = under.workers
    under.connect()
    for stub, (what, (frame, clause)) in zip(bad, ORDERED.items(), strict=True):
        stub.order("BC-DEATH-02")
        stub.err(frame)
        stub.killed(clause, f"its answer had {what}")
        under.logged("BC-VIOL-02", f"slot {stub.slot}", clause)
    good.order("BC-DEATH-02")


@pytest.mark.parametrize("welcomed", [False, True])
@pytest.mark.req("BC-HELLO-05", "BC-VIOL-01", "BC-VIOL-02")
def test_status_before_the_welcome_is_answered(parents: Parents, welcomed: bool) -> None:
    """A worker changes its mind about its capacity before it has answered the welcome, read or not: it is killed."""
    under = parents(start=2, min=2, max=2)
    bad, good = under.stub(), under.stub()
    if welcomed:
        bad.hello()
        bad.order("BC-HELLO-04")
        bad.err(wire.idle(2))
    else:
        bad.err(wire.hello(1).octets + wire.idle(2).octets)
    bad.killed("BC-HELLO-05", "it sent an IDLE before its answer to the welcome")
    under.logged("BC-VIOL-02", f"slot {bad.slot}", "BC-HELLO-05")
    good.greet()
    under.connect()
    good.order("BC-VIOL-01")


@pytest.mark.needs("status")
@pytest.mark.req("BC-VIOL-01", "BC-CHAN-04")
def test_nothing_is_believed_after_a_violation(parents: Parents) -> None:
    """A violation and a perfect answer in one write: the answer does not count, and its order is given again."""
    under = parents.pool(2)
    bad, good = under.workers
    under.connect()
    bad.order("BC-PICK-01")
    bad.err(wire.idle(2)._replace(reserved=1).octets + bad.busy(1).octets)
    bad.killed("BC-VIOL-01", "it broke the protocol")
    good.order("BC-VIOL-01")
    counters = under.counters()
    found = counters["accepted"], counters["dead"]
    check(found == (0, 1), "BC-VIOL-01", f"(accepted, dead) are {found} instead of (0, 1)")


@pytest.mark.req("BC-CAP-03", "BC-VIOL-01")
def test_capacity_after_the_final_zero(parents: Parents) -> None:
    """A worker retires, and then wants more after all."""
    under = parents.pool(2)
    bad, good = under.workers
    bad.status(0, capacity=0)
    bad.drained("BC-CAP-03")
    bad.err(wire.idle(1))
    bad.killed("BC-CAP-03", "it came back from capacity 0")
    under.connect()
    good.order("BC-VIOL-01")


@pytest.mark.req("BC-HARM-01", "BC-VIOL-01", "BC-WAIT-01")
def test_noise_harms_nobody_else(parents: Parents) -> None:
    """Five workers answer an order with what dice say; one that behaves serves all five clients."""
    under = parents.pool(6)
    *bad, good = under.workers
    dice = random.Random(2007)
    for stub in bad:
        under.connect()
        ordered = stub.order("BC-HARM-01")
        assert ordered.max == 1
        stub.err(bytes(dice.randrange(256) for _ in range(dice.randrange(20, 400))))
        stub.killed("BC-HARM-01", "it wrote noise")
    for _ in bad:
        good.order("BC-HARM-01")
        good.take()
        good.finish()
    under.barrier()
    good.quiet("BC-PEND-01", "all clients have been served")
