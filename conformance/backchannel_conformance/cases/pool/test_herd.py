"""A connection wakes one worker, the one that was ordered.

Every case serves connections one after another and counts voluntary context switches: workers that served nothing
must have made none, and those that served at most three for each connection.
"""

from __future__ import annotations

import select
from collections import Counter
from typing import Any

import pytest
from backchannel_conformance import kernel
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Pools
from backchannel_conformance.pool_under_test import PoolUnderTest
from backchannel_conformance.waiting import TimedOut
from backchannel_conformance.wakeups import (
    AskedCounter,
    LiveCounter,
    PoolCounter,
    PortableCounter,
    WorkerCounter,
    worker_counter,
)

LIVE = pytest.mark.kernel("switches", "state")
SEEN = pytest.mark.kernel("state")
LARGE = pytest.mark.kernel("room")

PER_CONNECTION = 3
NOISE = 1000
"""A process that the kernel has wait for memory makes a voluntary switch as well. One for so many connections, and one
more, are no sign of a herd, which wakes a worker for every connection, or for every one of a kind.
"""
ENOUGH = 10
"""A pool that is too slow to serve all in time is judged by what it has served, if that is this part of it."""


def measure(pool: PoolUnderTest, connections: int, figures: dict[str, Any], by: WorkerCounter) -> None:
    """Serve ``connections`` and judge which processes were woken."""
    gains = by.gains(pool, lambda: pool.client.serve(connections, seconds=20))
    workers, gained, served = list(gains.workers), gains.workers, gains.served
    asked, connections = connections, served.total()
    noise = 1 + connections // NOISE
    idle = {pid: gained[pid] for pid in workers if not served[pid]}
    woken = [gain for gain in idle.values() if gain > noise]
    total = sum(gained.values()) / connections
    figures |= {
        "workers": len(workers),
        "connections": connections,
        "workers that served": len(served),
        "most switches of a worker that served nothing": max(idle.values(), default=0),
        "switches of all workers per connection": round(total, 3),
    }
    if gains.parent is not None:
        figures["switches of the parent per connection"] = round(gains.parent / connections, 3)
    check(
        not woken,
        "BC-HERD-01",
        f"{len(woken)} of {len(idle)} workers that served nothing were woken, one of them "
        f"{max(woken, default=0):.0f} times, while {connections} connections were served",
    )
    over = {pid: (gained[pid], served[pid]) for pid in workers if gained[pid] > PER_CONNECTION * served[pid] + noise}
    check(
        not over,
        "BC-HERD-01",
        f"{len(over)} of {len(workers)} workers were woken for connections that others served; "
        f"all workers together made {total:.1f} switches for each connection; "
        f"for example (switches, served) {max(over.values(), default=None)}",
    )
    check(total <= PER_CONNECTION, "BC-HERD-02", f"all workers together made {total:.2f} switches for each connection")
    if connections * ENOUGH < asked:
        raise TimedOut(f"only {connections} of {asked} connections were served in time: see --time-scale")


COUNTERS: tuple[WorkerCounter, ...] = (LiveCounter(), AskedCounter()) if kernel.can("switches") else (AskedCounter(),)


@SEEN
@pytest.mark.parametrize("by", COUNTERS, ids=[by.name for by in COUNTERS])
@pytest.mark.req("BC-HERD-01", "BC-HERD-02", "BC-WORK-01")
def test_no_herd(pools: Pools, figures: dict[str, Any], by: WorkerCounter) -> None:
    """Capacity 1, 16 workers, 2,000 connections."""
    found: dict[str, Any] = {}
    try:
        measure(pools(16), 2000, found, by)
    finally:
        figures |= (
            found if by is COUNTERS[0] else {f"{name}, {by.name}": found[name] for name in found if "switch" in name}
        )


@LARGE
@SEEN
@pytest.mark.req("BC-HERD-01", "BC-HERD-02", "BC-WORK-01")
def test_no_herd_at_32_workers(pools: Pools, figures: dict[str, Any]) -> None:
    """Capacity 1, 32 workers, 5,000 connections."""
    measure(pools(32), 5000, figures, worker_counter())


SIZES = (2, 8, 32)


@LARGE
@LIVE
@pytest.mark.req("BC-HERD-02")
def test_wakeups_by_pool_size(pools: Pools, figures: dict[str, Any]) -> None:
    """Capacity 1, 2 to 32 workers, 150 connections each: what a connection costs does not grow with the pool."""
    points: list[tuple[int, float]] = []
    for size in SIZES:
        pool = pools(size)
        pool.settle()
        workers = pool.workers()
        before = LiveCounter.read(workers)
        served = pool.client.serve(150, seconds=10).total()
        pool.settle()
        after = LiveCounter.read(workers)
        points.append((size, round(sum(after[pid] - before[pid] for pid in workers) / served, 3)))
        pool.stop()
    figures["workers, wake-ups per connection"] = points
    size, most = max(points, key=lambda point: point[1])
    check(most <= PER_CONNECTION, "BC-HERD-02", f"all of {size} workers together made {most} switches for a connection")


@LIVE
@pytest.mark.classes("event")
@pytest.mark.req("BC-HERD-01", "BC-HERD-02", "BC-WORK-01")
def test_no_herd_at_capacity_8(pools: Pools, figures: dict[str, Any]) -> None:
    """Capacity 8, 16 workers, 2,000 connections."""
    measure(pools(16, capacity=8), 2000, figures, LiveCounter())


@SEEN
@pytest.mark.needs("poller")
@pytest.mark.parametrize(
    "poller",
    [
        pytest.param(
            name, marks=pytest.mark.skipif(not hasattr(select, name), reason=f"not applicable: no {name} here")
        )
        for name in ("epoll", "kqueue", "poll", "select")
    ],
)
@pytest.mark.req("BC-HERD-01", "BC-HERD-02", "BC-WATCH-01", "BC-WATCH-05")
def test_no_herd_with_any_poller(pools: Pools, figures: dict[str, Any], poller: str) -> None:
    """Capacity 1, 8 workers, 500 connections, whatever parent and workers wait with."""
    found: dict[str, Any] = {}
    measure(pools(8, poller=poller), 500, found, worker_counter())
    figures[f"switches of all workers per connection, {poller}"] = found["switches of all workers per connection"]


@LARGE
@pytest.mark.parametrize(
    "counter", [PortableCounter(), pytest.param(LiveCounter(), marks=LIVE)], ids=["portable", "live"]
)
@pytest.mark.req("BC-HERD-02", "BC-WAIT-04")
def test_no_herd_by_tree(pools: Pools, figures: dict[str, Any], counter: PoolCounter) -> None:
    """The whole tree, parent included, makes at most 6 switches for each connection: 3 the parent, 3 the worker. What
    the parent makes beyond its own is no herd, which would be the workers'.
    """
    per_connection = counter.per_connection(pools.factory(32), 500)
    figures[f"switches of the tree per connection, {counter.name} observer"] = round(per_connection, 3)
    seen = f"the tree made {per_connection:.2f} switches for each connection, 32 workers"
    check(per_connection <= 8, "BC-HERD-02", seen)
    check(per_connection <= 6, "BC-WAIT-04", seen)


@pytest.mark.counts
@pytest.mark.needs("status")
@pytest.mark.classes("counted")
@pytest.mark.parametrize("capacity", [1, 8])
@pytest.mark.req("BC-HERD-03", "BC-BUSY-03", "BC-PEND-01", "BC-PEND-02")
def test_orders_equal_connections(pools: Pools, figures: dict[str, Any], capacity: int) -> None:
    """As many connections are ordered as are served, and each order's outcome is recorded."""
    pool = pools(8, capacity=capacity)
    served = pool.client.serve(1000).total()
    counters = pool.until("a quiet pool", lambda s: s.quiet).counters
    orders, accepted, late, expired = (counters[name] for name in ("orders", "accepted", "late", "expired"))
    lost = counters["short"] + counters["dead"]
    figures[f"orders for {served} connections at capacity {capacity}"] = orders
    outcomes = accepted + expired + lost
    check(orders == outcomes, "BC-HERD-03", f"{orders} ordered, {outcomes} accounted for: {counters}")
    check(accepted + late == served, "BC-BUSY-03", f"{served} were served, reports say {accepted + late}")
    check(
        orders == served + expired + lost - late, "BC-HERD-03", f"{orders} ordered for {served} connections: {counters}"
    )
    check(
        counters["short"] <= expired,
        "BC-PEND-01",
        f"{counters['short']} connections were ordered that were not there, and only {expired} orders had expired",
    )


@pytest.mark.kernel("state")
@pytest.mark.needs("status")
@pytest.mark.req("BC-WAIT-04")
def test_parent_wakes_at_most_three_times(pools: Pools, figures: dict[str, Any]) -> None:
    """The parent's own count of its wake-ups, and the kernel's where there is one."""
    pool = pools(8)
    pool.settle()
    before = pool.status().counters["wakeups"]
    switches = kernel.switches(pool.pid) if kernel.can("switches") else 0
    served = pool.client.serve(1000).total()
    per_connection = (pool.status().counters["wakeups"] - before) / served
    figures["wake-ups of the parent per connection"] = per_connection
    # reading the status wakes it as well: once to begin with, once more for each time
    check(per_connection <= 3.02, "BC-WAIT-04", f"the parent woke {per_connection:.2f} times for each connection")
    if kernel.can("switches"):
        slept = (kernel.switches(pool.pid) - switches) / served
        check(slept <= 3.02, "BC-WAIT-04", f"the parent made {slept:.2f} voluntary switches for each connection")


@pytest.mark.kernel("established")
@pytest.mark.req("BC-WAIT-02")
def test_parent_accepts_nothing(pools: Pools) -> None:
    """While connections are held, the parent has no descriptor of any of them."""
    pool = pools(4)
    served = Counter(pool.client.hold()[1].pid for _ in range(4))
    check(pool.pid not in served, "BC-WAIT-02", "the parent answered a connection")
    held = kernel.established([pool.pid], pool.port)[pool.pid]
    check(held == 0, "BC-WAIT-02", f"the parent holds {held} connections of its own listener")
