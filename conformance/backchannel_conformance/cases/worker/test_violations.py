"""What a worker does when its parent breaks the protocol: no more words, what it holds is finished, status 76."""

from __future__ import annotations

import pytest
from backchannel_conformance import frames
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Workers

WRONG = {
    "a type that does not exist": frames.accept(2, 0)._replace(type=0x5A),
    "a BUSY from the parent": frames.busy(2, 0, frames.FILLED, 0, 1),
    "an IDLE from the parent": frames.idle(1),
    "a reason in ACCEPT": frames.accept(2, 0)._replace(reason=1),
    "the reserved octet": frames.accept(2, 0)._replace(reserved=1),
    "the reserved word of ACCEPT": frames.accept(2, 0)._replace(capacity=1),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.req("BC-FRAME-03", "BC-VIOL-03")
def test_worker_leaves_a_parent_that_errs(workers: Workers, what: str) -> None:
    """A frame with one fault: nothing comes any more, and the worker exits with 76."""
    worker = workers.greeted()
    worker.send(WRONG[what])
    worker.ended("BC-VIOL-03")
    worker.exits(76, "BC-FRAME-03")


@pytest.mark.req("BC-ACCEPT-04", "BC-VIOL-03")
def test_order_for_an_unknown_listener(workers: Workers) -> None:
    """An order for listener 1, where there is one listener."""
    worker = workers.greeted()
    worker.send(frames.accept(2, 1, listener=1))
    worker.ended("BC-ACCEPT-04")
    worker.exits(76, "BC-ACCEPT-04")


@pytest.mark.classes("event")
@pytest.mark.req("BC-VIOL-03", "BC-DRAIN-03", "BC-DRAIN-04")
def test_violation_while_holding(workers: Workers) -> None:
    """A worker that holds a connection goes on with it, says nothing more, and exits with 76 when it has ended."""
    worker = workers.greeted(capacity=4)
    held = worker.client.send("hold")
    worker.order(1)
    worker.answer()
    held.answer()
    worker.send(WRONG["the reserved octet"])
    worker.lets_go("BC-VIOL-03")
    worker.serves(held, "BC-VIOL-03")
    check(not worker.gone(), "BC-VIOL-03", "the worker left the connection that it holds")
    held.close()
    worker.ended("BC-VIOL-03")
    worker.exits(76, "BC-VIOL-03")
