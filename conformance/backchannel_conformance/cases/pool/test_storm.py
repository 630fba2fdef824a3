"""Workers are killed under load, at every step, and no client notices but those they had accepted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from backchannel_conformance import kernel
from backchannel_conformance.client import Held, NoAnswer
from backchannel_conformance.errors import RequirementViolated, check
from backchannel_conformance.fixtures import Pools
from backchannel_conformance.load_clients import Totals, TrackedClients, kill_one, pick_victim
from backchannel_conformance.pool_under_test import PoolUnderTest
from backchannel_conformance.waiting import deadline_in


def nothing_lost(totals: Totals, requirement: str = "BC-LOSS-01") -> None:
    """Nobody was lost but those that a dead worker had accepted."""
    lost = [(attempt.command, attempt.error, round(attempt.took, 2)) for attempt in totals.before[:3]]
    check(not totals.before, requirement, f"{totals.figures}; such as {lost}")


def experienced(pool: PoolUnderTest) -> list[int]:
    """Workers that have accepted something: the death of one that has not delays its replacement (BC-SCALE-12)."""
    if not pool.has_status:
        return [pid for pid in pool.workers() if kernel.state(pid) not in ("", "Z")]
    workers = pool.status().workers
    return [worker["pid"] for worker in workers if worker["state"] == "READY" and worker["accepted"]]


@pytest.mark.counts
@pytest.mark.kernel("clients", "state", "session_of")
@pytest.mark.parametrize("capacity", [1, 4])
@pytest.mark.req("BC-LOSS-01", "BC-LOSS-02", "BC-DEATH-09", "BC-SCALE-11")
def test_kill_storm(pools: Pools, figures: dict[str, Any], capacity: int) -> None:
    """Half of the victims are stopped first, so that they die with an order unread; half die as they are met."""
    pool = pools(4, capacity=capacity)
    kills = 10
    held = 0
    # a control loses clients, and each is waited for so long; elsewhere nobody is, but on a machine that is too busy
    with TrackedClients(pool.addresses[0], 3, ("who", "burn 2"), patience=30 if pool.has_status else 8) as clients:
        clients.wait_for(20)
        for at in range(kills):
            deadline = deadline_in(20)
            while not (victims := experienced(pool)) and time.monotonic() < deadline:
                clients.wait_for(1)
            if len(victims) < (1 if pool.has_status else 2):
                break  # a control that replaces nobody: what is to be seen has been seen
            held += len(kill_one(pick_victim(victims, at), pool.port, clients, linger=0.02 * (at % 2)))
            clients.wait_for(3, 5)
    totals = clients.totals()
    nothing_lost(totals)
    check(
        totals.after == held - totals.spared,
        "BC-LOSS-02",
        f"{totals.figures}; the dead held {held}, {totals.spared} of them answered",
    )
    figures[f"capacity {capacity}"] = f"{kills} kills, {totals.figures}, held by the dead {held}"


def rounds(pool: PoolUnderTest, call: str) -> Iterator[tuple[int, Held]]:
    """Twice: the worker that is ordered next will be killed as it makes a call of this kind; its id, and its client."""
    for _ in range(2):
        pool.settle()
        victim = pool.client.ask().pid  # a worker that has served is replaced at once
        pool.settle()
        with kernel.faulty(victim, call, "signal=KILL", "1"):
            yield victim, pool.client.send("who")
        pool.until("a new worker", lambda s, old=victim: old not in s.pids().values() and len(s.slots("READY")) == 2)
        pool.client.close()
    counters = pool.until("the reports", lambda s: s.quiet).counters
    deaths = {"deaths": counters["deaths"], "dead": counters["dead"]}
    check(deaths == {"deaths": 2, "dead": 2}, "BC-DEATH-02", f"2 died with an order unanswered, it counts {deaths}")


@pytest.mark.kernel("faulty", "state")
@pytest.mark.needs("status")
@pytest.mark.parametrize("capacity", [1, 4])
@pytest.mark.req("BC-LOSS-01", "BC-DEATH-02", "BC-DEATH-09")
def test_killed_as_it_accepts(pools: Pools, capacity: int) -> None:
    """A worker has read its order, and is killed as it enters its accept: another one serves the client."""
    pool = pools(2, capacity=capacity)
    for victim, one in rounds(pool, "accept"):
        try:
            who = one.answer()
        except NoAnswer as error:
            raise RequirementViolated(
                "BC-LOSS-01", f"its worker was killed as it accepted, and then: {error}"
            ) from None
        check(who.pid != victim, "BC-LOSS-01", "the killed worker served it")


@pytest.mark.kernel("faulty", "state")
@pytest.mark.needs("status")
@pytest.mark.req("BC-LOSS-02", "BC-BUSY-01", "BC-DEATH-02")
def test_killed_before_it_reports(pools: Pools) -> None:
    """A worker has accepted, and is killed as it writes its BUSY: that client is lost with it."""
    pool = pools(2)
    for _victim, one in rounds(pool, "send"):
        check(one.ended(), "BC-BUSY-01", "a worker was killed at its BUSY, and its client was served after all")
