"""Parent replacement: the listeners go from one parent to the next, and no connection notices."""

from __future__ import annotations

import contextlib
import signal
from typing import Any

import pytest
from backchannel_conformance import kernel, processes
from backchannel_conformance.errors import RequirementViolated, check
from backchannel_conformance.fixtures import Pools
from backchannel_conformance.load_clients import SteadyClients
from backchannel_conformance.pool_under_test import PoolUnderTest, Status
from backchannel_conformance.waiting import TimedOut, until

pytestmark = [
    pytest.mark.classes("replace"),
    pytest.mark.needs("status", "gate"),
    pytest.mark.kernel("state"),
    pytest.mark.kernel("session_of", "parent"),
]


def workers_of(pool: PoolUnderTest, *parents: int) -> set[int]:
    """The children of ``parents``, but for ``parents`` themselves. A worker may have processes of its own."""
    found = set()
    for pid in kernel.session_of(pool.pid):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if kernel.parent(pid) in parents:
                found.add(pid)
    return found - set(parents)


def started(pool: PoolUnderTest, successor: int, count: int) -> None:
    """Wait until ``successor`` has started so many workers."""
    until(lambda: len(workers_of(pool, successor)) >= count, 30.0, what="the successor's workers to start")


@pytest.mark.counts
@pytest.mark.parametrize("capacity", [1, 4])
@pytest.mark.req("BC-BATON-01", "BC-BATON-03", "BC-BATON-09", "BC-BATON-11", "BC-LOSS-01")
def test_replacement_under_load(pools: Pools, figures: dict[str, Any], capacity: int) -> None:
    """SIGUSR2 while clients keep connecting: nobody fails, and no connection is ordered by both parents."""
    pool = pools(3, capacity=capacity)
    old = set(pool.workers())
    with SteadyClients(pool, 3) as clients:
        clients.wait_for(50)
        before = pool.status()
        pool.signal(signal.SIGUSR2)
        code = pool.replaced()
        clients.wait_for(50)
    check(not clients.failures, "BC-BATON-03", f"{len(clients.failures)} clients failed: {clients.failures[:3]}")
    check(code == 0, "BC-BATON-11", f"the old parent's exit status is {code} instead of 0")
    status = pool.until("a quiet pool", lambda s: s.quiet)
    counters = status.counters
    by_new = sum(count for pid, count in clients.answers.items() if pid not in old)
    check(set(clients.answers) <= old | set(status.pids().values()), "BC-BATON-01", "somebody else answered")
    check(
        counters["orders"] == counters["accepted"] == by_new and counters["short"] == before.counters["short"] == 0,
        "BC-BATON-01",
        f"the successor's workers answered {by_new} clients, and its counters are {dict(counters)}",
    )
    figures[f"connections served by the old parent and the new, capacity {capacity}"] = (
        f"{clients.answers.total() - by_new}, {by_new}"
    )


@pytest.mark.kernel("switches")
@pytest.mark.req("BC-BATON-01", "BC-BATON-03", "BC-BATON-11", "BC-BATON-15", "BC-HERD-01")
def test_no_herd_before_the_hand_over(pools: Pools, figures: dict[str, Any]) -> None:
    """While a successor waits for its workers, each connection wakes one worker of the old pool, and none of the
    new one's processes.
    """
    pool = pools(4)
    pool.gate("wait")
    old = pool.workers()
    pool.signal(signal.SIGUSR2)
    successor = pool.until("the successor", lambda s: s.successor is not None).successor
    assert successor is not None
    started(pool, successor, len(old))
    until(lambda: kernel.state(successor) == "S", what="the successor to sleep")
    switches = {pid: kernel.switches(pid) for pid in (*old, successor)}
    served = pool.client.serve(200)
    gained = {pid: kernel.switches(pid) - before for pid, before in switches.items()}
    check(set(served) <= set(old), "BC-BATON-01", f"processes {set(served) - set(old)} answered before the hand-over")
    idle = {pid: gained[pid] for pid in gained if not served[pid]}
    # one may be the kernel's, whose memory was short
    check(max(idle.values()) <= 1, "BC-BATON-01", f"processes that served nothing woke: {idle}")
    per_connection = sum(gained[pid] for pid in old) / served.total()
    figures["switches of all workers per connection while a successor waits"] = round(per_connection, 3)
    pool.gate()
    pool.replaced()
    check(pool.client.ask().pid not in old, "BC-BATON-11", "an old worker answered after the replacement")


@pytest.mark.kernel("shared")
@pytest.mark.req("BC-BATON-04", "BC-FORK-05")
def test_workers_do_not_hold_the_baton(pools: Pools) -> None:
    """Neither the successor's workers nor one that the old parent starts meanwhile: no worker holds an AF_UNIX socket
    that another process holds too.
    """
    pool = pools(2)
    pool.gate("wait")
    victim = pool.workers()[0]
    pool.signal(signal.SIGUSR2)
    successor = pool.until("the successor", lambda s: s.successor is not None).successor
    assert successor is not None
    processes.send(victim, signal.SIGKILL)
    pool.until("a new worker of the old parent", lambda s: len(s.slots("STARTING")) == 1)
    started(pool, successor, 2)

    def held() -> dict[int, int]:
        workers = workers_of(pool, pool.pid, successor)
        found = {}
        for pid in workers:
            with contextlib.suppress(OSError):  # a helper of a worker's start, which has ended meanwhile
                found[pid] = kernel.shared(pid, (workers | {pool.pid, successor}) - {pid}).get("unix", 0)
        return found

    try:
        # a worker that was started just now lets go of what is not its own first thing
        until(lambda: not any(held().values()), what="workers to let go of what is not theirs")
    except TimedOut:
        raise RequirementViolated("BC-BATON-04", f"AF_UNIX sockets held with others, by worker: {held()}") from None
    pool.gate()
    pool.replaced()


@pytest.mark.req("BC-BATON-03", "BC-BATON-12", "BC-BATON-15")
def test_successor_that_cannot_start(pools: Pools) -> None:
    """The successor's workers cannot load their code: it ends, the old parent goes on, and can try again."""
    pool = pools(2)
    before = pool.status()
    pool.gate("wait")
    pool.signal(signal.SIGUSR2)
    pool.until("the successor", lambda s: s.successor is not None, breaks="BC-BATON-15")
    pool.gate("fail")
    status = pool.until("its end", lambda s: s.successor is None)
    check(
        (status.pid, status.state, status.pids()) == (before.pid, "running", before.pids()),
        "BC-BATON-12",
        f"after the end of its successor the old parent says {status}",
    )
    check(pool.client.ask().pid in before.pids().values(), "BC-BATON-12", "the old workers do not serve")
    pool.gate()
    pool.signal(signal.SIGUSR2)
    check(pool.replaced() == 0, "BC-BATON-12", "the second try failed")


@pytest.mark.req("BC-BATON-01", "BC-BATON-09", "BC-LOSS-01")
def test_old_parent_dies_first(pools: Pools) -> None:
    """The old parent is killed while its successor waits for its workers: the successor has the baton, and serves what
    arrived in between.
    """
    pool = pools(1)
    pool.gate("wait")
    held, orphan = pool.client.hold()
    pool.signal(signal.SIGUSR2)
    pool.until("the successor", lambda s: s.successor is not None)
    waiting = pool.client.send("who")
    processes.send(pool.pid, signal.SIGKILL)
    pool.gate()
    pool.replaced()
    check(waiting.answer().pid in pool.workers(), "BC-LOSS-01", "a connection was lost with the old parent")
    held.close()
    until(lambda: kernel.state(orphan.pid) in ("", "Z"), what="the dead parent's worker to go")


@pytest.mark.req("BC-BATON-06", "BC-BATON-03", "BC-STOP-11")
def test_stop_while_a_successor_waits(pools: Pools) -> None:
    """SIGTERM to the parent, which holds a connection still: its successor ends meanwhile, and then the parent."""
    pool = pools(1)
    pool.gate("wait")
    held, _ = pool.client.hold()
    pool.signal(signal.SIGUSR2)
    successor = pool.until("the successor", lambda s: s.successor is not None).successor
    assert successor is not None
    started(pool, successor, 1)
    pool.signal(signal.SIGTERM)
    pool.until("the stop", lambda s: s.state == "stopping")
    pool.gate()
    gone(successor, "BC-BATON-06", "the parent that it was to replace was told to stop")
    held.close()
    check(pool.wait() == 0, "BC-STOP-11", f"exit status {pool.status_code} instead of 0")


def gone(pid: int, clause: str, why: str) -> None:
    """A process must have ended."""
    try:
        until(lambda: kernel.state(pid) in ("", "Z"), what="a process to go")
    except TimedOut:
        raise RequirementViolated(clause, f"process {pid} is there still, although {why}") from None


def silence(pid: int) -> None:
    """Stop a process."""
    processes.send(pid, signal.SIGSTOP)
    until(lambda: kernel.state(pid) == "T", what=f"process {pid} to stop")


def yielding(pool: PoolUnderTest) -> Status:
    """Begin a replacement, and wait until the old parent waits for the order that slot 0 does not answer."""
    pool.signal(signal.SIGUSR2)
    return pool.until("the hand-over to begin", lambda s: s.state == "yielding", 30)


@pytest.mark.kernel("kinds")
@pytest.mark.needs("order_deadline")
@pytest.mark.req("BC-BATON-06", "BC-BATON-07", "BC-STOP-01", "BC-STOP-11")
def test_stop_during_the_hand_over(pools: Pools) -> None:
    """SIGTERM while the hand-over waits for an order: the successor goes, and does not get the baton before that; what
    is pending is served by the old workers, and the pool ends.
    """
    pool = pools(2, order_deadline=30)
    pool.settle()
    old = pool.status().pids()
    silence(old[0])
    first = pool.client.send("who")
    pool.until("its order", lambda s: s.slots()[0]["orders"] == 1)
    successor = yielding(pool).successor
    assert successor is not None
    second = pool.client.send("who")
    silence(successor)
    held = kernel.kinds(pool.pid)["unix"]
    pool.signal(signal.SIGTERM)
    pool.until("the stop", lambda s: s.state == "stopping", breaks="BC-BATON-06")
    left = kernel.kinds(pool.pid)["unix"]
    check(left >= held, "BC-BATON-07", f"the parent held {held} AF_UNIX sockets, and holds {left}: not the baton")
    # first in, first out: slot 1, which is ordered for the second client, takes the one that slot 0 has not taken
    check(first.answer().pid == old[1], "BC-STOP-01", "the first client was not served by slot 1")
    processes.send(old[0], signal.SIGCONT)
    check(second.answer().pid == old[0], "BC-STOP-01", "the second client was not served by slot 0")
    processes.send(successor, signal.SIGCONT)
    gone(successor, "BC-BATON-06", "the parent that it was to replace was told to stop")
    check(pool.wait() == 0, "BC-STOP-11", f"exit status {pool.status_code} instead of 0")


@pytest.mark.needs("order_deadline")
@pytest.mark.req("BC-BATON-05", "BC-BATON-09", "BC-BATON-11")
def test_nobody_is_replaced_during_the_hand_over(pools: Pools) -> None:
    """A worker that has served dies while the hand-over waits for an order: it stays dead."""
    pool = pools(2, order_deadline=30)
    held, _ = pool.client.hold()
    victim = pool.client.ask().pid
    held.close()
    pool.settle()
    old = pool.status().pids()
    check(victim == old[1], "BC-PICK-01", f"slots {old}, and the second client was answered by process {victim}")
    silence(old[0])
    first = pool.client.send("who")
    pool.until("its order", lambda s: s.slots()[0]["orders"] == 2)
    yielding(pool)
    processes.send(victim, signal.SIGKILL)
    pool.until("the death", lambda s: victim not in s.pids().values())
    status = pool.status()
    check(set(status.pids()) == {0}, "BC-BATON-05", f"during the hand-over a worker was started: {status.pids()}")
    processes.send(old[0], signal.SIGCONT)
    check(first.answer().pid == old[0], "BC-BATON-09", "the order that was under way was not carried out")
    check(pool.replaced() == 0, "BC-BATON-11", f"exit status {pool.status_code} instead of 0")


@pytest.mark.kernel("kinds")
@pytest.mark.req("BC-STOP-06", "BC-BATON-01", "BC-BATON-12")
def test_stop_on_standby(pools: Pools) -> None:
    """SIGTERM to a successor whose workers have not started: it lets go of the listener at once and ends; what is
    pending stays the old parent's.
    """
    pool = pools(1)
    pool.gate("wait")
    held, old = pool.client.hold()
    pool.signal(signal.SIGUSR2)
    successor = pool.until("the successor", lambda s: s.successor is not None).successor
    assert successor is not None
    started(pool, successor, 1)
    waiting = pool.client.send("who")
    processes.send(successor, signal.SIGTERM)
    try:
        until(lambda: not listening(successor), what="the successor to close the listener")
    except TimedOut:
        raise RequirementViolated("BC-STOP-06", "a successor that was told to stop keeps the listener") from None
    pool.gate()
    gone(successor, "BC-STOP-06", "it was told to stop, and holds nothing")
    pool.until("the end of it", lambda s: s.successor is None and s.state == "running", breaks="BC-BATON-12")
    held.close()
    check(waiting.answer().pid == old.pid, "BC-BATON-01", "a client was not served by the old worker")


def listening(pid: int) -> int:
    """How many listeners a process holds; none when it has gone."""
    try:
        return kernel.kinds(pid).get("tcp-listen", 0)
    except OSError:
        return 0


@pytest.mark.kernel("kept_at_exec")
@pytest.mark.req("BC-FORK-07")
def test_successor_passes_nothing_on(pools: Pools) -> None:
    """What a successor was given, listeners, status socket and baton, is closed on exec again."""
    pool = pools(1)
    pool.signal(signal.SIGUSR2)
    pool.replaced()
    kept = kernel.kept_at_exec(pool.pid)
    check(not kept, "BC-FORK-07", f"a program that it started would find descriptors {kept}")
