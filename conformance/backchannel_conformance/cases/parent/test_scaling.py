"""The size of the pool, as its workers see it: they come and go as the rules say."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from backchannel_conformance import kernel
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Parents
from backchannel_conformance.model import sizing
from backchannel_conformance.parent_under_test import ParentUnderTest
from backchannel_conformance.stub_worker import StubWorker
from backchannel_conformance.waiting import scale, until

pytestmark = [
    pytest.mark.classes("scaling"),
    pytest.mark.needs("start", "min", "max", "min_spare", "max_spare", "pass"),
]


@pytest.mark.needs("status")
@pytest.mark.parametrize(("capacity", "spare"), [(1, 8), (3, 20)])
@pytest.mark.req(
    "BC-SCALE-01",
    "BC-SCALE-02",
    "BC-SCALE-04",
    "BC-SCALE-05",
    "BC-SCALE-06",
    "BC-SCALE-18",
    "BC-SCALE-21",
    "BC-SCALE-22",
    "BC-SCALE-25",
)
def test_spawning_doubles(parents: Parents, capacity: int, spare: int) -> None:
    """A pool far too small grows by 1, 2, 4, a pass apart, to what it lacks; workers that start count as spare."""
    period = 0.2 * scale()
    sizes = sizing.growth(1, 16, spare, capacity)
    began = time.monotonic()
    parent = parents(start=1, min=1, max=16, min_spare=spare, capacity=capacity, pass_=period)
    until(lambda: _has_status(parent), 20, what="the status document")
    known, last = 0, began
    earlier: list[float] = [began]
    """For each pass that was seen, a moment at which it had not been made yet."""
    while sizes[known] != sizes[-1]:
        asked = time.monotonic()
        seen = parent.counters()["spawned"]
        check(seen in sizes, "BC-SCALE-22", f"{seen} workers were started; the sizes are {sizes}")
        passes = sizes.index(seen)
        took = time.monotonic() - earlier[known]
        if known:  # the first pass is made at once
            least = (passes - known) * period
            check(took >= least, "BC-SCALE-06", f"passes {known} to {passes} were made within {took:.3f} s")
        check(asked - began < 20 * scale(), "BC-SCALE-04", f"the pool stays at {seen} workers, of {sizes[-1]}")
        earlier += [last] * (passes - known)
        known, last = passes, asked
        time.sleep(0.002)
    for _ in range(sizes[-1]):
        parent.stub("BC-SCALE-04")
    check(not parent.more(), "BC-SCALE-21", f"more than {sizes[-1]} workers were started")


def _has_status(parent: ParentUnderTest) -> bool:
    try:
        parent.counters()
    except OSError:
        return False
    return True


@pytest.mark.req("BC-SCALE-01")
def test_start_is_spawned_at_once(parents: Parents) -> None:
    """Four workers to start with, where one would do: all four are started before any has said hello."""
    parent = parents(start=4, min=1, max=4, pass_=30)
    parent.stub()  # how long the parent itself takes to start is not the question
    for _ in range(3):
        parent.stub("BC-SCALE-01")


@pytest.mark.needs("status")
@pytest.mark.req("BC-SCALE-02", "BC-SCALE-08", "BC-SCALE-10", "BC-SCALE-18")
def test_growth_ends_at_max(parents: Parents) -> None:
    """As workers fill up others start, one for each, until max count, although clients wait."""
    parent = parents(start=1, min=1, max=3, min_spare=1, pass_=0.02, capacity=1)
    workers = [parent.stub()]
    for at in range(3):
        workers[at].greet()
        # before the next order: what that reserves is no spare, and a worker may be started at once
        check(not parent.more(), "BC-SCALE-02", "a worker was started while another one was STARTING")
        parent.connect()
        workers[at].order("BC-PICK-01")
        workers[at].take()
        if at < 2:
            workers.append(parent.stub("BC-SCALE-18"))
            check(workers[-1].slot == at + 1, "BC-SCALE-10", f"the new worker got slot {workers[-1].slot}")
    # nobody has spare room now, and passes go on while connections do
    for _ in range(20):
        parent.connect()
        workers[0].finish()
        workers[0].order("BC-WATCH-02")
        workers[0].take()
    spawned = parent.counters()["spawned"]
    check(spawned == 3, "BC-SCALE-08", f"{spawned} workers were started, max is 3")


@pytest.mark.req("BC-SCALE-07", "BC-SCALE-26", "BC-SCALE-27", "BC-SCALE-28")
def test_retirement_goes_from_the_top(parents: Parents) -> None:
    """Four idle workers, max_spare 2: the highest slot is drained, then the next, and no more."""
    parent = parents(start=4, min=1, max=4, min_spare=1, max_spare=2, pass_=0.05)
    workers = sorted((parent.stub() for _ in range(4)), key=lambda stub: stub.slot)
    for stub in workers:
        stub.greet()
    for stub in reversed(workers[2:]):
        stub.drained("BC-SCALE-27")
        stub.leave(0)
    parent.connect()
    workers[0].order("BC-SCALE-28")
    workers[1].quiet("BC-SCALE-28", "two spare workers are no surplus")


@pytest.mark.classes("event")
@pytest.mark.req("BC-SCALE-27")
def test_retirement_counts_what_is_reserved(parents: Parents) -> None:
    """Slot 1 holds nothing and has an order under way, slot 0 holds nothing at all: slot 0 is retired."""
    parent = parents(
        start=2,
        min=1,
        max=2,
        min_spare=1,
        max_spare=6,
        capacity=2,
        policy="least-loaded",
        pass_=0.02,
        order_deadline=30,
    )
    first, second = sorted((parent.stub(), parent.stub()), key=lambda stub: stub.slot)
    for stub in (first, second):
        stub.greet(2)
    parent.connect()
    first.order("BC-PICK-02")
    first.take()
    parent.connect()
    second.order("BC-PICK-02")
    first.call("finish")
    first.status(0, capacity=10)
    first.drained("BC-SCALE-27")
    second.quiet("BC-SCALE-27", "it has an order under way, and the other one nothing")


@pytest.mark.classes("event")
@pytest.mark.req("BC-SCALE-29")
def test_retirement_leaves_min_spare(parents: Parents) -> None:
    """All the room is that of one idle worker: without it min_spare would not hold, so nobody is retired."""
    parent = parents(start=2, min=1, max=2, min_spare=1, max_spare=3, capacity=2, policy="lowest", pass_=0.02)
    first, second = sorted((parent.stub(), parent.stub()), key=lambda stub: stub.slot)
    first.greet(1)
    second.greet(1)
    parent.connect()
    first.order("BC-PICK-01")
    first.take()
    second.status(0, capacity=9)
    for _ in range(3):
        parent.connect()
        second.order("BC-SCALE-29")
        second.take()


@pytest.mark.req("BC-SCALE-03", "BC-SCALE-08", "BC-SCALE-09", "BC-SCALE-19")
def test_draining_workers_take_no_place(parents: Parents) -> None:
    """max is 2, one of two drains and stays: another one is started."""
    parent = parents(start=2, min=2, max=2, pass_=0.02)
    first, _second = parent.stub(), parent.stub()
    first.greet()
    first.status(0, capacity=0)
    first.drained("BC-CAP-03")
    parent.stub("BC-SCALE-09")
    check(not parent.more(), "BC-SCALE-08", "two were started for one")


def fill(parent: ParentUnderTest, workers: Sequence[StubWorker]) -> None:
    """One connection for each worker of capacity 1."""
    for stub in workers:
        parent.connect()
        stub.order("BC-PICK-01")
        stub.take()


def by_slot(parent: ParentUnderTest, count: int) -> list[StubWorker]:
    """The first workers."""
    return sorted((parent.stub() for _ in range(count)), key=lambda stub: stub.slot)


@pytest.mark.classes("counted")
@pytest.mark.kernel("state", "session_of")
@pytest.mark.req("BC-SCALE-24", "BC-SCALE-05")
def test_spawn_rate_falls_back(parents: Parents) -> None:
    """The pool grows by 1 and by 2, and has enough. When it is short again it grows by 1, and by more a pass later."""
    period = max(
        1.0, scale()
    )  # many times what a stub takes to start: whoever is there with the first came in its pass
    parent = parents(start=1, min=1, max=12, min_spare=4, pass_=period)
    workers = sorted((parent.stub("BC-SCALE-05") for _ in range(4)), key=lambda stub: stub.slot)
    for stub in workers:
        stub.greet()
    known = set(kernel.session_of(parent.process.pid))
    time.sleep(period)  # not evidence: the next pass may act at once
    with parent.asleep(time.monotonic()):  # so that it lacks four workers at once
        parent.connect(4)
        began = time.monotonic()
    known.add(parent.stub("BC-SCALE-18").pid)
    more = set(kernel.session_of(parent.process.pid)) - known
    took = time.monotonic() - began
    check(
        not more or took >= period,
        "BC-SCALE-24",
        f"the pool was short again, and {1 + len(more)} workers were started within {took:.3f} s",
    )


@pytest.mark.req("BC-SCALE-17", "BC-SCALE-28")
def test_who_starts_is_no_spare_for_retiring(parents: Parents) -> None:
    """One worker is READY and two are STARTING, max_spare is 1: the one is all the spare that counts, and it stays."""
    parent = parents(start=3, min=1, max=3, max_spare=1, pass_=0.02)
    ready, _, parent.witness = by_slot(parent, 3)
    ready.greet()
    parent.barrier()
    ready.quiet("BC-SCALE-28", "it is the only READY worker, and its room is not above max_spare")


@pytest.mark.classes("event")
@pytest.mark.needs("order_deadline", "status")
@pytest.mark.req("BC-SCALE-17", "BC-SCALE-28")
def test_suspect_is_no_spare_for_retiring(parents: Parents) -> None:
    """A SUSPECT worker has room for 3 more, a READY one for 4, max_spare is 4: nobody is retired."""
    parent = parents(
        start=3, min=1, max=3, max_spare=4, capacity=4, policy="lowest", pass_=0.02, order_deadline=0.1 * scale()
    )
    suspect, ready, parent.witness = by_slot(parent, 3)
    suspect.greet(4)
    parent.connect()
    suspect.order("BC-PICK-01")
    until(lambda: parent.counters()["expired"] == 1, what="the order to expire")
    ready.greet(4)
    ready.order("BC-SILENT-01")
    ready.take()
    parent.barrier()
    for stub in (suspect, ready):
        stub.quiet("BC-SCALE-28", "the room of READY workers is 4 at most, and so is max_spare")


@pytest.mark.req("BC-SCALE-27", "BC-SCALE-10")
def test_highest_slot_retires_and_not_the_newest(parents: Parents) -> None:
    """Slot 0 is filled anew, so its worker is the newest. All are idle then: slot 2 is retired."""
    parent = parents(start=3, min=1, max=3, min_spare=1, max_spare=2, pass_=0.02)
    first, second, third = by_slot(parent, 3)
    for stub in (first, second, third):
        stub.greet()
        fill(parent, [stub])
    first.leave(1)
    newest = parent.stub("BC-SCALE-18")
    check(newest.slot == 0, "BC-SCALE-10", f"the new worker got slot {newest.slot}")
    newest.greet()
    second.finish()
    third.finish()
    third.drained("BC-SCALE-27")
    for stub in (newest, second):
        stub.quiet("BC-SCALE-27", "all are idle, and slot 2 is the highest")


@pytest.mark.req("BC-SCALE-31", "BC-SCALE-19")
def test_retiring_stops_at_min(parents: Parents) -> None:
    """Of three workers two are READY, min is 2, max_spare 1: one is retired. When the third is READY, both stay."""
    parent = parents(start=3, min=2, max=3, max_spare=1, pass_=0.02, drain_deadline=60)
    first, second, third = by_slot(parent, 3)
    first.greet()
    second.greet()
    second.drained("BC-SCALE-27")
    third.greet()
    parent.barrier(by=first)
    for stub in (first, third):
        stub.quiet("BC-SCALE-31", "two workers count, and min is 2")


@pytest.mark.req("BC-SCALE-10", "BC-SCALE-03")
@pytest.mark.parametrize("order", [(1, 0, 2), (2, 0, 1)])
def test_smallest_free_slot(parents: Parents, order: tuple[int, int, int]) -> None:
    """Three of five workers die, and one is lacking then: the new one gets slot 0, whoever died first."""
    parent = parents(start=5, min=3, max=5, pass_=0.02)
    workers = by_slot(parent, 5)
    for stub in workers[:4]:
        stub.greet()
    fill(parent, workers[:4])
    for slot in order:
        workers[slot].leave(1)
        parent.reaped(workers[slot])  # or it might find several dead at once, and in a sequence of its own
    new = parent.stub("BC-SCALE-03")
    check(
        new.slot == 0, "BC-SCALE-10", f"slots {order} had become free, in this sequence; the new worker got {new.slot}"
    )
