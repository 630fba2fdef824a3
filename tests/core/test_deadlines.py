"""A worker has one entry among the deadlines, and still each of its orders has a deadline of its own."""

from __future__ import annotations

import pytest
from backchannel import Scaling, Settings, SlotState
from world import World


def world(**settings: float) -> World:
    made = World(Settings(**settings), Scaling.fixed(1))  # type: ignore[arg-type]
    made.greet_all()
    return made


def serve(made: World) -> None:
    made.connect()
    made.answer(0)
    made.end(0)


def test_deadlines_do_not_pile_up_however_far_off_they_are() -> None:
    made = world(order_deadline=1000.0)
    for _ in range(500):
        serve(made)
    # what is over goes when it comes to the top: nothing is left but the last start deadline, perhaps
    assert len(made.parent._deadlines) <= 2


def test_orders_in_flight_do_not_pile_up_either() -> None:
    made = World(Settings(capacity=1000, order_deadline=1000.0), Scaling.fixed(2))
    made.greet_all()
    made.connect()  # one order stays unanswered: its entry may come to the top
    for _ in range(500):
        made.connect()
        made.answer(1)
    assert len(made.parent._deadlines) <= 4


def test_the_deadline_is_that_of_the_order_under_way() -> None:
    made = world()
    made.connect()
    made.now = 0.05
    made.answer(0)
    made.end(0)
    made.now = 0.06
    made.connect()
    assert made.parent.next_deadline() == pytest.approx(0.16)
    made.wait(0.09)
    assert made.parent.workers[0].state is SlotState.READY
    made.wait(0.02)
    assert made.parent.workers[0].state is SlotState.SUSPECT


def test_a_worker_can_be_late_again() -> None:
    made = world()
    for _ in range(3):
        made.connect()
        made.wait(0.2)
        assert made.parent.workers[0].state is SlotState.SUSPECT
        made.answer(0)
        made.end(0)
        assert made.parent.workers[0].state is SlotState.READY
        serve(made)  # in time: the deadline falls back


def test_a_deadline_that_has_fallen_back_comes_before_the_entry_of_an_earlier_order() -> None:
    made = World(Settings(), Scaling.fixed(2))
    made.greet_all()
    made.connect()
    made.wait(0.1)  # worker 0 has expired; its connection is ordered again, of worker 1, with a doubled deadline
    assert made.parent.next_deadline() == pytest.approx(0.3)
    made.now = 0.11
    made.answer(1)
    made.end(1)  # in time
    made.connect()
    assert made.ordered().get(1) == 1
    assert made.parent.next_deadline() == pytest.approx(0.21)
