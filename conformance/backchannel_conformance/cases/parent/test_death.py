"""Workers that die, at every step, and what takes their place."""

from __future__ import annotations

import time

import pytest
from backchannel_conformance import frames, kernel
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Parents
from backchannel_conformance.stub_worker import StubWorker
from backchannel_conformance.waiting import scale, until


def end(stub: StubWorker, how: str) -> None:
    """Be gone."""
    match how:
        case "killed":
            stub.kill()
        case "exits":
            stub.leave(0)
        case "closes":
            stub.call("close")
        case "half-closes":
            stub.call("half_close")
        case "within a frame":
            stub.write(frames.idle(2).octets[:7])
            stub.call("close")


@pytest.mark.parametrize("how", ["killed", "exits", "closes", "half-closes", "within a frame"])
@pytest.mark.parametrize("read", [True, False])
@pytest.mark.req(
    "BC-ROOM-04", "BC-DEATH-02", "BC-DEATH-09", "BC-LOSS-01", "BC-CHAN-06", "BC-CHAN-14", "BC-FRAME-04", "BC-DEATH-04"
)
def test_order_of_a_dead_worker(parents: Parents, how: str, read: bool) -> None:
    """A worker goes with an order unanswered, read or not: the other one is ordered, long before any deadline."""
    parent = parents.pool(2, order_deadline=30)
    first, second = parent.workers
    parent.connect()
    if read:
        first.order("BC-PICK-01")
    else:
        while not first.waiting():
            time.sleep(0.001)
    end(first, how)
    second.order("BC-DEATH-09")
    second.take()
    parent.barrier()
    second.quiet("BC-PEND-02", "nothing is pending any more")


@pytest.mark.needs("exit_deadline")
@pytest.mark.req("BC-DEATH-03")
def test_closed_and_still_there(parents: Parents) -> None:
    """A worker closes its channel and does not exit: it is killed at exit_deadline, not before."""
    deadline = 0.3 * scale()
    parent = parents.pool(1, exit_deadline=deadline)
    (stub,) = parent.workers
    began = time.monotonic()
    stub.call("close")
    stub.killed("BC-DEATH-03", "it closed its channel")
    took = time.monotonic() - began
    check(took >= deadline, "BC-DEATH-03", f"it was killed after {took:.3f} s")


@pytest.mark.req("BC-DEATH-01", "BC-DEATH-04", "BC-CHAN-15", "BC-SCALE-10", "BC-SCALE-11")
def test_last_report_of_a_dead_worker(parents: Parents) -> None:
    """A worker accepts, answers and exits in one go: the answer counts, and the slot is filled."""
    parent = parents.pool(2)
    first, second = parent.workers
    parent.connect()
    first.order("BC-PICK-01")
    assert first.call("accept")["accepted"] == 1
    first.leave(1, first.busy(1))
    parent.connect()
    second.order("BC-DEATH-04")
    second.take()
    again = parent.stub("BC-SCALE-11")
    check(again.slot == first.slot, "BC-SCALE-10", f"the new worker got slot {again.slot}, not {first.slot}")
    again.greet()
    parent.barrier()
    again.quiet("BC-DEATH-01", "nothing is pending: the dead worker had taken its connection")


@pytest.mark.req("BC-DEATH-08", "BC-DEATH-02", "BC-WAIT-01")
def test_grandchild_holds_the_channel(parents: Parents) -> None:
    """A worker dies and leaves a process that holds its channel: its order ends and its slot is filled all the same."""
    parent = parents.pool(2, order_deadline=30)
    first, second = parent.workers
    parent.connect()
    first.order("BC-PICK-01")
    first.begin("grandchild")
    second.order("BC-DEATH-08")
    second.take()


@pytest.mark.classes("event")
@pytest.mark.req("BC-DEATH-07", "BC-DEATH-08", "BC-DEATH-02", "BC-CHAN-09", "BC-CHAN-16", "BC-SCALE-10")
def test_grandchild_that_writes_for_ever(parents: Parents) -> None:
    """A worker dies and leaves a process that writes to its channel without end: nobody waits for the end of that. Its
    order ends, the other one is ordered, and the slot is filled again.
    """
    parent = parents.pool(2, capacity=2, policy="lowest", order_deadline=30)
    first, second = parent.workers
    parent.connect()
    first.order("BC-PICK-01")
    first.begin("grandchild", octets=frames.flood().hex())
    second.order("BC-DEATH-07")
    second.take()
    again = parent.stub("BC-DEATH-08")
    check(again.slot == first.slot, "BC-SCALE-10", f"the new worker got slot {again.slot}")


@pytest.mark.req("BC-SCALE-12", "BC-SCALE-32", "BC-SCALE-35", "BC-SCALE-11")
def test_early_exits_delay_spawning(parents: Parents) -> None:
    """Workers die having accepted nothing: the next one starts a second after the first death, two after the second."""
    parent = parents.pool(1)
    (stub,) = parent.workers
    for delay, clause in ((1.0, "BC-SCALE-12"), (2.0, "BC-SCALE-35")):
        died = time.monotonic()
        stub.leave(1)
        stub = parent.stub("BC-SCALE-11", delay + 5)
        took = time.monotonic() - died
        check(took >= delay, clause, f"a new worker started {took:.3f} s after an early exit, not {delay:g} s")
        stub.greet()


@pytest.mark.req("BC-SCALE-32", "BC-SCALE-37", "BC-SCALE-11")
def test_exit_after_serving_is_not_early(parents: Parents) -> None:
    """Five workers in a row accept something and die: each is replaced without the delay of a second."""
    parent = parents.pool(1)
    (stub,) = parent.workers
    took = []
    for _ in range(5):
        parent.connect()
        stub.order("BC-PICK-01")
        stub.take()
        died = time.monotonic()
        stub.leave(1)
        stub = parent.stub("BC-SCALE-32")
        took.append(time.monotonic() - died)
        stub.greet()
    # a delay would be in each of them; on a busy machine a program may take long to start, but not each time
    check(
        min(took) < max(1.0, scale()), "BC-SCALE-32", f"workers that had served were replaced after {min(took):.1f} s"
    )


@pytest.mark.kernel("state", "no_descriptors")
@pytest.mark.req("BC-SCALE-42", "BC-SCALE-43", "BC-SCALE-14")
def test_failed_starts_delay_spawning(parents: Parents) -> None:
    """The parent has no descriptor for a channel when its worker has died, nor a second later: the next attempt is
    two seconds after that.
    """
    parent = parents.pool(1)
    (stub,) = parent.workers
    parent.connect()
    stub.order("BC-PICK-01")
    stub.take()  # it has served, so its death is no early exit
    with kernel.no_descriptors(parent.process.pid):
        died = time.monotonic()
        stub.leave(1)
        parent.reaped(stub)
        time.sleep(1.5)
        # however slow the machine is: it was woken for the second attempt, so when it sleeps it has made it
        until(lambda: kernel.state(parent.process.pid) == "S", what="the parent to sleep")
    again = parent.stub("BC-SCALE-14")
    took = time.monotonic() - died
    check(took >= 3.0, "BC-SCALE-43", f"a worker started {took:.3f} s after the first failure, not 1 s + 2 s")
    again.greet()


@pytest.mark.parametrize("status", [76, 78])
@pytest.mark.req("BC-SCALE-13", "BC-SCALE-39")
def test_nobody_can_start(parents: Parents, status: int) -> None:
    """The first worker exits with 76 or 78: the parent stops with that status, and starts no other."""
    parent = parents(start=1, min=1, max=1)
    parent.stub().leave(status)
    found = parent.wait("BC-SCALE-39")
    check(found == status, "BC-SCALE-39", f"the parent exited with status {found}, not {status}")
    check(not parent.more(), "BC-SCALE-13", "another worker was started")


@pytest.mark.req("BC-SCALE-41", "BC-SCALE-13")
def test_one_cannot_start_any_more(parents: Parents) -> None:
    """A worker was READY before: an exit with 78 stops nothing, and the next one starts after the delay."""
    parent = parents.pool(2)
    first, second = parent.workers
    died = time.monotonic()
    first.leave(78)
    parent.stub("BC-SCALE-11", 6)
    took = time.monotonic() - died
    check(took >= 1.0, "BC-SCALE-41", f"a new worker started {took:.3f} s after an exit with 78")
    parent.connect()
    second.order("BC-SCALE-41")


@pytest.mark.req("BC-SCALE-33", "BC-SCALE-11")
def test_exit_of_a_drained_worker_is_not_early(parents: Parents) -> None:
    """Eight workers in a row retire at once and exit, having accepted nothing: each is replaced without the delay."""
    parent = parents.pool(1)
    (stub,) = parent.workers
    began = time.monotonic()
    for _ in range(8):
        stub.status(0, capacity=0)
        stub.drained("BC-CAP-03")
        stub.leave(0)
        stub = parent.stub("BC-SCALE-11")
        stub.greet()
    took = time.monotonic() - began
    # early exits would have cost 1, 2, 4 ... seconds, more than 100 together
    limit = min(8 * scale(), 80)
    check(took < limit, "BC-SCALE-33", f"eight workers that had been drained were replaced in {took:.1f} s")


@pytest.mark.kernel("state")
@pytest.mark.parametrize("how", ["exits", "closes", "half-closes"])
@pytest.mark.req("BC-CHAN-15", "BC-DEATH-01", "BC-DEATH-04")
def test_reports_come_before_the_end(parents: Parents, how: str) -> None:
    """While the parent is stopped, a worker writes thirty reports and a violation, and goes: the violation is found."""
    parent = parents.pool(2)
    bad, good = parent.workers
    with parent.asleep(time.monotonic()):
        bad.write(b"".join(frames.idle(capacity).octets for capacity in range(2, 32)))
        bad.write(frames.idle(32)._replace(reserved=1))
        end(bad, how)
    parent.logged("BC-CHAN-15", f"slot {bad.slot}", "BC-FRAME-03")
    parent.connect()
    good.order("BC-VIOL-06")


@pytest.mark.kernel("state")
@pytest.mark.needs("status")
@pytest.mark.parametrize("how", ["exits", "closes", "half-closes"])
@pytest.mark.req("BC-CHAN-15", "BC-DEATH-01", "BC-DEATH-04")
def test_answer_comes_before_the_end(parents: Parents, how: str) -> None:
    """While the parent is stopped, a worker accepts, answers and goes: its connection counts as accepted."""
    parent = parents.pool(2)
    first, second = parent.workers
    parent.connect()
    first.order("BC-PICK-01")
    with parent.asleep(time.monotonic()):
        assert first.call("accept")["accepted"] == 1
        first.answer(1)
        end(first, how)
    parent.barrier(by=second)

    def outcomes() -> tuple[int, int]:
        counters = parent.counters()
        return counters["accepted"], counters["dead"]

    # the last answer of the barrier may come after the status document was written
    until(lambda: sum(outcomes()) == 3, what="the outcome of three orders")
    found = outcomes()
    check(found == (3, 0), "BC-CHAN-15", f"three connections were accepted: (accepted, dead) are {found}")
