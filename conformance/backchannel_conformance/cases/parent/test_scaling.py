"""The size of the pool, as its workers see it: they come and go as the rules say."""

from __future__ import annotations

import time

import pytest
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Parents
from backchannel_conformance.model import sizing
from backchannel_conformance.parent_under_test import ParentUnderTest
from backchannel_conformance.waiting import scale, until

pytestmark = [
    pytest.mark.classes("scaling"),
    pytest.mark.needs("start", "min", "max", "min_spare", "max_spare", "pass"),
]


@pytest.mark.needs("status")
@pytest.mark.parametrize(("capacity", "spare"), [(1, 8), (3, 20)])
@pytest.mark.req("BC-SCALE-01", "BC-SCALE-02", "BC-SCALE-04", "BC-SCALE-05", "BC-SCALE-06")
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
        check(seen in sizes, "BC-SCALE-05", f"{seen} workers were started; the sizes are {sizes}")
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
    check(not parent.more(), "BC-SCALE-04", f"more than {sizes[-1]} workers were started")


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
    for _ in range(4):
        parent.stub("BC-SCALE-01")


@pytest.mark.needs("status")
@pytest.mark.req("BC-SCALE-02", "BC-SCALE-03", "BC-SCALE-08")
def test_growth_ends_at_max(parents: Parents) -> None:
    """As workers fill up others start, one for each, until max count, although clients wait."""
    parent = parents(start=1, min=1, max=3, min_spare=1, pass_=0.02, capacity=1)
    workers = [parent.stub()]
    for at in range(3):
        workers[at].greet()
        parent.connect()
        workers[at].order("BC-PICK-01")
        check(not parent.more(), "BC-SCALE-02", "a worker was started while another one was STARTING")
        workers[at].take()
        if at < 2:
            workers.append(parent.stub("BC-SCALE-03"))
            check(workers[-1].slot == at + 1, "BC-SCALE-10", f"the new worker got slot {workers[-1].slot}")
    # nobody has spare room now, and passes go on while connections do
    for _ in range(20):
        parent.connect()
        workers[0].finish()
        workers[0].order("BC-WATCH-02")
        workers[0].take()
    spawned = parent.counters()["spawned"]
    check(spawned == 3, "BC-SCALE-08", f"{spawned} workers were started, max is 3")


@pytest.mark.req("BC-SCALE-07", "BC-SCALE-08")
def test_retirement_goes_from_the_top(parents: Parents) -> None:
    """Four idle workers, max_spare 2: the highest slot is drained, then the next, and no more."""
    parent = parents(start=4, min=1, max=4, min_spare=1, max_spare=2, pass_=0.05)
    workers = sorted((parent.stub() for _ in range(4)), key=lambda stub: stub.slot)
    for stub in workers:
        stub.greet()
    for stub in reversed(workers[2:]):
        stub.drained("BC-SCALE-07")
        stub.leave(0)
    parent.connect()
    workers[0].order("BC-SCALE-07")
    workers[1].quiet("BC-SCALE-07", "two spare workers are no surplus")


@pytest.mark.classes("event")
@pytest.mark.req("BC-SCALE-07")
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
    first.drained("BC-SCALE-07")
    second.quiet("BC-SCALE-07", "it has an order under way, and the other one nothing")


@pytest.mark.classes("event")
@pytest.mark.req("BC-SCALE-07")
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
        second.order("BC-SCALE-07")
        second.take()


@pytest.mark.req("BC-SCALE-09")
def test_draining_workers_take_no_place(parents: Parents) -> None:
    """max is 2, one of two drains and stays: another one is started."""
    parent = parents(start=2, min=2, max=2, pass_=0.02)
    first, _second = parent.stub(), parent.stub()
    first.greet()
    first.status(0, capacity=0)
    first.drained("BC-CAP-03")
    parent.stub("BC-SCALE-09")
    check(not parent.more(), "BC-SCALE-08", "two were started for one")
