"""What a parent does with a worker that breaks the protocol: it is killed and logged, and the others go on."""

from __future__ import annotations

import random
import time

import pytest
from backchannel_conformance import frames
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Parents

IDLE = {  # what a worker writes, the rule that makes it a violation, and the class of that
    "a type that does not exist": (frames.idle(2)._replace(type=0x5A), "BC-FRAME-05", "BC-FRAME-03"),
    "an ACCEPT": (frames.accept(2, 0), "BC-FRAME-05", "BC-FRAME-03"),
    "another version": (frames.idle(2)._replace(version=0x11), "BC-FRAME-03", "BC-FRAME-03"),
    "a reserved octet": (frames.idle(2)._replace(reserved=1), "BC-FRAME-08", "BC-FRAME-03"),
    "a reason in IDLE": (frames.idle(2)._replace(reason=1), "BC-FRAME-07", "BC-FRAME-03"),
    "a reserved word of IDLE": (frames.idle(2)._replace(accepted=1), "BC-FRAME-08", "BC-FRAME-03"),
    "a reason that does not exist": (frames.busy(2, 0, 6, 0, 1), "BC-FRAME-06", "BC-FRAME-03"),
    "a second hello": (frames.hello(2), "BC-HELLO-12", "BC-HELLO-03"),
    "a BUSY that nobody asked for": (frames.busy(2, 0, frames.FILLED, 0, 1), "BC-BUSY-06", "BC-BUSY-06"),
    "a second answer to the welcome": (frames.busy(1, 0, frames.FILLED, 0, 1), "BC-BUSY-06", "BC-BUSY-06"),
    "a GONE with open 0": (frames.gone(0, 2), "BC-STATUS-13", "BC-STATUS-06"),
    "an IDLE with open 1": (frames.idle(2)._replace(open=1), "BC-STATUS-14", "BC-STATUS-06"),
    "an IDLE that changes nothing": (frames.idle(1), "BC-STATUS-12", "BC-STATUS-06"),
    "a GONE that raises open": (frames.gone(1, 1), "BC-STATUS-11", "BC-STATUS-06"),
    "a capacity above the ceiling": (frames.idle((1 << 20) + 1), "BC-STATUS-07", "BC-STATUS-07"),
}


@pytest.mark.req(
    "BC-FRAME-03",
    "BC-FRAME-05",
    "BC-FRAME-06",
    "BC-FRAME-07",
    "BC-FRAME-08",
    "BC-HELLO-12",
    "BC-BUSY-06",
    "BC-STATUS-07",
    "BC-STATUS-11",
    "BC-STATUS-12",
    "BC-STATUS-13",
    "BC-STATUS-14",
    "BC-VIOL-02",
    "BC-VIOL-05",
    "BC-VIOL-06",
)
def test_idle_worker_errs(parents: Parents) -> None:
    """Each idle worker writes a frame with one fault: it is killed and logged, and the last one serves."""
    parent = parents.pool(len(IDLE) + 1)
    *bad, good = parent.workers
    for stub, (what, (frame, clause, known_as)) in zip(bad, IDLE.items(), strict=True):
        stub.err(frame)
        stub.killed(clause, f"it wrote {what}")
        parent.logged("BC-VIOL-02", f"slot {stub.slot}", known_as)
    parent.connect()
    good.order("BC-VIOL-06")


ORDERED = {
    "another order": (frames.busy(3, 1, frames.FILLED, 1, 1), "BC-BUSY-06", "BC-BUSY-06"),
    "more than was ordered": (frames.busy(2, 2, frames.FILLED, 2, 2), "BC-BUSY-10", "BC-BUSY-06"),
    "FILLED with less": (frames.busy(2, 0, frames.FILLED, 0, 1), "BC-BUSY-11", "BC-BUSY-06"),
    "EMPTY with all": (frames.busy(2, 1, frames.EMPTY, 1, 1), "BC-BUSY-11", "BC-BUSY-06"),
    "more open than it took": (frames.busy(2, 1, frames.FILLED, 2, 4), "BC-STATUS-06", "BC-STATUS-06"),
    "a capacity above the ceiling": (
        frames.busy(2, 1, frames.FILLED, 1, (1 << 20) + 1),
        "BC-STATUS-07",
        "BC-STATUS-07",
    ),
}


@pytest.mark.req(
    "BC-BUSY-06",
    "BC-BUSY-10",
    "BC-BUSY-11",
    "BC-STATUS-06",
    "BC-STATUS-07",
    "BC-VIOL-02",
    "BC-VIOL-05",
    "BC-VIOL-06",
    "BC-DEATH-09",
)
def test_ordered_worker_errs(parents: Parents) -> None:
    """Worker after worker errs in its answer to the one order: it is killed, and the next one ordered."""
    parent = parents.pool(len(ORDERED) + 1)
    *bad, good = parent.workers
    parent.connect()
    for stub, (what, (frame, clause, known_as)) in zip(bad, ORDERED.items(), strict=True):
        stub.order("BC-DEATH-09")
        stub.err(frame)
        stub.killed(clause, f"its answer had {what}")
        parent.logged("BC-VIOL-02", f"slot {stub.slot}", known_as)
    good.order("BC-DEATH-09")


@pytest.mark.parametrize("welcomed", [False, True])
@pytest.mark.req("BC-HELLO-15", "BC-VIOL-02", "BC-VIOL-05", "BC-VIOL-06")
def test_status_before_the_welcome_is_answered(parents: Parents, welcomed: bool) -> None:
    """A worker changes its mind about its capacity before it has answered the welcome, read or not: it is killed."""
    parent = parents(start=2, min=2, max=2)
    bad, good = parent.stub(), parent.stub()
    if welcomed:
        bad.hello()
        bad.order("BC-HELLO-04")
        bad.err(frames.idle(2))
    else:
        bad.err(frames.hello(1).octets + frames.idle(2).octets)
    bad.killed("BC-HELLO-15", "it sent an IDLE before its answer to the welcome")
    parent.logged("BC-VIOL-02", f"slot {bad.slot}", "BC-HELLO-05")
    good.greet()
    parent.connect()
    good.order("BC-VIOL-06")


@pytest.mark.needs("status")
@pytest.mark.req("BC-VIOL-01", "BC-VIOL-05")
def test_nothing_is_applied_after_a_violation(parents: Parents) -> None:
    """A violation and a perfect answer in one write: the answer does not count, and its order is given again."""
    parent = parents.pool(2)
    bad, good = parent.workers
    parent.connect()
    bad.order("BC-PICK-01")
    bad.err(frames.idle(2)._replace(reserved=1).octets + bad.busy(1).octets)
    bad.killed("BC-VIOL-05", "it broke the protocol")
    good.order("BC-VIOL-01")
    counters = parent.counters()
    found = counters["accepted"], counters["dead"]
    check(found == (0, 1), "BC-VIOL-01", f"(accepted, dead) are {found} instead of (0, 1)")


@pytest.mark.req("BC-CAP-03", "BC-CAP-06", "BC-VIOL-06")
def test_capacity_after_the_final_zero(parents: Parents) -> None:
    """A worker retires, and then wants more after all."""
    parent = parents.pool(2)
    bad, good = parent.workers
    bad.status(0, capacity=0)
    bad.drained("BC-CAP-03")
    bad.err(frames.idle(1))
    bad.killed("BC-CAP-06", "it came back from capacity 0")
    parent.connect()
    good.order("BC-VIOL-06")


@pytest.mark.req("BC-HARM-01", "BC-VIOL-06", "BC-WAIT-01")
def test_noise_harms_nobody_else(parents: Parents) -> None:
    """Five workers answer an order with what dice say; one that behaves serves all five clients."""
    parent = parents.pool(6)
    *bad, good = parent.workers
    dice = random.Random(2007)
    for stub in bad:
        parent.connect()
        ordered = stub.order("BC-HARM-01")
        assert ordered.max == 1
        stub.err(bytes(dice.randrange(256) for _ in range(dice.randrange(20, 400))))
        stub.killed("BC-HARM-01", "it wrote noise")
    for _ in bad:
        good.order("BC-HARM-01")
        good.take()
        good.finish()
    parent.barrier()
    good.quiet("BC-PEND-01", "all clients have been served")


@pytest.mark.needs("status")
@pytest.mark.req("BC-VIOL-09", "BC-CHAN-13")
def test_answer_before_a_violation_counts(parents: Parents) -> None:
    """A perfect answer and a violation in one write: the answer counts, and the worker is killed."""
    parent = parents.pool(2)
    bad, good = parent.workers
    parent.connect()
    bad.order("BC-PICK-01")
    assert bad.call("accept")["accepted"] == 1
    bad.err(bad.busy(1).octets + frames.idle(2)._replace(reserved=1).octets)
    bad.killed("BC-VIOL-05", "it broke the protocol")
    parent.connect()
    good.order("BC-VIOL-06")
    counters = parent.counters()
    found = counters["accepted"], counters["dead"]
    check(found == (1, 0), "BC-VIOL-09", f"(accepted, dead) are {found} instead of (1, 0)")


@pytest.mark.req("BC-SCALE-34", "BC-SCALE-35", "BC-SCALE-11")
def test_violation_before_serving_is_an_early_exit(parents: Parents) -> None:
    """Workers that have accepted nothing break the protocol: the next one starts a second after the first of them was
    killed, two after the second.
    """
    parent = parents.pool(1)
    (stub,) = parent.workers
    for delay in (1.0, 2.0):
        began = time.monotonic()
        stub.err(frames.idle(1))
        stub.killed("BC-VIOL-05", "its report changes nothing")
        stub = parent.stub("BC-SCALE-11", delay + 5)
        took = time.monotonic() - began
        check(took >= delay, "BC-SCALE-34", f"a new worker started {took:.3f} s after a violation, not {delay:g} s")
        stub.greet()
