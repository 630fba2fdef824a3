"""A parent that can do nothing does nothing. And what a worker holds that it should not."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest
from backchannel_conformance import kernel, processes
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Pools
from backchannel_conformance.pool_under_test import PoolUnderTest
from backchannel_conformance.waiting import until

SLEEPS = pytest.mark.kernel("switches", "cpu_seconds")

WATCHED = 2.0
WAKEUPS = 20


def quiet(pool: PoolUnderTest, what: str, figures: dict[str, Any], usual: int | None = None) -> int:
    """Count what the parent does in a stretch of time in which it can do nothing; return how often it woke. With a
    listener that is readable, that may not be more often than is ``usual``: a parent may have a clock of its own.
    """
    before = kernel.cpu_seconds(pool.pid), kernel.switches(pool.pid)
    began = time.monotonic()
    time.sleep(WATCHED)  # the figures are taken over this time
    took = time.monotonic() - began
    share = (kernel.cpu_seconds(pool.pid) - before[0]) / took
    woken = kernel.switches(pool.pid) - before[1]
    figures[f"parent {what}: share of a processor, wake-ups a second"] = f"{share:.2%}, {woken / took:.1f}"
    check(share < 0.01, "BC-WAIT-03", f"{what}, the parent took {share:.1%} of a processor")
    if usual is not None:
        seen = f"{what}, the parent woke {woken} times in {took:.1f} s, and {usual} times when it was idle"
        check(woken <= 2 * usual + WAKEUPS, "BC-WATCH-01", seen)
    return woken


@SLEEPS
@pytest.mark.req("BC-WAIT-03")
def test_idle_parent_sleeps(pools: Pools, figures: dict[str, Any]) -> None:
    """No connection, nothing to do."""
    pool = pools(8)
    pool.settle()
    quiet(pool, "idle", figures)


@SLEEPS
@pytest.mark.parametrize("capacity", [1, 4])
@pytest.mark.req("BC-WAIT-03", "BC-WATCH-06", "BC-ORDER-03")
def test_saturated_parent_sleeps(pools: Pools, figures: dict[str, Any], capacity: int) -> None:
    """Every worker is full and clients wait in the backlog."""
    pool = pools(2, capacity=capacity)
    usual = quiet(pool, "before a load", figures)
    held = [pool.client.hold()[0] for _ in range(2 * capacity)]
    waiting = [pool.client.send("who") for _ in range(5)]
    if pool.has_status:
        pool.until("the reports", lambda s: s.open == len(held))
    quiet(pool, f"saturated at capacity {capacity}", figures, usual)
    for connection in held:
        connection.close()
    for connection in waiting:
        connection.answer()


@SLEEPS
@pytest.mark.kernel("state")
@pytest.mark.needs("order_deadline", "status")
@pytest.mark.req("BC-WAIT-03", "BC-WATCH-01", "BC-WAIT-01")
def test_parent_sleeps_on_an_order(pools: Pools, figures: dict[str, Any]) -> None:
    """An order is unanswered and its connection pending, with the deadline far away."""
    pool = pools(2, order_deadline=30)
    pool.settle()
    usual = quiet(pool, "before an order", figures)
    pid = pool.status().pids()[0]
    processes.send(pid, signal.SIGSTOP)
    until(lambda: kernel.state(pid) == "T", what="the worker to stop")
    connection = pool.client.send("who")
    pool.until("its order", lambda s: s.slots()[0]["orders"] == 1)
    quiet(pool, "with an order unanswered", figures, usual)
    processes.send(pid, signal.SIGCONT)
    check(connection.answer().pid == pid, "BC-WORK-04", "the order was not attempted after all")


@pytest.mark.kernel("kinds", "shared", "state")
@pytest.mark.parametrize("capacity", [1, 4])
@pytest.mark.req("BC-FORK-02", "BC-FORK-15", "BC-FORK-05", "BC-CHAN-01")
def test_worker_descriptors(pools: Pools, capacity: int) -> None:
    """Each worker holds its channel and the listener, and nothing else that another process of the pool holds; a
    replaced one no more than the first. What it opened for itself is its own affair.
    """
    pool = pools(3, capacity=capacity)
    pool.settle()
    replace(pool, pool.workers()[0])
    pool.settle()
    everybody = {pool.pid, *pool.workers()}
    for pid in pool.workers():
        kinds = kernel.kinds(pid)
        shared = kernel.shared(pid, everybody - {pid})
        check(kinds.get("unix", 0) >= 1, "BC-CHAN-01", f"worker {pid} holds no channel: {kinds}")
        check(
            not shared.pop("unix", 0),
            "BC-FORK-02",
            f"worker {pid} holds AF_UNIX sockets that another process of the pool holds too",
        )
        check(not shared.pop("poller", 0), "BC-FORK-15", f"worker {pid} holds a poller that another process holds too")
        listeners = kinds.get("tcp-listen", 0)
        check(listeners == 1, "BC-FORK-05", f"worker {pid} does not hold the one listener: {kinds}")
        shared.pop("tcp-listen", None)
        check(not shared, "BC-FORK-05", f"worker {pid} also holds, with another process, {shared}")


def replace(pool: PoolUnderTest, victim: int) -> None:
    """Kill a worker, and wait for the one that takes its place."""
    before = len(pool.workers())
    processes.send(victim, signal.SIGKILL)
    until(lambda: victim not in pool.workers() and len(pool.workers()) == before, 30.0, what="the new worker")


@pytest.mark.kernel("kept_at_exec")
@pytest.mark.req("BC-FORK-07")
def test_parent_passes_nothing_on(pools: Pools) -> None:
    """Between two spawns none of the parent's descriptors, the listener among them, would survive an exec."""
    pool = pools(2)
    kept = kernel.kept_at_exec(pool.pid)
    check(not kept, "BC-FORK-07", f"a program that the parent started would find descriptors {kept}")


@pytest.mark.kernel("kinds")
@pytest.mark.req("BC-DEATH-06")
def test_the_dead_leave_nothing_in_the_parent(pools: Pools) -> None:
    """Eight workers that have served are killed, one after another: the parent holds as many descriptors as before."""
    pool = pools(2)
    pool.client.ask()
    before = kernel.kinds(pool.pid)
    for _ in range(8):
        replace(pool, pool.client.ask().pid)
    pool.settle()
    after = kernel.kinds(pool.pid)
    check(after == before, "BC-DEATH-06", f"the parent held {before}, and holds {after} after eight deaths")


@pytest.mark.kernel("listener_flags")
@pytest.mark.req("BC-FORK-01", "BC-FORK-14", "BC-WORK-05")
def test_listener_stays_non_blocking(pools: Pools) -> None:
    """O_NONBLOCK, which all processes share, is set on the listener, and still is after service."""
    pool = pools(2)
    pool.client.serve(10)
    (flags,) = kernel.listener_flags(pool.pid)
    check(flags & os.O_NONBLOCK != 0, "BC-FORK-01", "the listener blocks")


@pytest.mark.kernel("blocked_signals")
@pytest.mark.req("BC-FORK-04")
def test_workers_block_no_signal(pools: Pools) -> None:
    """What the parent blocked around the fork is not blocked in the worker."""
    pool = pools(2)
    pool.settle()
    for pid in pool.workers():
        blocked = {signal.Signals(number).name for number in kernel.blocked_signals(pid)}
        check(not blocked, "BC-FORK-04", f"worker {pid} blocks {', '.join(sorted(blocked))}")
