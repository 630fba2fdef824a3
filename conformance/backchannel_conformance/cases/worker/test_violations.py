"""What a worker does when its parent breaks the protocol: no more words, what it holds is finished, status 76."""

from __future__ import annotations

import contextlib

import pytest
from backchannel_conformance import frames
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Workers
from backchannel_conformance.worker_under_test import WorkerUnderTest

WRONG = {
    "a type that does not exist": (frames.accept(2, 0)._replace(type=0x5A), "BC-FRAME-05"),
    "a BUSY from the parent": (frames.busy(2, 0, frames.FILLED, 0, 1), "BC-FRAME-05"),
    "an IDLE from the parent": (frames.idle(1), "BC-FRAME-05"),
    "a reason in ACCEPT": (frames.accept(2, 0)._replace(reason=1), "BC-FRAME-07"),
    "the reserved octet": (frames.accept(2, 0)._replace(reserved=1), "BC-FRAME-08"),
    "the reserved word of ACCEPT": (frames.accept(2, 0)._replace(capacity=1), "BC-FRAME-08"),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.req("BC-FRAME-05", "BC-FRAME-07", "BC-FRAME-08", "BC-VIOL-03", "BC-VIOL-07", "BC-VIOL-08")
def test_worker_leaves_a_parent_that_errs(workers: Workers, what: str) -> None:
    """A frame with one fault: nothing comes any more, and the worker exits with 76."""
    worker = workers.greeted()
    frame, clause = WRONG[what]
    worker.send(frame)
    worker.ended("BC-VIOL-07")
    worker.exits(76, clause)


@pytest.mark.req("BC-ACCEPT-04", "BC-VIOL-07", "BC-VIOL-08")
def test_order_for_an_unknown_listener(workers: Workers) -> None:
    """An order for listener 1, where there is one listener."""
    worker = workers.greeted()
    worker.send(frames.accept(2, 1, listener=1))
    worker.ended("BC-ACCEPT-04")
    worker.exits(76, "BC-ACCEPT-04")


@pytest.mark.classes("event")
@pytest.mark.req("BC-VIOL-03", "BC-VIOL-07", "BC-VIOL-08", "BC-DRAIN-09", "BC-DRAIN-04")
def test_violation_while_holding(workers: Workers) -> None:
    """A worker that holds a connection goes on with it, says nothing more, and exits with 76 when it has ended."""
    worker = workers.greeted(capacity=4)
    held = worker.client.send("hold")
    worker.order(1)
    worker.answer()
    held.answer()
    worker.send(WRONG["the reserved octet"][0])
    worker.lets_go("BC-VIOL-03")
    worker.serves(held, "BC-VIOL-03")
    check(not worker.gone(), "BC-VIOL-03", "the worker left the connection that it holds")
    held.close()
    worker.ended("BC-VIOL-07")
    worker.exits(76, "BC-VIOL-08")


def left(worker: WorkerUnderTest) -> int:
    """How many connections are in the backlog still."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            worker.listeners[0].accept()[0].close()
            count += 1
    return count


@pytest.mark.req("BC-VIOL-11", "BC-VIOL-07", "BC-VIOL-08")
def test_order_after_a_violation(workers: Workers) -> None:
    """A violation and a perfect order in one write: the order is not looked at, and its client is left where it is."""
    worker = workers.greeted()
    worker.client.send("who")
    worker.send(WRONG["the reserved octet"][0].octets + frames.accept(2, 1).octets)
    worker.ended("BC-VIOL-11")
    worker.exits(76, "BC-VIOL-08")
    check(left(worker) == 1, "BC-VIOL-11", "the worker took a connection after a violation")


@pytest.mark.req("BC-VIOL-10", "BC-VIOL-08")
def test_order_before_a_violation(workers: Workers) -> None:
    """An order and a violation in one write: the order is answered, or it is not attempted."""
    worker = workers.greeted()
    client = worker.client.send("who")
    worker.send(worker.accept(1).octets + WRONG["the reserved octet"][0].octets)
    answered = worker.frame("BC-VIOL-10")
    if answered is not None:
        check(answered.type == frames.BUSY, "BC-VIOL-07", f"{answered} came")
        client.answer()
        worker.ended("BC-VIOL-07")
    worker.exits(76, "BC-VIOL-08")
    check(left(worker) == (answered is None), "BC-VIOL-10", "the order was attempted, and not answered")
