"""Parent replacement: the old parent orders nothing any more before the new one may begin."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from backchannel import ParentState, Scaling, Settings
from backchannel.states import PARENT, ParentEvent
from world import World


@pytest.fixture
def world() -> World:
    made = World()
    made.greet_all()
    return made


def hand_over(world: World) -> None:
    assert world.parent.hand_over()
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
    assert world.parent.state is ParentState.STANDBY
    world.connect()
    world.wait(100)
    assert world.ordered() == {}
    assert world.parent.to_count() == []
    world.parent.take_over()
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
    assert not world.parent.hand_over()
    assert not World(standby=True).parent.hand_over()


def test_stop_during_the_hand_over_stops_this_parent(world: World) -> None:
    """There will be no successor: what is pending is served here, and the baton is not given away."""
    world.connect()
    hand_over(world)
    world.connect()
    world.parent.stop(world.now)
    world.turn()
    assert world.parent.state is ParentState.STOPPING
    assert world.ordered() == {0: 1, 1: 1}
    world.answer(0)
    world.answer(1)
    assert not world.released
    assert world.closed
    assert world.parent.state is ParentState.DRAINING


def test_successor_that_was_stopped_takes_nothing_over() -> None:
    """It waits for a worker to go when the old parent's end frees the baton."""
    world = World(standby=True)
    world.greet_all()
    world.parent.stop(world.now)
    world.turn()
    assert not world.parent.take_over()
    assert world.parent.state is ParentState.DRAINING


def test_no_worker_is_replaced_during_the_hand_over(world: World) -> None:
    """But as soon as it is over without a successor."""
    world.connect()
    hand_over(world)
    world.exit(2, -9)
    world.wait(0.05)
    assert world.parent.counters.spawned == 3
    assert world.parent.keep()
    world.wait(10)
    assert world.parent.counters.spawned == 4


def test_nobody_is_retired_during_the_hand_over() -> None:
    """Though there is far too much spare, and many passes are due while an order is waited for."""
    world = World(Settings(order_deadline=100.0), Scaling(start=4, min=1, max=4, min_spare=0, max_spare=1))
    world.greet_all()
    world.connect()
    hand_over(world)
    retired = [worker.slot for worker in world.workers.values() if worker.drained]
    world.wait(5)
    assert not world.released
    assert [worker.slot for worker in world.workers.values() if worker.drained] == retired


def test_reload_goes_on_when_there_is_no_successor(world: World) -> None:
    """It is neither forgotten nor begun anew, and the pool may retire workers again when it is over."""
    assert world.parent.reload(world.now)
    world.turn()
    world.connect()
    hand_over(world)
    world.hello(3)
    world.answer(3)
    assert not any(worker.drained for worker in world.workers.values())
    assert world.parent.keep()
    world.turn()
    assert [slot for slot, worker in world.workers.items() if worker.drained] == [2]
    for slot in (4, 5):
        world.hello(slot)
        world.answer(slot)
    assert not world.reloads, "an old worker may still accept by its order"
    world.wait(1)
    assert [done.failure for done in world.reloads] == [""]
    assert world.parent.generation == 2


def inputs(world: World) -> dict[ParentEvent, Callable[[], object]]:
    """What tells a parent of each event that comes from outside."""
    parent = world.parent
    return {
        ParentEvent.BATON: parent.take_over,
        ParentEvent.HAND_OVER: parent.hand_over,
        ParentEvent.KEEP: parent.keep,
        ParentEvent.RELOAD: lambda: parent.reload(world.now),
        ParentEvent.STOP: lambda: parent.stop(world.now),
    }


def in_state(state: ParentState) -> World:
    """A world whose parent is in ``state``, with an order unanswered where it has any."""
    world = World(standby=state is ParentState.STANDBY)
    world.greet_all()
    world.connect()
    match state:
        case ParentState.YIELDING:
            hand_over(world)
        case ParentState.STOPPING:
            world.parent.stop(world.now)
        case ParentState.DRAINING:
            world.parent.stop(world.now)
            world.turn()
            world.answer(0)
    world.turn()
    assert world.parent.state is state
    return world


@pytest.mark.parametrize("event", list(inputs(World())), ids=lambda event: event.value)
@pytest.mark.parametrize("state", list(ParentState), ids=lambda state: state.value)
def test_table_of_the_parent(state: ParentState, event: ParentEvent) -> None:
    """Each event in each state: it leads where the table says, or does nothing at all."""
    world = in_state(state)
    after = PARENT[state][event]
    said = inputs(world)[event]()
    assert world.parent.state is (after or state)
    if after is None:
        assert not said
        assert world.parent.take_actions() == []
        before = len(world.trace)
        world.turn()
        assert not any('"out"' in line for line in world.trace[before:])


@pytest.mark.parametrize("state", list(ParentState), ids=lambda state: state.value)
def test_only_a_running_parent_starts_a_successor(state: ParentState) -> None:
    assert in_state(state).parent.may_replace is (state is ParentState.RUNNING)


def test_second_stop_does_not_begin_the_time_anew() -> None:
    world = World(Settings(order_deadline=30.0, stop_deadline=5.0))
    world.greet_all()
    world.connect()
    world.parent.stop(world.now)
    world.wait(4.0)
    world.parent.stop(world.now)
    world.wait(0.9)
    assert not world.closed
    world.wait(0.2)
    assert world.closed
