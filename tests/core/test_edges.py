"""Where arrivals make edges, an order that was filled needs no count; everything else does."""

from __future__ import annotations

import pytest
from backchannel import Scaling, Settings
from world import World


def world(workers: int = 2, **settings: int) -> World:
    made = World(Settings(**settings), Scaling.fixed(workers))
    made.greet_all()
    made.parent.edges = True
    return made


def test_a_filled_order_that_left_nothing_needs_no_count() -> None:
    made = world()
    made.connect()
    made.parent.received(0, made.attempt(0), made.now)
    assert made.parent.to_count() == []


def test_without_edges_it_is_counted() -> None:
    made = world()
    made.parent.edges = False
    made.connect()
    made.parent.received(0, made.attempt(0), made.now)
    assert made.parent.to_count() == [0]


def test_what_was_left_is_counted_when_room_returns() -> None:
    made = world(workers=1)
    made.connect(count=3)
    made.answer(0)
    made.end(0)
    assert made.ordered() == {0: 1}
    made.answer(0)
    made.end(0)
    assert made.ordered() == {0: 1}


def test_what_was_counted_while_an_order_was_unanswered_is_counted_again() -> None:
    """The worker had accepted and not yet told: the connection that was counted then looked in flight, and was not."""
    made = world()
    made.connect()
    answer = made.attempt(0)
    made.connect()
    assert made.ordered() == {}
    made.write(0, answer)
    assert made.ordered() == {1: 1}


def test_reports_may_wait_only_while_all_that_was_counted_has_an_order_of_its_own() -> None:
    made = world()
    assert not made.parent.reports_can_wait
    made.connect()
    assert made.parent.reports_can_wait
    answer = made.attempt(0)
    made.connect()
    assert not made.parent.reports_can_wait
    made.write(0, answer)
    assert (
        made.parent.reports_can_wait is False
    )  # the count was read while nothing was in flight, but no worker is free now
    made.end(0)
    assert made.parent.reports_can_wait


@pytest.mark.parametrize("how", ["short", "expired", "death"])
def test_an_order_that_was_not_filled_is_counted(how: str) -> None:
    made = world()
    made.connect()
    if how == "short":
        made.queue[0] = 0
        made.parent.received(0, made.attempt(0), made.now)
    elif how == "expired":
        made.now += 0.2
        made.parent.judge(made.now)
    else:
        made.parent.eof(0, made.now)
    assert made.parent.to_count() == [0]


def test_a_worker_is_passed_over_until_the_queue_is_seen_empty() -> None:
    made = world()
    made.connect(count=2)
    made.queue[0] = 1
    made.answer(1)
    made.answer(0)  # short: passed over, and the queue was seen empty
    made.end(1)
    made.connect()
    assert made.ordered() == {0: 1}


def test_a_stop_sees_the_queue_empty_before_it_drains() -> None:
    made = world()
    made.connect()
    made.parent.stop(made.now)
    made.turn()
    assert not made.closed
    made.answer(0)
    assert made.closed


def test_where_no_watch_was_armed_all_are_counted_when_room_returns() -> None:
    """No worker had room, so no level-triggered watch told of what came to the other listener."""
    made = World(Settings(), Scaling.fixed(1), listeners=2)
    made.greet_all()
    made.connect(0)
    made.queue[:] = [2, 2]
    made.answer(0)
    served = []
    while sum(made.queue):
        made.end(0)
        (order,) = made.workers[0].orders
        served.append(order.listener)
        made.answer(0)
    assert served == [1, 0, 1]


def test_a_stop_counts_every_listener_where_no_edge_tells() -> None:
    """A client comes to one listener while the last order of the other is under way: it is served before the drain."""
    made = World(Settings(), Scaling.fixed(1), listeners=2)
    made.greet_all()
    made.connect(1)
    made.answer(0)
    made.queue[0] = 1
    made.parent.stop(made.now)
    made.turn()
    made.end(0)
    (order,) = made.workers[0].orders
    assert order.listener == 0
    made.queue[1] = 1  # nobody has room, so no watch is armed that could tell
    made.answer(0)
    assert not made.closed
    made.end(0)
    (order,) = made.workers[0].orders
    assert order.listener == 1
    made.answer(0)
    assert made.closed
