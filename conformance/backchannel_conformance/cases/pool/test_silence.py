"""A stopped worker delays at most what it was ordered to take, and for no longer than the order's deadline."""

from __future__ import annotations

import signal
import time
from typing import Any, Final

import pytest
from backchannel_conformance import kernel, processes
from backchannel_conformance.client import Client, NoAnswer, Who
from backchannel_conformance.errors import RequirementViolated, check
from backchannel_conformance.fixtures import Pools
from backchannel_conformance.pool_under_test import PoolUnderTest
from backchannel_conformance.waiting import scale, until

pytestmark = [pytest.mark.kernel("state"), pytest.mark.needs("status")]


def freeze(pid: int) -> None:
    """Stop a process, and wait until it has stopped."""
    processes.send(pid, signal.SIGSTOP)
    until(lambda: kernel.state(pid) == "T", what=f"process {pid} to stop")


DEADLINE: Final = 1.0
"""Seconds: short enough to wait for, and so long that a worker which is not stopped answers before, on a machine that
has much else to do.
"""
LOOKS: Final = 10
"""Connections, each alone: so many that the parent looks at an empty queue between two of them."""


def served(requirement: str, what: str, client: Client, command: str = "who") -> Who:
    """One connection that must be served."""
    try:
        return client.ask(command)
    except NoAnswer as error:
        raise RequirementViolated(requirement, f"{what}: {error}") from None


def ordered(pool: PoolUnderTest, slot: int, count: int = 1) -> None:
    """Wait until the worker in ``slot`` has been ordered ``count`` connections more than it took."""
    pool.until(
        f"an order to slot {slot}",
        lambda s: s.slots()[slot]["orders"] - s.slots()[slot]["accepted"] >= count,
    )


@pytest.mark.needs("order_deadline")
@pytest.mark.req("BC-SILENT-01", "BC-SILENT-04", "BC-SILENT-08", "BC-SILENT-13", "BC-ROOM-03", "BC-LOSS-01")
def test_stopped_worker(pools: Pools, figures: dict[str, Any]) -> None:
    """Its order expires, another worker serves the connection; continued, it answers late and serves again."""
    pool = pools(3, order_deadline=DEADLINE)
    pool.settle()
    pid = pool.status().pids()[0]
    freeze(pid)
    began = time.monotonic()
    who = served("BC-SILENT-01", "a connection ordered to a stopped worker", pool.client)
    figures[f"seconds to service by another worker, order_deadline {DEADLINE:g}"] = round(time.monotonic() - began, 3)
    check(who.slot == 1, "BC-PICK-01", f"it went to slot {who.slot} instead of 1, the lowest that can be chosen")
    status = pool.until("the stopped worker to be suspect", lambda s: s.slots()[0]["state"] == "SUSPECT")
    check(status.counters["expired"] == 1, "BC-SILENT-01", f"one order expired, the counters say {status.counters}")
    for _ in range(5):
        who = served("BC-SILENT-01", "a connection while one worker is suspect", pool.client)
        check(who.slot != 0, "BC-SILENT-08", "a suspect worker was given a connection")
    processes.send(pid, signal.SIGCONT)
    status = pool.until("the late answer", lambda s: s.slots()[0]["state"] == "READY")
    # of this worker alone: what others report of connections that have ended may not have been read yet
    counted = status.slots()[0]["open"]
    check(counted == 0, "BC-SILENT-04", f"after the late answer {counted} connections are counted for the worker")
    # The late answer was short, so the worker is passed over until the parent has seen the queue empty (BC-SHORT-05). A
    # connection that comes before it has looked goes to another worker, and then it looks again (BC-WATCH-10).
    slots: list[int | None] = []
    while 0 not in slots and len(slots) < LOOKS:
        slots.append(served("BC-SILENT-13", "a connection after the late answer", pool.client).slot)
    check(0 in slots, "BC-SILENT-13", f"the worker is READY, but slots {slots} were chosen, and never slot 0")


@pytest.mark.classes("counted")
@pytest.mark.parametrize("poller", ["auto", "poll"])
@pytest.mark.req("BC-WATCH-02", "BC-HARM-01", "BC-PEND-05")
def test_others_are_served_meanwhile(pools: Pools, poller: str) -> None:
    """With one order unanswered and its deadline 10 s away, later connections are served at once, whether listeners
    are watched by edge or by level.
    """
    pool = pools(3, order_deadline=10, poller=poller)
    pool.settle()
    pid = pool.status().pids()[0]
    freeze(pid)
    first = pool.client.send("who")
    ordered(pool, 0)
    # the queue is first-in first-out: each takes the one before it, and the newest is the one that is covered
    later = pool.client.send("who")
    try:
        who = first.answer(5)
    except NoAnswer as error:
        raise RequirementViolated(
            "BC-WATCH-02", f"a second connection, with two workers idle, moved nothing: {error}"
        ) from None
    check(who.slot == 1, "BC-PICK-01", f"it went to slot {who.slot} instead of 1")
    expired = pool.status().counters["expired"]
    check(expired == 0, "BC-SILENT-01", f"{expired} orders expired before their deadline")
    processes.send(pid, signal.SIGCONT)
    who = later.answer()
    check(who.slot == 0, "BC-WORK-04", f"the continued worker did not attempt its order: slot {who.slot} served it")


@pytest.mark.needs("order_deadline", "silence_deadline")
@pytest.mark.req("BC-SILENT-05", "BC-SCALE-10", "BC-SCALE-11", "BC-KILL-04", "BC-FORK-03")
def test_silent_worker_is_replaced(pools: Pools) -> None:
    """A worker that stays silent past the long deadline is killed, and its slot gets a new one."""
    pool = pools(2, order_deadline=DEADLINE / 3, silence_deadline=DEADLINE)
    pool.settle()
    pid = pool.status().pids()[0]
    freeze(pid)
    served("BC-SILENT-01", "a connection ordered to a stopped worker", pool.client)
    status = pool.until(
        "a new worker in slot 0",
        lambda s: 0 in s.slots("READY") and s.pids()[0] != pid,
    )
    check(
        status.counters["kills"] == 1,
        "BC-SILENT-05",
        f"one worker was to be killed, the counters say {status.counters}",
    )
    check(kernel.state(pid) in ("", "Z"), "BC-KILL-04", "the silent worker is still there")
    who = served("BC-SCALE-11", "a connection after the replacement", pool.client)
    check(who.slot == 0, "BC-PICK-01", f"slot {who.slot} served it instead of 0")


@pytest.mark.req("BC-LOSS-01", "BC-DEATH-09", "BC-HERD-03")
def test_death_before_accept(pools: Pools) -> None:
    """A worker is killed with an order unanswered: another one serves the connection, whatever the deadline."""
    pool = pools(3, order_deadline=10)
    pool.settle()
    for _ in range(10):
        status = pool.until("all workers ready", lambda s: len(s.slots("READY")) == 3 and s.quiet)
        pid = status.pids()[0]
        freeze(pid)
        client = pool.client.send("who")
        ordered(pool, 0)
        processes.send(pid, signal.SIGKILL)
        try:
            client.answer(5)
        except NoAnswer as error:
            raise RequirementViolated(
                "BC-LOSS-01", f"its connection was not served by another worker: {error}"
            ) from None
        client.close()
    counters = pool.until("a quiet pool", lambda s: s.quiet).counters
    check(counters["dead"] == 10, "BC-HERD-03", f"10 workers died with one order each, the counters say {counters}")


@pytest.mark.needs("order_deadline", "silence_deadline")
@pytest.mark.req("BC-PASS-02")
def test_stopped_parent_punishes_nobody(pools: Pools) -> None:
    """The parent is stopped past every deadline while an answer waits: the order has not expired, nobody is killed."""
    deadline = 2.0 * scale()
    pool = pools(3, order_deadline=deadline, silence_deadline=deadline)
    pool.settle()
    before = pool.status().pids()
    freeze(before[0])
    client = pool.client.send("hold")
    ordered(pool, 0)
    until(lambda: kernel.state(pool.pid) == "S", what="the parent to sleep, and not to be in the middle of a pass")
    freeze(pool.pid)
    processes.send(before[0], signal.SIGCONT)
    client.answer()  # so the worker has answered its order as well
    time.sleep(1.2 * deadline)  # not evidence: the deadlines have to pass while the parent cannot see it
    processes.send(pool.pid, signal.SIGCONT)
    status = pool.until("the report", lambda s: s.open == 1)
    expired, kills = status.counters["expired"], status.counters["kills"]
    check(expired == 0, "BC-PASS-02", f"{expired} orders expired, although their answers were waiting")
    check(kills == 0 and status.pids() == before, "BC-PASS-02", f"{kills} workers were killed")
