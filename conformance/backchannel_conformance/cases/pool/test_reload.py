"""Reload: new workers replace old ones without a gap, or, if they cannot start, not at all."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Pools
from backchannel_conformance.load_clients import SteadyClients
from backchannel_conformance.pool_under_test import PoolUnderTest, Status
from backchannel_conformance.waiting import deadline_in

pytestmark = [pytest.mark.classes("reload"), pytest.mark.needs("status", "reload", "gate")]


def counting(status: Status) -> int:
    """Workers that count. Only drained ones die here, so one that is LOST or KILLED was drained."""
    return sum(worker["state"] in ("STARTING", "READY", "SUSPECT") for worker in status.workers)


def done(generation: int, workers: int) -> Any:
    """Whether a status shows the end of a reload: only workers of ``generation``, and nobody draining."""
    return lambda s: (
        s.generation == generation
        and not s.reloading
        and len(s.slots("READY")) == len(s.workers) == workers
        and all(worker["generation"] == generation for worker in s.workers)
    )


def watched(pool: PoolUnderTest, workers: int, generation: int) -> list[Status]:
    """Every status until the parent says that the reload is over and the old workers have gone."""
    seen = [pool.status()]
    deadline = deadline_in(60)  # workers that are programs of their own take their time to start
    while (now := seen[-1]).generation != generation or now.reloading or len(now.workers) != workers:
        check(time.monotonic() < deadline, "BC-RELOAD-01", f"the reload does not end: {now}")
        seen.append(pool.status())
    return seen


@pytest.mark.parametrize("capacity", [1, 4])
@pytest.mark.parametrize("how", ["rolling", "at-once"])
@pytest.mark.req("BC-RELOAD-01", "BC-RELOAD-03", "BC-RELOAD-08", "BC-RELOAD-09", "BC-LOSS-01")
def test_reload_under_load(pools: Pools, figures: dict[str, Any], how: str, capacity: int) -> None:
    """SIGHUP while clients keep connecting: all workers are new, nobody fails, and never are fewer READY."""
    pool = pools(4, capacity=capacity, reload=how)
    before = set(pool.workers())
    with SteadyClients(pool, 3) as clients:
        clients.wait_for(20)
        pool.signal(signal.SIGHUP)
        began = time.monotonic()
        seen = watched(pool, 4, 2)
        took = time.monotonic() - began
        clients.wait_for(20)
    check(not clients.failures, "BC-RELOAD-01", f"{len(clients.failures)} clients failed: {clients.failures[:3]}")
    check(not before & set(pool.workers()), "BC-RELOAD-01", "an old worker is there after the reload")
    least = min(len(status.slots("READY")) for status in seen)
    check(least >= 4, "BC-RELOAD-08", f"only {least} workers were READY at some moment")
    most = max(counting(status) for status in seen)
    bound = 5 if how == "rolling" else 8
    check(most <= bound, "BC-RELOAD-03", f"{most} workers counted at some moment; {bound} may")
    check(seen[-1].counters["kills"] == 0, "BC-RELOAD-01", "a worker was killed")
    figures[f"{how}, capacity {capacity}: ms for 4 workers, connections meanwhile"] = (
        f"{took * 1000:.0f}, {seen[-1].counters['accepted'] - seen[0].counters['accepted']}"
    )


@pytest.mark.parametrize("how", ["rolling", "at-once"])
@pytest.mark.req("BC-RELOAD-01", "BC-DRAIN-04", "BC-SCALE-09")
def test_held_connections_outlive_their_generation(pools: Pools, how: str) -> None:
    """Old workers that hold something go on with it, beside a full new generation."""
    pool = pools(3, reload=how)
    held = [pool.client.hold() for _ in range(2)]
    pool.signal(signal.SIGHUP)
    status = pool.until(
        "a new generation, and two old workers draining",
        lambda s: not s.reloading and s.generation == 2 and len(s.slots("READY")) == 3 and len(s.workers) == 5,
        breaks="BC-DRAIN-04",
    )
    draining = {worker["pid"] for worker in status.slots("DRAINING").values()}
    check(draining == {who.pid for _, who in held}, "BC-RELOAD-01", f"processes {draining} drain")
    for connection, who in held:
        check(connection.again() == who, "BC-DRAIN-04", "a held connection did not survive the reload")
        connection.close()
    pool.until("the old ones to go", done(2, 3))


@pytest.mark.parametrize("how", ["rolling", "at-once"])
@pytest.mark.req("BC-RELOAD-02", "BC-RELOAD-05", "BC-RELOAD-12")
def test_generation_that_cannot_start(pools: Pools, how: str) -> None:
    """The new workers cannot load their code: the old ones serve on, all of them; the next reload succeeds."""
    pool = pools(3, reload=how)
    before = pool.status().pids()
    pool.gate("fail")
    pool.signal(signal.SIGHUP)
    status = pool.until(
        "the end of the reload",
        lambda s: s.generation == 2 and not s.reloading and len(s.workers) == 3,
        breaks="BC-RELOAD-05",
    )
    check(status.pids() == before, "BC-RELOAD-05", f"workers {before} became {status.pids()}")
    # a worker that drains is still in the table, though it serves no new client
    check(len(status.slots("READY")) == 3, "BC-RELOAD-05", f"not all of the old generation serve on: {status}")
    check(pool.client.ask().pid in before.values(), "BC-RELOAD-02", "the old generation does not serve")
    pool.gate()
    pool.signal(signal.SIGHUP)
    status = pool.until("a generation that can start", done(3, 3))
    check(not set(before.values()) & set(status.pids().values()), "BC-RELOAD-01", "an old worker is there still")


@pytest.mark.parametrize("how", ["rolling", "at-once"])
@pytest.mark.req("BC-RELOAD-02", "BC-RELOAD-07", "BC-RELOAD-10", "BC-RELOAD-14", "BC-RELOAD-15", "BC-SCALE-08")
def test_reload_while_one_hangs(pools: Pools, how: str) -> None:
    """The new workers do not get ready: nobody is drained for them. Another reload begins afresh."""
    pool = pools(3, reload=how)
    before = pool.status().pids()
    pool.gate("wait")
    pool.signal(signal.SIGHUP)
    newcomers = 1 if how == "rolling" else 3
    pool.until("newcomers", lambda s: len(s.slots("STARTING")) == newcomers)
    for _ in range(10):
        pool.client.ask()
    status = pool.status()
    check(set(status.slots("READY")) == set(before), "BC-RELOAD-02", f"of slots {set(before)}, {status} is left")
    pool.signal(signal.SIGHUP)
    status = pool.until(
        "newcomers of the next generation alone, and those of this one draining or gone",
        lambda s: [worker["generation"] for worker in s.slots("STARTING").values()] == [3] * newcomers,
        breaks="BC-RELOAD-07",
    )
    old = {worker["generation"] for worker in status.slots("DRAINING").values()}
    check(old <= {2}, "BC-RELOAD-14", f"workers of generations {old} drain; the newcomers are of generation 2")
    pool.gate()
    status = pool.until("the last generation", done(3, 3))
    check(status.counters["kills"] == 0, "BC-RELOAD-14", f"{status.counters['kills']} workers were killed")
