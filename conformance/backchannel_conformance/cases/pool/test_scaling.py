"""The pool grows and shrinks by the rules, and stays within its bounds."""

from __future__ import annotations

import time
from typing import Any

import pytest
from backchannel_conformance.client import Held
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Pools
from backchannel_conformance.pool_under_test import Status

pytestmark = [pytest.mark.classes("scaling"), pytest.mark.needs("status", "min_spare", "max_spare", "pass")]

PASS = 0.1


def counting(status: Status) -> int:
    """Workers that count: all but those draining."""
    return sum(worker["state"] != "DRAINING" for worker in status.workers)


def spare(status: Status) -> int:
    """Room of READY workers."""
    return sum(max(0, w["capacity"] - w["open"]) for w in status.workers if w["state"] == "READY")


@pytest.mark.parametrize("capacity", [1, 3])
@pytest.mark.req("BC-SCALE-01", "BC-SCALE-04", "BC-SCALE-08", "BC-SCALE-18")
def test_grows_to_keep_spare(pools: Pools, capacity: int) -> None:
    """As connections are held, min_spare is kept, until max workers count."""
    pool = pools(capacity=capacity, start=2, min=1, max=6, min_spare=2, max_spare=4 * capacity, pass_=PASS)
    check(counting(pool.status()) >= 2, "BC-SCALE-01", f"{counting(pool.status())} workers at the start instead of 2")
    for held in range(1, 6 * capacity + 1):
        pool.client.hold()
        room = 6 * capacity - held
        status = pool.until(
            f"spare of 2, or all 6 workers, with {held} held",
            lambda s, held=held, room=room: s.open == held and spare(s) >= min(2, room),
        )
        check(counting(status) <= 6, "BC-SCALE-08", f"{counting(status)} workers count, the maximum is 6")
    check(counting(pool.status()) == 6, "BC-SCALE-04", f"{counting(pool.status())} workers hold what needs 6")


@pytest.mark.req("BC-SCALE-07", "BC-SCALE-27", "BC-SCALE-28", "BC-DRAIN-07", "BC-LOSS-02")
def test_shrinks_when_idle(pools: Pools) -> None:
    """When the load has gone, workers retire one at a time, the highest slots first, down to max_spare and no
    further.
    """
    pool = pools(start=8, min=2, max=8, min_spare=1, max_spare=3, pass_=PASS)
    status = pool.until("only 3 spare", lambda s: spare(s) == 3 and len(s.workers) == 3)
    check(
        sorted(status.slots()) == [0, 1, 2],
        "BC-SCALE-27",
        f"slots {sorted(status.slots())} are left instead of 0, 1, 2",
    )
    check(status.counters["retired"] == 5, "BC-SCALE-28", f"{status.counters['retired']} were retired instead of 5")
    check(status.counters["kills"] == 0, "BC-DRAIN-07", "a retired worker was killed")


@pytest.mark.req("BC-SCALE-31")
def test_never_below_min(pools: Pools) -> None:
    """min holds even when there is too much spare."""
    pool = pools(start=5, min=4, max=6, min_spare=0, max_spare=1, pass_=PASS)
    status = pool.until("4 workers", lambda s: len(s.workers) == 4)
    check(status.counters["retired"] == 1, "BC-SCALE-31", f"{status.counters['retired']} were retired instead of 1")
    # one more death and one more pass: still 4
    for _ in range(5):
        check(counting(pool.status()) == 4, "BC-SCALE-31", f"{counting(pool.status())} workers count, the minimum is 4")
        pool.client.ask()


@pytest.mark.classes("event")
@pytest.mark.req("BC-SCALE-27", "BC-SCALE-28", "BC-DRAIN-04")
def test_retires_the_least_loaded(pools: Pools) -> None:
    """The worker with the fewest connections is retired, and finishes those it has."""
    pool = pools(start=1, min=1, max=3, capacity=4, min_spare=2, max_spare=4, policy="least-loaded", pass_=PASS)
    held: dict[int, list[Held]] = {0: [], 1: [], 2: []}
    for count in range(1, 11):
        connection, who = pool.client.hold()
        assert who.slot is not None
        # while it fills, the one that may be retired is the newest, and without it the spare capacity would not do
        check(who.slot in held, "BC-SCALE-07", f"slot {who.slot} serves connection {count}: another one was retired")
        held[who.slot].append(connection)
        pool.until("spare of 2", lambda s, count=count: s.open == count and spare(s) >= 2)
    retired = pool.status().counters["retired"]
    check(retired == 0, "BC-SCALE-07", f"{retired} workers were retired while the pool was filling")
    while len(held[0]) > 1:
        held[0].pop().close()
    status = pool.until("a retirement", lambda s: s.counters["retired"] == 1)
    gone = set(held) - set(status.slots("READY"))
    check(gone == {0}, "BC-SCALE-07", f"slots {gone} were retired; slot 0 had the fewest connections")
    check(held[0][0].again().slot == 0, "BC-DRAIN-04", "the retired worker did not go on serving")
    held[0][0].close()
    pool.until("it to go", lambda s: 0 not in s.slots())


@pytest.mark.req("BC-SCALE-07", "BC-SCALE-08", "BC-SCALE-18", "BC-SCALE-31", "BC-LOAD-01")
def test_pool_follows_the_load(pools: Pools, figures: dict[str, Any]) -> None:
    """The load rises to ten connections, falls to none, and rises again: the pool follows, within its bounds."""
    low, high = 2, 12
    pool = pools(start=low, min=low, max=high, min_spare=1, max_spare=3, pass_=0.05)
    started = time.monotonic()
    points: list[list[float]] = []
    figures["seconds, workers, connections"] = points
    held: list[Held] = []

    def follows(status: Status) -> bool:
        points.append([round(time.monotonic() - started, 3), counting(status), status.open])
        check(low <= counting(status) <= high, "BC-SCALE-08", f"{counting(status)} workers count, not {low} to {high}")
        return status.open == len(held) and 1 <= spare(status) <= 3

    for target in (10, 0, 5):
        while len(held) != target:
            if len(held) < target:
                held.append(pool.client.hold()[0])
            else:
                held.pop().close()
            pool.until(f"spare of 1 to 3 with {len(held)} connections", follows)
    for connection in held:
        connection.close()
