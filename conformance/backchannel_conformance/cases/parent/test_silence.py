"""Orders that are not answered in time, and workers that never start."""

from __future__ import annotations

import signal
import time

import pytest
from backchannel_conformance import frames, processes
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Parents
from backchannel_conformance.parent_under_test import ParentUnderTest
from backchannel_conformance.stub_worker import StubWorker
from backchannel_conformance.waiting import scale, until


@pytest.mark.needs("order_deadline")
@pytest.mark.req("BC-SILENT-01", "BC-SILENT-08", "BC-ROOM-03", "BC-ORDER-02")
def test_order_expires(parents: Parents) -> None:
    """At the deadline, not before, another worker is ordered; the silent one is sent nothing more."""
    deadline = 0.2 * scale()
    parent = parents.pool(2, capacity=2, policy="lowest", order_deadline=deadline)
    silent, other = parent.workers
    began = time.monotonic()
    parent.connect()
    silent.order("BC-PICK-01")
    other.order("BC-SILENT-01")
    took = time.monotonic() - began
    check(took >= deadline, "BC-SILENT-01", f"the order was given to another worker after {took:.3f} s")
    other.take()
    parent.connect()
    stub, _ = parent.ordered(parent.workers, "BC-SILENT-01")
    check(stub is other, "BC-SILENT-08", "a suspect worker was ordered")


@pytest.mark.needs("order_deadline")
@pytest.mark.parametrize("accepted", [0, 1])
@pytest.mark.req("BC-SILENT-04", "BC-SILENT-13", "BC-ROOM-01")
def test_late_answer_counts(parents: Parents, accepted: int) -> None:
    """A late answer ends the suspicion; what it accepted takes up room like anything else."""
    parent = parents.pool(2, order_deadline=0.3 * scale())
    late, other = parent.workers
    parent.connect()
    late.order("BC-PICK-01")
    other.order("BC-SILENT-01")
    if accepted:
        late.take()
        other.answer(0)
    else:
        other.take()
        late.answer(0)
    parent.barrier()
    parent.connect()
    expected = other if accepted else late
    stub, _ = parent.ordered(parent.workers, "BC-SILENT-13")
    seen = f"the late answer accepted {accepted}, and then slot {stub.slot} was ordered"
    check(stub is expected, "BC-SILENT-04" if accepted else "BC-SILENT-13", seen)


@pytest.mark.needs("order_deadline")
@pytest.mark.req("BC-SILENT-02", "BC-SILENT-11")
def test_deadline_doubles(parents: Parents) -> None:
    """Three workers in a row are silent: the fourth is ordered after one deadline, a doubled and a redoubled one. An
    answer in time, and the deadline is the plain one again.
    """
    deadline = 0.15 * scale()
    parent = parents.pool(4, order_deadline=deadline)
    began = time.monotonic()
    parent.connect()
    for stub in parent.workers:
        stub.order("BC-SILENT-01")
    took = time.monotonic() - began
    check(took >= 7 * deadline, "BC-SILENT-02", f"three expired orders of {deadline:g} s took {took:.3f} s")
    last, fifth = parent.workers[3], parent.witness
    assert fifth
    last.take()
    last.finish()
    fifth.greet()
    took = expiry(parent, last, fifth)
    for _ in range(2):  # one that took too long may be the machine's fault, but not each
        if took >= 8 * deadline:
            parent.connect()
            stub, _ = parent.ordered((last, fifth), "BC-SILENT-04")
            stub.take()
            stub.finish()
            took = expiry(parent, last, fifth)
    right = deadline <= took < 8 * deadline
    check(right, "BC-SILENT-11", f"after an answer in time a deadline of {deadline:g} s took {took:.3f} s")


def expiry(parent: ParentUnderTest, *stubs: StubWorker) -> float:
    """Seconds from a client's arrival until the second of two workers is ordered, because the first was silent."""
    began = time.monotonic()
    parent.connect()
    silent, _ = parent.ordered(stubs, "BC-SILENT-11")
    (other,) = (stub for stub in stubs if stub is not silent)
    other.order("BC-SILENT-11")
    took = time.monotonic() - began
    silent.answer(0)
    other.take()
    other.finish()
    return took


@pytest.mark.needs("order_deadline")
@pytest.mark.parametrize("how", ["a late answer", "an answer to a welcome"])
@pytest.mark.req("BC-SILENT-11", "BC-SILENT-12", "BC-SILENT-02")
def test_what_does_not_end_the_doubling(parents: Parents, how: str) -> None:
    """The first of three silent workers answers late, or another worker is welcomed: the deadlines double on."""
    deadline = 0.1 * scale()
    parent = parents.pool(4, order_deadline=deadline)
    first, second, third, fourth = parent.workers
    began = time.monotonic()
    parent.connect()
    first.order("BC-PICK-01")
    second.order("BC-SILENT-01")
    if how == "a late answer":
        first.answer(0)
    else:
        parent.barrier()
    third.order("BC-SILENT-01")
    fourth.order("BC-SILENT-01")
    took = time.monotonic() - began
    clause = "BC-SILENT-12" if how == "a late answer" else "BC-SILENT-11"
    check(took >= 7 * deadline, clause, f"deadlines of {deadline:g} s, its double and its quadruple took {took:.3f} s")


@pytest.mark.classes("event", "counted")
@pytest.mark.needs("order_deadline", "max_per_order")
@pytest.mark.req("BC-SILENT-03", "BC-SILENT-01")
def test_owed_connections_one_at_a_time(parents: Parents) -> None:
    """An order for two expires: they are ordered again, one at a time, from any worker with room."""
    parent = parents(
        start=4, min=4, max=4, capacity=2, max_per_order=2, policy="lowest", order_deadline=0.8 * scale(), pass_=0.02
    )
    found = sorted((parent.stub() for _ in range(4)), key=lambda stub: stub.slot)
    silent, first, second, parent.witness = found
    parent.connect(2)
    silent.greet(2)
    order = silent.order("BC-PEND-05")
    assert order.max == 2
    for stub in (first, second):
        stub.greet(2)
    order = first.order("BC-SILENT-01")
    check(
        order.max == 1, "BC-SILENT-03", f"of two connections whose order had expired, {order.max} were ordered at once"
    )
    parent.barrier()
    second.quiet("BC-SILENT-03", "the first of the two owed connections has not been answered for")
    first.take()
    first.order("BC-SILENT-03")


@pytest.mark.classes("event", "counted")
@pytest.mark.needs("order_deadline", "max_per_order", "status")
@pytest.mark.req("BC-PICK-09", "BC-SILENT-06")
def test_what_is_owed_has_no_share(parents: Parents) -> None:
    """An order for two has expired, and two more clients come: the next worker is ordered to take two, and not four."""
    parent = parents(start=3, min=3, max=3, capacity=4, max_per_order=4, policy="lowest", order_deadline=0.1 * scale())
    silent, other, parent.witness = sorted((parent.stub() for _ in range(3)), key=lambda stub: stub.slot)
    parent.connect(2)
    silent.greet(4)
    order = silent.order("BC-PEND-05")
    assert order.max == 2
    until(lambda: parent.counters()["expired"] == 2, what="the order to expire")
    parent.connect(2)
    other.greet(4)
    order = other.order("BC-SILENT-06")
    check(order.max == 2, "BC-PICK-09", f"four are pending, two of them owed, and one worker may be chosen: {order}")


@pytest.mark.needs("order_deadline", "silence_deadline")
@pytest.mark.req("BC-SILENT-05", "BC-SILENT-09", "BC-SCALE-10", "BC-SCALE-11", "BC-KILL-04", "BC-KILL-05")
def test_silence_ends_in_a_kill(parents: Parents) -> None:
    """Suspect for the long deadline, and stopped: the worker is killed, not before, and its slot filled again."""
    long = 0.3 * scale()
    # the other one has twice the order's deadline, and as long again as the silent one, until it would be killed too
    parent = parents.pool(2, order_deadline=long, silence_deadline=long)
    silent, other = parent.workers
    began = time.monotonic()
    parent.connect()
    silent.order("BC-PICK-01")
    processes.send(silent.pid, signal.SIGSTOP)
    other.order("BC-SILENT-01")
    other.take()
    silent.killed("BC-SILENT-05", "it was silent")
    took = time.monotonic() - began
    check(
        took >= 2 * long, "BC-SILENT-05", f"it was killed {took:.3f} s after its order, with two deadlines of {long:g}"
    )
    again = parent.stub("BC-SCALE-11")
    check(again.slot == silent.slot, "BC-SCALE-10", f"the new worker got slot {again.slot}")


@pytest.mark.needs("order_deadline", "silence_deadline")
@pytest.mark.req("BC-SILENT-05", "BC-SILENT-13")
def test_silence_begins_anew(parents: Parents) -> None:
    """A worker is suspect, answers late, and is suspect again: the second silence has all the time of the first, also
    while another one, which has been suspect for longer, is waited for.
    """
    long = 0.8 * scale()
    parent = parents.pool(3, order_deadline=0.05 * scale(), silence_deadline=long)
    mute, silent, other = parent.workers
    parent.connect()
    mute.order("BC-PICK-01")
    silent.order("BC-SILENT-01")
    other.order("BC-SILENT-01")
    other.take()
    silent.answer(0)
    parent.barrier()
    time.sleep(long / 2)  # so that a deadline left over from the first would pass well before the second one's
    began = time.monotonic()
    parent.connect()
    silent.order("BC-SILENT-13")
    silent.killed("BC-SILENT-05", "it was silent")
    took = time.monotonic() - began
    check(took >= long, "BC-SILENT-05", f"it was killed {took:.3f} s after an order, for a silence that it had broken")


@pytest.mark.needs("start_deadline")
@pytest.mark.parametrize("greeted", [False, True])
@pytest.mark.req("BC-KILL-03")
def test_worker_that_does_not_start(parents: Parents, greeted: bool) -> None:
    """No hello, or no answer to the welcome: at start_deadline, not before, the worker is killed."""
    deadline = max(2.0, scale())  # a program must be able to start meanwhile, on a busy machine too
    began = time.monotonic()
    parent = parents(start=1, min=1, max=1, start_deadline=deadline)
    stub = parent.stub()
    if greeted:
        stub.hello()
        stub.order("BC-HELLO-04")
    stub.killed("BC-KILL-03", "it did not start")
    took = time.monotonic() - began
    check(took >= deadline, "BC-KILL-03", f"it was killed {took:.3f} s after the pool's start")


@pytest.mark.classes("counted")  # where the pending count is taken as 1 the second client waits for the deadline
@pytest.mark.needs("order_deadline")
@pytest.mark.req("BC-WAIT-01", "BC-HARM-01")
def test_stopped_worker_delays_nobody(parents: Parents) -> None:
    """A worker is stopped before it reads its order: a second client is ordered to the other one at once."""
    parent = parents.pool(2, order_deadline=30)
    stopped, other = parent.workers
    processes.send(stopped.pid, signal.SIGSTOP)
    parent.connect(2)
    other.order("BC-WAIT-01")
    other.take()
    processes.send(stopped.pid, signal.SIGCONT)
    stopped.order("BC-PICK-01")


@pytest.mark.req("BC-SILENT-01")
def test_answer_before_the_deadline(parents: Parents) -> None:
    """With a deadline far away nothing expires: the other worker stays idle."""
    parent = parents.pool(2, order_deadline=30)
    first, second = parent.workers
    parent.connect()
    first.order("BC-PICK-01")
    for _ in range(2):
        parent.barrier()
    second.quiet("BC-SILENT-01", "the first one's deadline has not passed")
    assert first.unanswered
    first.write(frames.busy(first.unanswered.order, 0, frames.EMPTY, 0, 1))


@pytest.mark.needs("order_deadline", "silence_deadline")
@pytest.mark.req("BC-SILENT-07")
def test_welcome_does_not_expire(parents: Parents) -> None:
    """A worker owes the answer to its welcome for longer than it takes another one, ordered later, to become suspect
    and be killed. It is not killed, and serves when it has answered.
    """
    parent = parents.pool(1, order_deadline=0.05 * scale(), silence_deadline=0.2 * scale())
    (silent,) = parent.workers
    slow, parent.witness = parent.witness, None
    assert slow
    slow.hello()
    slow.order("BC-HELLO-04")
    parent.connect()
    silent.order("BC-PICK-01")
    silent.killed("BC-SILENT-05", "it was silent")
    check(slow.alive(), "BC-SILENT-07", "a worker was killed because it had not answered its welcome")
    slow.answer(0)
    slow.order("BC-SILENT-07")
