"""The parent knows each worker's load, and nobody is given more than it can hold."""

from __future__ import annotations

import resource
import time
from collections import Counter
from typing import Any

import pytest
from backchannel_conformance import kernel
from backchannel_conformance.client import Held
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Pools
from backchannel_conformance.pool_under_test import PoolUnderTest


def census(pool: PoolUnderTest, expected: int, requirement: str = "BC-LOAD-01") -> None:
    """The parent's figures, the answers and the kernel's tables must agree."""
    status = pool.until(f"reports of {expected} connections", lambda s: s.open == expected)
    figures = {worker["pid"]: worker["open"] for worker in status.workers}
    held = kernel.established(figures, pool.port)
    check(figures == held, requirement, f"by process, the parent says {figures}, the kernel {held}")


@pytest.mark.kernel("established")
@pytest.mark.needs("status")
@pytest.mark.parametrize("capacity", [1, 5])
@pytest.mark.req("BC-LOAD-01", "BC-STATUS-01", "BC-STATUS-05")
def test_census(pools: Pools, capacity: int) -> None:
    """As connections come and go, the parent's figures equal the kernel's, worker by worker."""
    pool = pools(4, capacity=capacity)
    held: list[Held] = []
    for _ in range(3 * capacity):
        held.append(pool.client.hold()[0])
    census(pool, len(held))
    for connection in held[::2]:
        connection.close()
    census(pool, len(held) - len(held[::2]))
    for connection in held[1::2]:
        connection.close()
    census(pool, 0)


@pytest.mark.kernel("established")
@pytest.mark.needs("status")
@pytest.mark.parametrize("capacity", [1, 4])
@pytest.mark.req("BC-LOAD-02", "BC-WATCH-07", "BC-WATCH-03", "BC-ROOM-01")
def test_never_above_capacity(pools: Pools, figures: dict[str, Any], capacity: int) -> None:
    """Three times more clients than room: workers fill up, the rest wait in the backlog, and are served as room
    returns.
    """
    workers = 3
    pool = pools(workers, capacity=capacity)
    room = workers * capacity
    held = [pool.client.hold() for _ in range(room)]
    waiting = [pool.client.send("hold") for _ in range(2 * room)]
    census(pool, room)
    per_worker = Counter(who.pid for _, who in held)
    check(
        set(per_worker.values()) == {capacity}, "BC-LOAD-02", f"workers of capacity {capacity} hold {dict(per_worker)}"
    )
    delays = []
    current = [connection for connection, _ in held]
    for connection in waiting:
        released = time.monotonic()
        current.pop(0).close()
        connection.answer()
        delays.append(time.monotonic() - released)
        current.append(connection)
        now = kernel.established(pool.workers(), pool.port)
        # the released one may not have been closed yet, but then it is still the worker's only one above the figure
        check(max(now.values()) <= capacity, "BC-LOAD-02", f"a worker of capacity {capacity} holds {max(now.values())}")
    delays.sort()
    figures[f"ms from room to service, capacity {capacity}: median"] = round(delays[len(delays) // 2] * 1000, 3)
    for connection in current:
        connection.close()
    census(pool, 0)


@pytest.mark.counts
@pytest.mark.kernel("established")
@pytest.mark.needs("status")
@pytest.mark.classes("event")
@pytest.mark.req("BC-LOAD-01", "BC-WORK-08", "BC-CHAN-08")
def test_one_worker_holds_a_thousand(pools: Pools, figures: dict[str, Any]) -> None:
    """One worker of capacity 1,000 holds 1,000 connections, and goes on answering on each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 1200 if hard == resource.RLIM_INFINITY else min(1200, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    try:
        count = min(1000, wanted - 100)
        pool = pools(1, capacity=count)
        held = [pool.client.hold()[0] for _ in range(count)]
        census(pool, count)
        for connection in held:
            connection.socket.sendall(b"\n")
        check(
            {connection.answer().pid for connection in held} == set(pool.workers()),
            "BC-LOAD-01",
            "not every connection was answered by the one worker",
        )
        census(pool, count)
        figures["connections held by one worker"] = count
        if kernel.can("threads"):
            figures["threads of that worker"] = kernel.threads(pool.workers()[0])
        for connection in held:
            connection.close()
        census(pool, 0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
