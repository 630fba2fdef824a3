"""No descriptors, no memory, no processes: back-off, a message, recovery, nothing lost, and nobody spins."""

from __future__ import annotations

import contextlib
import math
import signal
import socket
import time
from typing import Any

import pytest
from backchannel_conformance import kernel, processes
from backchannel_conformance.client import NoAnswer
from backchannel_conformance.errors import RequirementViolated, check
from backchannel_conformance.fixtures import Pools
from backchannel_conformance.pool_under_test import PoolUnderTest
from backchannel_conformance.waiting import TimedOut, scale, until

pytestmark = [pytest.mark.kernel("state", "cpu_seconds"), pytest.mark.needs("status")]


def answered(pool: PoolUnderTest, requirement: str, what: str) -> int:
    """One client that must be served; by which slot."""
    try:
        slot = pool.client.ask().slot
    except NoAnswer as error:
        raise RequirementViolated(requirement, f"{what}: {error}") from None
    assert slot is not None
    return slot


@pytest.mark.counts
@pytest.mark.kernel("no_descriptors")
@pytest.mark.req("BC-ERRNO-03", "BC-SHORT-03", "BC-SHORT-20", "BC-LOSS-01")
def test_worker_without_descriptors(pools: Pools, figures: dict[str, Any]) -> None:
    """Slot 0 has no descriptor for another connection: slot 1 serves, slot 0 cools down, and comes back."""
    pool = pools(2)
    pool.settle()
    pid = pool.status().pids()[0]
    with kernel.no_descriptors(pid):
        before = pool.status().workers
        slots = {answered(pool, "BC-LOSS-01", "a worker has no descriptors") for _ in range(30)}
        check(slots == {1}, "BC-SHORT-03", f"slots {slots} served; slot 0 could not")
        status = pool.until("a quiet pool", lambda s: s.quiet)
        check(status.pids().get(0) == pid, "BC-SHORT-03", "the worker without descriptors was given up")
        tries = status.slots()[0]["orders"] - next(one for one in before if not one["slot"])["orders"]
        figures["orders to a worker without descriptors, while 30 clients were served"] = tries
    pool.until("slot 0 to serve again", lambda s: answered(pool, "BC-LOSS-01", "after the shortage") == 0)


@pytest.mark.kernel("faulty")
@pytest.mark.parametrize("error", ["ENFILE", "ENOBUFS", "ENOMEM", "EMFILE"])
@pytest.mark.req("BC-ERRNO-03", "BC-ERRNO-04", "BC-SHORT-03", "BC-SHORT-15", "BC-LOSS-01")
def test_accept_fails(pools: Pools, error: str) -> None:
    """The system refuses a worker's next accepts: the client waits for the cool-down to end, and is served."""
    pool = pools(1)
    pool.settle()
    with kernel.faulty(pool.workers()[0], "accept", f"error={error}", "1..3"):
        answered(pool, "BC-LOSS-01", f"accept failed three times with {error}")
    counters = pool.until("the reports", lambda s: s.quiet).counters
    clause = "BC-ERRNO-03" if error == "EMFILE" else "BC-ERRNO-04"
    check(counters["short"] == 3, clause, f"three attempts failed, the counters say {counters}")
    check(not counters["deaths"], clause, f"a worker died of {error}")


def refilled(pool: PoolUnderTest, shortage: contextlib.AbstractContextManager[None], what: str) -> None:
    """While the parent has none of what a worker needs, a worker dies: the others serve, it waits, and recovers.

    Its status cannot be asked meanwhile: that may take a descriptor.
    """
    pool.settle()
    victim = pool.client.ask().pid
    pool.settle()
    with shortage:
        used, began = kernel.cpu_seconds(pool.pid), time.monotonic()
        processes.send(victim, signal.SIGKILL)
        until(lambda: "cannot start a worker" in pool.log.read_text(), what="a line that says so")
        over = time.monotonic() + 1.5
        while time.monotonic() < over:
            answered(pool, "BC-LOSS-01", f"the parent has no {what} for a new worker")
            time.sleep(0.05)
        spent = kernel.cpu_seconds(pool.pid) - used
    took = time.monotonic() - began  # longer than was meant, on a busy machine
    try:
        pool.until("the pool to be whole again", lambda s: s.quiet and len(s.workers) == 3, 20)
    except TimedOut as error:
        raise RequirementViolated("BC-SCALE-14", f"the parent has what it lacked, and yet: {error}") from None
    said = pool.log.read_text().count("cannot start a worker")
    # at once, after 1 s, 2 s more, 4 s more
    most = 1 + int(math.log2(1 + took))
    check(said <= most, "BC-SCALE-42", f"it tried, and said so, {said} times in {took:.1f} s; the delays are 1, 2, 4 s")
    # no share of the time that passed: on a busy machine a parent that spins gets little, and fewer clients are served
    check(spent < 0.25, "BC-WAIT-03", f"the parent used {spent:.2f} s of processor time in {took:.1f} s: it spins")


@pytest.mark.kernel("faulty")
@pytest.mark.req("BC-SCALE-14", "BC-SCALE-42", "BC-LOSS-01", "BC-WAIT-03")
def test_no_process_for_a_worker(pools: Pools) -> None:
    """The system gives the parent no process: it says so, does not spin, and recovers."""
    pool = pools(3)
    refilled(pool, kernel.faulty(pool.pid, "fork", "error=EAGAIN", "1+"), "process")


@pytest.mark.kernel("no_descriptors")
@pytest.mark.req("BC-SCALE-14", "BC-SCALE-42", "BC-LOSS-01", "BC-WAIT-03")
def test_no_descriptor_for_a_channel(pools: Pools) -> None:
    """The parent has no descriptor left for a new worker's channel."""
    pool = pools(3)
    refilled(pool, kernel.no_descriptors(pool.pid), "descriptor")


@pytest.mark.kernel("no_descriptors")
@pytest.mark.req("BC-WAIT-03", "BC-LOSS-01")
def test_no_descriptor_for_a_reader(pools: Pools) -> None:
    """No descriptor is left: a client that asks for the status waits, and is answered later; nobody spins."""
    pool = pools(2)
    pool.settle()
    with socket.socket(socket.AF_UNIX) as reader:
        with kernel.no_descriptors(pool.pid):
            used = kernel.cpu_seconds(pool.pid)
            reader.connect(pool.status_path)
            over = time.monotonic() + 1.0
            while time.monotonic() < over:
                answered(pool, "BC-LOSS-01", "somebody waits for the pool's status")
                time.sleep(0.05)
            spent = kernel.cpu_seconds(pool.pid) - used
        check(spent < 0.15, "BC-WAIT-03", f"the parent used {spent:.2f} s of processor time in 1 s: it spins")
        reader.settimeout(10 * scale())
        check(reader.recv(1) == b"{", "BC-WAIT-03", "who had waited for the status was not told it afterwards")
