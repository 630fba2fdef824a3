"""Things that happen several times in a row: what belongs to one series, and what breaks it."""

from __future__ import annotations

import pytest
from backchannel import Busy, Reason, Scaling, Settings, encode
from world import World


def world(workers: int = 1, listeners: int = 1, *, capacity: int = 1) -> World:
    made = World(Settings(capacity=capacity), Scaling.fixed(workers), listeners)
    made.greet_all()
    return made


def fall_short(world: World, slot: int, listener: int) -> None:
    """The worker in ``slot`` says that nothing is pending on ``listener``, for which it was ordered."""
    worker = world.workers[slot]
    order = worker.orders.pop(0)
    assert order.listener == listener
    world.write(slot, encode(Busy(order.order, 0, Reason.EMPTY, worker.open, worker.capacity)))


@pytest.mark.parametrize("edges", [True, False])
def test_an_idle_listener_forgives_nothing_of_a_busy_one(edges: bool) -> None:
    """Listener 1 is seen empty after each answer. If that broke the series of listener 0, the two would spin for ever:
    an order, nothing taken, the next order.
    """
    made = world(listeners=2)
    made.parent.edges = edges
    made.connect(0)
    for _ in range(3):
        made.parent.readable(1)
        made.turn()
        fall_short(made, 0, 0)
    assert not made.ordered(), "it did not cool down"
    made.wait(0.1)
    assert made.ordered() == {0: 1}


def test_each_listener_has_a_series_of_its_own() -> None:
    """Two short answers for one listener and one for the other are not three in a row."""
    made = world(listeners=2)
    made.queue[:] = [1, 1]
    for listener in (0, 1):
        made.parent.readable(listener)
    made.turn()
    for listener in (0, 1, 0):
        fall_short(made, 0, listener)
    assert made.ordered(), "it cools down"
    for listener in (1, 0):
        fall_short(made, 0, listener)
    assert not made.ordered(), "three for listener 0, and it did not cool down"


def test_who_accepts_for_one_listener_begins_anew_for_all() -> None:
    made = world(listeners=2, capacity=4)
    made.queue[:] = [1, 1]
    for listener in (0, 1):
        made.parent.readable(listener)
    made.turn()
    for listener in (0, 1, 0):
        fall_short(made, 0, listener)
    made.answer(0)  # for listener 1
    fall_short(made, 0, 0)
    assert made.ordered() == {0: 1}, "it cools down, though it has accepted something since"


def test_answer_to_the_welcome_breaks_no_series_of_voids() -> None:
    """The welcome cannot expire, so an answer to it says nothing of orders; not even from a worker that was
    drained meanwhile.
    """
    made = world(2)
    assert made.parent.reload(made.now)
    made.turn()
    made.hello(2)  # and does not answer the welcome yet
    made.connect()
    made.wait(0.1)
    assert made.parent.counters.expired == 1
    assert made.ordered() == {0: 1, 1: 1}
    assert made.parent.reload(made.now)  # the first newcomer has replaced nobody, and is drained
    made.turn()
    assert made.workers[2].drained
    made.answer(2)
    made.hello(3)
    made.answer(3)
    made.wait(0.2)
    assert made.parent.counters.expired == 2
    assert made.ordered() == {0: 1, 1: 1, 3: 1}
    made.wait(0.35)
    assert made.parent.counters.expired == 2, "the deadline was not the one after two expired orders, 0.4 s"
    made.wait(0.1)
    assert made.parent.counters.expired == 3


def test_a_crash_loop_ends_with_a_worker_that_has_outlived_it_and_is_gone_again() -> None:
    """BC-SCALE-12: that nobody looked while it was there makes no difference."""
    pool = World(Settings(), Scaling.fixed(1))
    pool.exit(0, 1)  # the first early exit: 1 s
    pool.wait(1.0)
    pool.greet_all()
    pool.wait(6.0)
    pool.exit(0, 1)  # no early exit
    assert not pool.workers[0].killed
    pool.exit(0, 1)  # an early exit, and again the first: not 2 s
    assert pool.parent.next_deadline() == pool.now + 1.0


@pytest.mark.parametrize("reason", [Reason.SYSTEM, Reason.UNUSABLE])
def test_the_last_short_answer_of_a_series_has_its_own_consequence_besides(reason: Reason) -> None:
    """The worker cools down (BC-SHORT-02). The listener does, too, or the worker is drained (BC-SHORT-03, -04)."""
    pool = world(1)
    pool.queue[0] = 1
    pool.connect()
    for number, said in enumerate([Reason.EMPTY, Reason.EMPTY, reason], 2):
        del pool.workers[0].orders[:]
        pool.write(0, encode(Busy(number, 0, said, 0, 1)))
    assert pool.parent.workers[0].cooling
    assert pool.parent.backlogs[0].cooling == (reason is Reason.SYSTEM)
    assert pool.workers[0].drained == (reason is Reason.UNUSABLE)
