"""Parent replacement: the old parent orders nothing any more before the new one may begin."""

from __future__ import annotations

import pytest
from backchannel import PoolState, Settings
from world import World


@pytest.fixture
def world() -> World:
    made = World()
    made.greet_all()
    return made


def hand_over(world: World) -> None:
    assert world.parent.hand_over(world.now)
    world.turn()


def test_idle_parent_hands_over_at_once(world: World) -> None:
    hand_over(world)
    assert world.released
    assert world.closed
    assert all(worker.drained for worker in world.workers.values())
    for slot in list(world.workers):
        world.exit(slot)
    assert world.parent.finished


def test_order_under_way_is_waited_for(world: World) -> None:
    world.connect()
    hand_over(world)
    assert not world.released
    world.connect()
    assert world.ordered() == {0: 1}, "an order after the hand-over has begun"
    assert world.parent.to_count() == []
    assert not world.parent.watching(0)
    world.answer(0)
    assert world.released
    assert world.queue == [1], "the second connection is the successor's"


def test_silent_worker_delays_the_baton_by_its_deadline() -> None:
    world = World(Settings(order_deadline=0.5))
    world.greet_all()
    world.connect()
    hand_over(world)
    world.wait(0.4)
    assert not world.released
    world.wait(0.2)
    assert world.released


def test_death_of_the_ordered_worker_ends_its_order(world: World) -> None:
    world.connect()
    hand_over(world)
    world.exit(0, -9)
    assert world.released
    world.wait(100)
    assert world.parent.counters.spawned == 3, "a worker was spawned after the hand-over"


def test_successor_orders_nothing_before_the_baton_ends() -> None:
    world = World(standby=True)
    world.greet_all()
    assert world.parent.state is PoolState.STANDBY
    world.connect()
    world.wait(100)
    assert world.ordered() == {}
    assert world.parent.to_count() == []
    world.parent.take_over(world.now)
    world.turn()
    assert world.ordered() == {0: 1}, "what had been pending was not found"


def test_successor_that_is_stopped_before_it_began() -> None:
    world = World(standby=True)
    world.greet_all()
    world.parent.stop(world.now)
    world.turn()
    assert world.closed
    assert all(worker.drained for worker in world.workers.values())


def test_only_a_running_parent_hands_over(world: World) -> None:
    world.parent.stop(world.now)
    assert not world.parent.hand_over(world.now)
    assert not World(standby=True).parent.hand_over(0.0)


def test_stop_during_the_hand_over_changes_nothing(world: World) -> None:
    world.connect()
    hand_over(world)
    world.parent.stop(world.now)
    world.turn()
    assert not world.released
    world.answer(0)
    assert world.released
