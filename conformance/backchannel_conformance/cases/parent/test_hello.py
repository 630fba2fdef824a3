"""How a parent greets its workers."""

from __future__ import annotations

import time

import pytest
from backchannel_conformance import frames
from backchannel_conformance.errors import RequirementViolated, check
from backchannel_conformance.fixtures import Parents
from backchannel_conformance.waiting import scale


@pytest.mark.req("BC-HELLO-04", "BC-HELLO-06", "BC-ACCEPT-01", "BC-ACCEPT-06", "BC-ACCEPT-08", "BC-FRAME-02")
def test_welcome_follows_the_hello(parents: Parents) -> None:
    """Nothing is sent before the hello, although a client waits; then the welcome, order 1 with max 0."""
    parent = parents(start=2, min=2, max=2)
    first, parent.witness = parent.stub(), parent.stub()
    parent.connect()
    parent.barrier()
    first.quiet("BC-HELLO-06", "it has not said hello")
    first.greet()
    first.order("BC-HELLO-04")


@pytest.mark.req("BC-HELLO-14", "BC-ORDER-01", "BC-ORDER-02")
def test_ready_when_the_welcome_is_answered(parents: Parents) -> None:
    """A client waits; a worker that has not answered the welcome is not ordered, and is as soon as it has."""
    parent = parents(start=2, min=2, max=2)
    first, parent.witness = parent.stub(), parent.stub()
    parent.connect()
    first.hello()
    first.order("BC-HELLO-04")
    parent.barrier()
    first.quiet("BC-HELLO-14", "it has not answered the welcome")
    first.answer(0)
    first.order("BC-HELLO-14")


@pytest.mark.parametrize(("lowest", "highest"), [(0x10, 0x11), (0x10, 0x20)])
@pytest.mark.req("BC-VER-03", "BC-VER-04", "BC-VER-11", "BC-HELLO-13")
def test_worker_that_speaks_more(parents: Parents, lowest: int, highest: int) -> None:
    """A made-up worker from 1.0 to something later, with features of its own: its whole life is spoken in 1.0."""
    parent = parents(start=1, min=1, max=1)
    stub = parent.stub()
    stub.capacity = 1
    stub.write(frames.hello(1, lowest, highest, features=0xFFFE))
    stub.order("BC-HELLO-13")
    stub.answer(0)
    for _ in range(2):
        parent.connect()
        stub.order("BC-VER-04")
        stub.take()
        stub.finish()
    stub.status(0, capacity=0)
    stub.drained("BC-CAP-03")
    stub.leave(0)


@pytest.mark.parametrize("frame", [frames.idle(2)._replace(version=0x11), frames.idle(2)._replace(type=ord("P"))])
@pytest.mark.req("BC-FRAME-03", "BC-FRAME-05", "BC-VIOL-02", "BC-VIOL-05", "BC-VIOL-06")
def test_later_dialect_where_1_0_was_agreed(parents: Parents, frame: frames.Frame) -> None:
    """A made-up worker of 1.0 and 1.1 agrees on 1.0, and then says in 1.1, or by a message of 1.1: it is killed."""
    parent = parents(start=2, min=2, max=2)
    later, good = parent.stub(), parent.stub()
    good.greet()
    later.capacity = 1
    later.write(frames.hello(1, 0x10, 0x11))
    later.order("BC-HELLO-13")
    later.answer(0)
    later.err(frame)
    later.killed("BC-VIOL-05", "it left the version that was agreed on")
    parent.logged("BC-VIOL-02", f"slot {later.slot}", "BC-FRAME-03")
    parent.connect()
    good.order("BC-VIOL-06")


@pytest.mark.parametrize(("lowest", "highest"), [(0x11, 0x11), (0x20, 0x21)])
@pytest.mark.req("BC-VER-05", "BC-VER-12", "BC-VER-14", "BC-SCALE-13", "BC-SCALE-39")
def test_worker_of_another_age(parents: Parents, lowest: int, highest: int) -> None:
    """No version in common: nothing is sent, the worker is killed, and a pool that never had one stops with 76."""
    parent = parents(start=1, min=1, max=1)
    stub = parent.stub()
    stub.err(frames.hello(1, lowest, highest))
    stub.killed("BC-VER-12", f"it speaks {lowest:#04x} to {highest:#04x}")
    status = parent.wait("BC-SCALE-39")
    check(status == 76, "BC-VER-14", f"the parent exited with status {status}, not 76")
    check(not parent.more(), "BC-SCALE-13", "another worker was started")


@pytest.mark.parametrize("version", [0x11, 0x20])
@pytest.mark.req("BC-VER-12", "BC-VER-14", "BC-SCALE-41", "BC-HARM-01")
def test_worker_of_another_age_among_others(parents: Parents, version: int) -> None:
    """A made-up worker of 1.1 or 2.0 alone comes to a pool that serves: it is killed, the next one starts after the
    delay, and a client is ordered to the worker of 1.0 meanwhile.
    """
    parent = parents.pool(2)
    good, other = parent.workers
    later = parent.witness
    assert later
    parent.connect()
    good.order("BC-PICK-01")
    good.take()
    good.finish()
    # ordered again, so its answer has been read: it would end the delay if it were read after what is to come
    parent.connect()
    good.order("BC-PICK-01")
    began = time.monotonic()
    later.err(frames.hello(1, version, version))
    later.killed("BC-VER-12", f"it speaks {version:#04x} alone")
    parent.logged("BC-VIOL-02", f"slot {later.slot}")
    try:
        parent.connect()
    except OSError as error:
        raise RequirementViolated("BC-SCALE-41", f"the pool serves nobody any more: {error}") from None
    other.order("BC-SCALE-41")
    again = parent.stub("BC-SCALE-11")
    took = time.monotonic() - began
    check(took >= 1.0, "BC-SCALE-41", f"a new worker started after {took:.3f} s")
    check(again.slot == later.slot, "BC-SCALE-10", f"the new worker got slot {again.slot}")


WRONG = {
    "a BUSY": frames.busy(1, 0, frames.FILLED, 0, 1),
    "a GONE": frames.gone(1, 2),
    "an IDLE without a hello word": frames.idle(1),
    "capacity 0": frames.hello(0),
    "open above 0": frames.hello(2)._replace(open=1),
    "a reserved octet": frames.hello(1)._replace(reserved=1),
    "an octet other than the lowest version": frames.hello(1)._replace(version=0x11),
}


@pytest.mark.req("BC-HELLO-03", "BC-HELLO-11", "BC-VER-02", "BC-VER-09", "BC-VIOL-05", "BC-VIOL-06")
def test_first_message_is_no_hello(parents: Parents) -> None:
    """Each of seven workers begins with something else: it is killed unheard, and the eighth serves."""
    count = len(WRONG) + 1
    parent = parents(start=count, min=count, max=count)
    *bad, good = sorted((parent.stub() for _ in range(count)), key=lambda stub: stub.slot)
    good.greet()
    for stub, (what, frame) in zip(bad, WRONG.items(), strict=True):
        stub.err(frame)
        stub.killed("BC-HELLO-03", f"its first message is {what}")
    parent.connect()
    good.order("BC-VIOL-06")


@pytest.mark.classes("event")
@pytest.mark.parametrize("capacity", [1, 3])
@pytest.mark.req("BC-HELLO-10")
def test_capacity_that_was_not_given(parents: Parents, capacity: int) -> None:
    """The hello says another capacity than the 2 that the worker was given: it is welcomed and ordered."""
    parent = parents(start=1, min=1, max=1, capacity=2)
    stub = parent.stub()
    stub.hello(capacity)
    stub.order("BC-HELLO-10")
    stub.answer(0)
    for _ in range(capacity):
        parent.connect()
        stub.order("BC-HELLO-10")
        stub.take()


@pytest.mark.req("BC-HELLO-04", "BC-CAP-03")
def test_welcome_comes_at_once(parents: Parents) -> None:
    """An order is unanswered and one worker idle, so nothing presses. Four newcomers say hello and retire: at least one
    of them is welcomed and drained soon.
    """
    parent = parents.pool(2, order_deadline=60)
    parent.connect()
    parent.workers[0].order("BC-PICK-01")
    took = []
    for _ in range(4):
        newcomer, parent.witness = parent.witness or parent.stub(), None
        began = time.monotonic()
        newcomer.hello()
        newcomer.order("BC-HELLO-04")
        newcomer.answer(0, capacity=0)
        newcomer.drained("BC-CAP-03")
        took.append(time.monotonic() - began)
        newcomer.leave(0)
    check(
        min(took) < 0.4 * scale(),
        "BC-HELLO-04",
        f"four newcomers were welcomed and drained in no less than {min(took):.3f} s",
    )
