"""Drain and stop, as clients and supervisors see them."""

from __future__ import annotations

import signal

import pytest
from backchannel_conformance.client import Address, Held, NoAnswer
from backchannel_conformance.errors import RequirementViolated, check
from backchannel_conformance.fixtures import Pools
from backchannel_conformance.waiting import until


def refused(address: Address) -> bool:
    """Whether nobody listens there any more."""
    try:
        Held(address, "who").close()
    except ConnectionError:
        return True
    return False


@pytest.mark.req("BC-STOP-08", "BC-STOP-09", "BC-STOP-11", "BC-DRAIN-01", "BC-DRAIN-12")
def test_stop_when_idle(pools: Pools) -> None:
    """SIGTERM to an idle pool: exit status 0, nobody left."""
    pool = pools(4)
    status = pool.stop()
    check(status == 0, "BC-STOP-11", f"exit status {status} instead of 0")
    check(refused(pool.addresses[0]), "BC-STOP-09", "connections are still taken")


@pytest.mark.parametrize("capacity", [1, 4])
@pytest.mark.req("BC-STOP-08", "BC-STOP-10", "BC-STOP-11", "BC-DRAIN-04", "BC-DRAIN-09")
def test_stop_finishes_what_is_held(pools: Pools, capacity: int) -> None:
    """SIGTERM while connections are held: they go on, and the pool exits with 0 when they have ended."""
    pool = pools(2, capacity=capacity)
    held = [pool.client.hold() for _ in range(2)]
    pool.signal(signal.SIGTERM)
    if pool.has_status:
        pool.until("the drain", lambda s: set(s.slots("DRAINING")) == {who.slot for _, who in held})
    for connection, before in held:
        check(connection.again() == before, "BC-DRAIN-04", "a connection did not survive the drain")
    if capacity > 1:
        until(lambda: refused(pool.addresses[0]), what="event-based workers to close the listener while they drain")
    for connection, _ in held:
        connection.close()
    status = pool.wait()
    check(status == 0, "BC-STOP-11", f"exit status {status} instead of 0")


@pytest.mark.req("BC-STOP-01", "BC-STOP-11", "BC-LOSS-01")
def test_stop_serves_the_backlog(pools: Pools) -> None:
    """Connections that were pending when SIGTERM came are served before the pool goes."""
    pool = pools(1)
    held, _ = pool.client.hold()
    waiting = [pool.client.send("who") for _ in range(5)]
    pool.signal(signal.SIGTERM)
    held.close()
    for connection in waiting:
        try:
            connection.answer()
        except NoAnswer as error:
            raise RequirementViolated(
                "BC-STOP-01", f"a connection that was pending at SIGTERM was not served: {error}"
            ) from None
    status = pool.wait()
    check(status == 0, "BC-STOP-11", f"exit status {status} instead of 0")


@pytest.mark.needs("drain_deadline")
@pytest.mark.parametrize("capacity", [1, 4])
@pytest.mark.req("BC-DRAIN-02", "BC-STOP-08")
def test_drain_deadline(pools: Pools, capacity: int) -> None:
    """A connection that does not end is cut at the deadline; the pool exits all the same."""
    pool = pools(2, capacity=capacity, drain_deadline=0.3)
    held, _ = pool.client.hold()
    pool.signal(signal.SIGTERM)
    pool.wait()
    check(held.ended(), "BC-DRAIN-02", "the connection outlived the deadline")


@pytest.mark.req("BC-STOP-03", "BC-STOP-13")
def test_interrupt(pools: Pools) -> None:
    """SIGINT ends the pool at once, whatever is held."""
    pool = pools(2)
    held, _ = pool.client.hold()
    pool.signal(signal.SIGINT)
    status = pool.wait(5)
    check(held.ended(), "BC-STOP-03", "the connection outlived the pool")
    check(status != 0, "BC-STOP-13", "exit status 0, as if nothing had been cut")
