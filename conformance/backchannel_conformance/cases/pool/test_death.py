"""What ends with a worker, with the parent, with a service that fails: that, and nothing else."""

from __future__ import annotations

import signal
import socket

import pytest
from backchannel_conformance import kernel, processes
from backchannel_conformance.errors import RequirementViolated, check
from backchannel_conformance.fixtures import Pools
from backchannel_conformance.waiting import TimedOut, until


@pytest.mark.needs("status")
@pytest.mark.req("BC-LOSS-02", "BC-DEATH-08", "BC-SCALE-10", "BC-SCALE-11", "BC-LOAD-01")
def test_killed_worker_takes_its_own_only(pools: Pools) -> None:
    """SIGKILL to a worker ends the connection it holds; the others go on, and its slot is filled again."""
    pool = pools(4)
    held = [pool.client.hold() for _ in range(3)]
    victim, who = held.pop(1)
    processes.send(who.pid, signal.SIGKILL)
    check(victim.ended(), "BC-DEATH-02", "the killed worker's connection did not end")
    for connection, before in held:
        check(connection.again() == before, "BC-LOSS-02", "another worker's connection changed hands")
    status = pool.until(
        "a new worker in its slot", lambda s: who.slot in s.slots("READY") and s.pids()[who.slot] != who.pid
    )
    check(sorted(status.slots()) == [0, 1, 2, 3], "BC-SCALE-10", f"the slots are {sorted(status.slots())}")
    check(status.open == 2, "BC-LOAD-01", f"two connections are held, the parent counts {status.open}")


@pytest.mark.needs("status")
@pytest.mark.req("BC-SCALE-11", "BC-DEATH-08")
def test_worker_that_exits_is_replaced(pools: Pools) -> None:
    """A worker ends itself in the middle of its service; the pool is whole again."""
    pool = pools(2)
    before = pool.status().pids()
    held = pool.client.send("exit 3")
    check(held.ended(), "BC-DEATH-02", "its connection did not end")
    status = pool.until("two workers, one of them new", lambda s: len(s.slots("READY")) == 2 and s.pids() != before)
    kept = set(before.values()) & set(status.pids().values())
    check(len(kept) == 1, "BC-LOSS-02", "the other worker was replaced as well")


@pytest.mark.needs("status")
@pytest.mark.parametrize("capacity", [1, 4])
@pytest.mark.req("BC-WORK-07", "BC-STATUS-01")
def test_error_ends_one_connection(pools: Pools, capacity: int) -> None:
    """A service that raises ends its connection; the worker lives and holds what else it held."""
    pool = pools(1, capacity=capacity)
    others = [pool.client.hold() for _ in range(capacity - 1)]
    pid = pool.status().pids()[0]
    check(pool.client.send("raise").ended(), "BC-WORK-07", "the connection whose service failed did not end")
    check(pool.client.ask().pid == pid, "BC-WORK-07", "the worker did not survive an error of its service")
    for connection, before in others:
        check(connection.again() == before, "BC-WORK-07", "another connection of that worker did not survive")
    pool.until("the reports", lambda s: s.open == len(others))


@pytest.mark.kernel("state")
@pytest.mark.needs("status")
@pytest.mark.parametrize("capacity", [1, 2])
@pytest.mark.req("BC-DEATH-05", "BC-FORK-02", "BC-DRAIN-04", "BC-DRAIN-09", "BC-DRAIN-12")
def test_parent_killed(pools: Pools, capacity: int) -> None:
    """Idle workers go at once, a holding one when its connection ends; then the port is free."""
    pool = pools(4, capacity=capacity)
    held, who = pool.client.hold()
    pids = pool.workers()
    processes.send(pool.pid, signal.SIGKILL)
    pool.wait()
    idle = [pid for pid in pids if pid != who.pid]
    until(lambda: all(kernel.state(pid) in ("", "Z") for pid in idle), what="idle workers to exit after their parent")
    check(held.again().pid == who.pid, "BC-DRAIN-04", "the worker did not finish the connection it held")
    held.close()
    until(lambda: kernel.state(who.pid) in ("", "Z"), what="the last worker to exit when its connection has ended")
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(pool.addresses[0])
        again.listen()


@pytest.mark.kernel("state")
@pytest.mark.needs("status", "listen")
@pytest.mark.classes("event")
@pytest.mark.req("BC-DEATH-05", "BC-DRAIN-04", "BC-DRAIN-09")
def test_parent_started_again(pools: Pools) -> None:
    """A parent that was killed is started again by its supervisor: it gets its address, though an old worker
    still serves, and that one finishes.
    """
    old = pools(2, capacity=2)
    held, who = old.client.hold()
    port = old.port
    processes.send(old.pid, signal.SIGKILL)
    old.wait()

    def is_free() -> bool:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                probe.listen()
            except OSError:
                return False
        return True

    try:
        until(is_free, what="the orphans to close their listener")
        new = pools(2, capacity=2, listen=f"127.0.0.1:{port}")
        check(new.client.ask().pid in new.workers(), "BC-DRAIN-09", "somebody else serves on the new parent's listener")
        check(held.again().pid == who.pid, "BC-DRAIN-04", "the old worker did not finish the connection it held")
    except TimedOut as error:
        raise RequirementViolated("BC-DRAIN-09", str(error)) from None
    finally:
        held.close()
        until(lambda: kernel.state(who.pid) in ("", "Z"), what="the orphan to exit when its connection has ended")
