"""Reload, from the side of the workers that come and go."""

from __future__ import annotations

import signal
import time

import pytest
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Parents
from backchannel_conformance.parent_under_test import ParentUnderTest
from backchannel_conformance.stub_worker import StubWorker
from backchannel_conformance.waiting import scale

pytestmark = [pytest.mark.classes("reload"), pytest.mark.needs("reload", "start", "min", "max")]


def workers(parent: ParentUnderTest, count: int) -> list[StubWorker]:
    """The first workers, by slot."""
    return sorted((parent.stub() for _ in range(count)), key=lambda stub: stub.slot)


@pytest.mark.classes("event")
@pytest.mark.req("BC-RELOAD-01", "BC-RELOAD-04", "BC-RELOAD-08", "BC-RELOAD-11")
def test_least_loaded_drains_first(parents: Parents) -> None:
    """Loads 2, 1, 1: each newcomer that is READY makes one old worker drain, slot 2 first, then 1, then 0."""
    parent = parents(start=3, min=3, max=3, capacity=4, policy="least-loaded")
    old = workers(parent, 3)
    for stub in old:
        stub.greet(4)
    for stub in (*old, old[0]):
        parent.connect()
        stub.order("BC-PICK-02")
        stub.take()
    parent.signal(signal.SIGHUP)
    for victim in reversed(old):
        newcomer = parent.stub("BC-RELOAD-01")
        check(not parent.more(), "BC-RELOAD-01", "a rolling reload started two workers at once")
        newcomer.hello(4)
        newcomer.order("BC-HELLO-04")
        for stub in old[: old.index(victim) + 1]:
            stub.quiet("BC-RELOAD-08", "the newcomer is not READY before it has answered the welcome")
        newcomer.answer(0)
        victim.drained("BC-RELOAD-04")
        for stub in old[: old.index(victim)]:
            stub.quiet("BC-RELOAD-04", f"slot {victim.slot} was to drain")
    check(not parent.more(), "BC-RELOAD-01", "a worker was started after the reload")


@pytest.mark.req("BC-RELOAD-01", "BC-RELOAD-02", "BC-RELOAD-08", "BC-RELOAD-09")
def test_all_at_once(parents: Parents) -> None:
    """Three newcomers for three old workers; nobody drains before the last of them is READY."""
    parent = parents(start=3, min=3, max=3, reload="at-once")
    old = workers(parent, 3)
    for stub in old:
        stub.greet()
    parent.signal(signal.SIGHUP)
    newcomers = [parent.stub("BC-RELOAD-01") for _ in old]
    for newcomer in newcomers[:2]:
        newcomer.greet()
    parent.connect()
    old[0].order("BC-RELOAD-02")
    old[0].take()
    for stub in old:
        stub.quiet("BC-RELOAD-08", "one of three newcomers is not READY")
    newcomers[2].greet()
    for stub in old:
        stub.drained("BC-RELOAD-01")


@pytest.mark.needs("max_spare", "pass", "order_deadline")
@pytest.mark.req("BC-RELOAD-06")
def test_nobody_is_retired_meanwhile(parents: Parents) -> None:
    """Far too much spare, a pass of 0.02 s, and a newcomer that does not get ready: nobody drains in the 0.5 s that an
    order takes to expire.
    """
    parent = parents(start=3, min=1, max=3, min_spare=0, max_spare=1, pass_=0.02, order_deadline=0.5 * scale())
    old = workers(parent, 3)
    parent.signal(signal.SIGHUP)
    parent.stub("BC-RELOAD-01")
    for stub in old:
        stub.greet()
    parent.connect()
    old[0].order("BC-PICK-01")
    old[1].order("BC-SILENT-01")  # the first order has expired: its deadline has passed
    old[2].quiet("BC-RELOAD-06", "a reload is under way")
    old[1].take()
    old[1].quiet("BC-RELOAD-06", "a reload is under way")


@pytest.mark.needs("min_spare", "max_spare")
@pytest.mark.req("BC-RELOAD-13", "BC-SCALE-12")
def test_newcomer_that_fails(parents: Parents) -> None:
    """The newcomer exits before it is READY. The pool lacks nobody, so the next one comes by the reload alone, when
    its delay of a second is over.
    """
    parent = parents(start=1, min=1, max=2, min_spare=0, max_spare=8)
    (old,) = workers(parent, 1)
    old.greet()
    parent.signal(signal.SIGHUP)
    newcomer = parent.stub("BC-RELOAD-01")
    died = time.monotonic()
    newcomer.leave(1)
    again = parent.stub("BC-RELOAD-13")
    took = time.monotonic() - died
    check(took >= 1.0, "BC-SCALE-12", f"the next newcomer started {took:.3f} s after the failure of the first, not 1 s")
    old.quiet("BC-RELOAD-08", "no newcomer is READY")
    again.greet()
    old.drained("BC-RELOAD-13")


@pytest.mark.req("BC-RELOAD-13", "BC-RELOAD-05")
def test_newcomer_that_was_ready(parents: Parents) -> None:
    """The first newcomer is READY, and exits with 78 afterwards: the new code can start, so the reload goes on."""
    parent = parents(start=3, min=3, max=3)
    old = workers(parent, 3)
    for stub in old:
        stub.greet()
    parent.signal(signal.SIGHUP)
    first = parent.stub("BC-RELOAD-01")
    first.greet()
    old[2].drained("BC-RELOAD-04")
    second = parent.stub("BC-RELOAD-01")
    first.leave(78)
    parent.reaped(first)
    old[2].leave(0)
    second.hello()
    second.order("BC-RELOAD-13")
    second.answer(0)
    old[1].drained("BC-RELOAD-13")
    third = parent.stub("BC-RELOAD-13")
    third.hello()
    third.order("BC-RELOAD-13")
    third.answer(0)
    old[0].drained("BC-RELOAD-13")


@pytest.mark.req("BC-RELOAD-05", "BC-SCALE-13")
def test_old_worker_says_nothing_of_the_new_ones(parents: Parents) -> None:
    """A worker of the old generation that was never READY exits with 78 during a reload, which goes on."""
    parent = parents(start=2, min=2, max=2)
    first, second = workers(parent, 2)
    first.greet()
    parent.signal(signal.SIGHUP)
    newcomer = parent.stub("BC-RELOAD-01")
    second.leave(78)
    parent.reaped(second)
    for _ in range(2):  # two exchanges: by then the parent has acted on the death as well
        parent.connect()
        first.order("BC-RELOAD-02")
        first.take()
        first.finish()
    newcomer.hello()
    newcomer.order("BC-RELOAD-05")
    newcomer.answer(0)
    first.drained("BC-RELOAD-05")


@pytest.mark.req("BC-RELOAD-05", "BC-RELOAD-02")
def test_failed_reload_starts_nobody_more(parents: Parents) -> None:
    """A newcomer closes its channel, and exits with 78 a moment later: nobody is started in between, nor afterwards.
    The next worker that comes is the one that replaces an old worker which has died.
    """
    parent = parents(start=3, min=3, max=3)
    old = workers(parent, 3)
    for stub in old:
        stub.greet()
    parent.signal(signal.SIGHUP)
    newcomer = parent.stub("BC-RELOAD-01")
    newcomer.call("close")
    parent.connect()
    old[0].order("BC-RELOAD-02")
    old[0].take()
    newcomer.leave(78)
    parent.reaped(newcomer)
    old[0].finish()
    parent.connect()
    old[0].order("BC-RELOAD-02")
    old[0].take()
    old[2].kill()
    again = parent.stub("BC-SCALE-11")
    check(again.slot == 2, "BC-RELOAD-05", f"a worker was started in slot {again.slot}, although the reload had failed")
    again.greet()
    for stub in old[:2]:
        stub.quiet("BC-RELOAD-05", "the reload has failed, and the old workers stay")


@pytest.mark.classes("event")
@pytest.mark.req("BC-RELOAD-04", "BC-RELOAD-11")
def test_fewest_connections_drain_first(parents: Parents) -> None:
    """Capacities, open and reserved differ: what counts is how many connections a worker has, open and reserved; of
    those with equally many it is the slot, and not which of them is the newest.
    """
    parent = parents(start=3, min=3, max=3, capacity=8, policy="lowest", order_deadline=60)
    old = workers(parent, 3)
    old[1].greet(1)
    parent.connect()
    old[1].order("BC-PICK-01")
    old[1].take()
    old[1].leave(1)
    old[1] = parent.stub("BC-SCALE-11")  # the newest
    old[0].greet(1)
    parent.connect()
    old[0].order("BC-PICK-01")
    old[0].take()
    old[1].greet(8)
    for _ in range(2):
        parent.connect()
        old[1].order("BC-PICK-01")
        old[1].take()
    old[1].status(2, capacity=2)
    old[2].greet(8)
    parent.connect()
    old[2].order("BC-PICK-01")
    old[2].take()
    parent.connect()
    old[2].order("BC-PICK-01")
    # slot 0 has 1 of 1, slot 1 has 2 of 2, slot 2 has 1 of 8 and an order for another
    parent.signal(signal.SIGHUP)
    for victim in (0, 2, 1):
        newcomer = parent.stub("BC-RELOAD-01")
        newcomer.greet(1)
        old[victim].drained("BC-RELOAD-11" if victim == 2 else "BC-RELOAD-04")
        if victim == 0:
            for stub in old[1:]:
                stub.quiet("BC-RELOAD-04", "slot 0 has one connection, and was to drain")


@pytest.mark.req("BC-PEND-01", "BC-RELOAD-02")
def test_one_order_for_one_client_during_a_reload(parents: Parents) -> None:
    """A reload is under way, and a newcomer is not READY: each client is still one worker's affair."""
    parent = parents(start=4, min=4, max=4)
    *old, parent.witness = workers(parent, 4)
    for stub in old:
        stub.greet()
    parent.signal(signal.SIGHUP)
    newcomer = parent.stub("BC-RELOAD-01")
    parent.connect()
    old[0].order("BC-RELOAD-02")
    newcomer.hello()
    newcomer.order("BC-HELLO-04")
    parent.connect()
    parent.barrier()
    for stub, orders in ((old[1], 1), (old[2], 0)):
        if "counted" not in parent.manifest.classes:
            orders = 0
        if orders:
            stub.order("BC-RELOAD-02")
        stub.quiet("BC-PEND-01", "two clients wait, and both have an order")
