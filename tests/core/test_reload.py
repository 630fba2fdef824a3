"""Reload: a new generation is ready before the old one drains, and one that cannot start replaces nobody."""

from __future__ import annotations

import pytest
from backchannel import VERSION, Busy, Features, Hello, Idle, Reason, Scaling, Settings, SlotState, encode
from world import World


def counting(world: World) -> list[int]:
    """Slots of the workers that count."""
    return sorted(slot for slot, worker in world.parent.workers.items() if worker.state is not SlotState.DRAINING)


def generations(world: World) -> dict[int, int]:
    """The generation of each worker that counts."""
    return {slot: world.parent.workers[slot].generation for slot in counting(world)}


def starting(world: World) -> list[int]:
    """Slots of the workers that are STARTING."""
    return [slot for slot, worker in world.parent.workers.items() if worker.state is SlotState.STARTING]


def ready(world: World, slot: int) -> None:
    world.hello(slot)
    world.answer(slot)


def reload(world: World, *, at_once: bool = False) -> None:
    assert world.parent.reload(world.now, at_once=at_once)
    world.turn()


@pytest.fixture
def world() -> World:
    made = World()
    made.greet_all()
    return made


def test_rolling(world: World) -> None:
    """One newcomer at a time; each makes one old worker drain, the highest slot first while all are idle."""
    reload(world)
    for at, victim in enumerate((2, 1, 0)):
        assert len(counting(world)) == 4
        (newcomer,) = starting(world)
        assert [slot for slot, worker in world.workers.items() if worker.drained] == []
        ready(world, newcomer)
        assert [slot for slot, worker in world.workers.items() if worker.drained] == [victim]
        assert not world.reloads or at == 2
        world.exit(victim)
    assert set(generations(world).values()) == {2}
    assert len(counting(world)) == 3
    (done,) = world.reloads
    assert (done.generation, done.failure) == (2, "")
    world.wait(10)
    assert len(counting(world)) == 3
    assert world.parent.counters.spawned == 6


def test_at_once(world: World) -> None:
    """All newcomers are ready before any old worker drains."""
    reload(world, at_once=True)
    assert counting(world) == [0, 1, 2, 3, 4, 5]
    ready(world, 3)
    ready(world, 5)
    assert not any(worker.drained for worker in world.workers.values())
    ready(world, 4)
    assert [slot for slot, worker in world.workers.items() if worker.drained] == [0, 1, 2]
    assert len(world.reloads) == 1


def test_least_loaded_drains_first() -> None:
    world = World(Settings(capacity=4, policy="lowest"))
    world.greet_all()
    for _ in range(5):
        world.connect()
        for slot in world.ordered():
            world.answer(slot)
    assert {slot: worker.open for slot, worker in world.workers.items()} == {0: 4, 1: 1, 2: 0}
    reload(world)
    for victim in (2, 1, 0):
        newcomer = max(world.workers)
        ready(world, newcomer)
        assert world.workers[victim].drained
    assert world.reloads


def test_held_connections_keep_their_worker_and_count_no_more(world: World) -> None:
    world.connect()
    world.answer(0)
    reload(world)
    for newcomer in (3, 4, 5):
        ready(world, newcomer)
    assert world.reloads
    assert world.parent.workers[0].state is SlotState.DRAINING
    assert counting(world) == [3, 4, 5]
    world.end(0)
    world.exit(0)
    assert world.parent.counters.kills == 0


def test_dispatch_goes_on(world: World) -> None:
    """A connection that comes in the middle goes to the best worker of either generation."""
    reload(world)
    world.connect()
    assert world.ordered() == {0: 1}
    world.answer(0)
    ready(world, 3)
    world.connect()
    assert world.ordered() == {1: 1}


def test_order_under_way_is_answered_before_the_end(world: World) -> None:
    """A worker that drains with an order under way still takes what it was ordered to take."""
    for _ in range(3):
        world.connect()
    reload(world)
    ready(world, 3)
    victim = next(slot for slot, worker in world.workers.items() if worker.drained)
    world.answer(victim)
    assert world.parent.counters.accepted == 1
    assert world.parent.workers[victim].open == 1


@pytest.mark.parametrize("at_once", [False, True])
def test_generation_that_cannot_start(world: World, at_once: bool) -> None:
    """Status 78 ends the reload: the old ones go on, newcomers that replaced nobody drain."""
    reload(world, at_once=at_once)
    newcomers = [slot for slot in counting(world) if slot > 2]
    if at_once:
        ready(world, newcomers[1])
    world.exit(newcomers[0], 78)
    (done,) = world.reloads
    assert "status 78" in done.failure
    assert counting(world) == [0, 1, 2]
    assert generations(world) == {0: 1, 1: 1, 2: 1}
    for slot in newcomers[1:]:
        assert world.workers[slot].drained
        world.exit(slot)
    world.wait(100)
    assert world.parent.counters.spawned == 3 + len(newcomers), "the reload goes on after all"
    assert world.gave_up is None
    # and the next one begins afresh
    reload(world)
    assert set(generations(world).values()) == {1, 3}


def test_nothing_is_tried_again_before_it_is_known_how_a_newcomer_ended(world: World) -> None:
    """Its channel ends a moment before it exits: another of the same broken code would be started in between."""
    reload(world)
    world.parent.eof(3, world.now)
    world.turn()
    assert world.parent.counters.spawned == 4
    world.exit(3, 78)
    assert world.reloads
    assert world.parent.counters.spawned == 4


@pytest.mark.parametrize("at_once", [False, True])
def test_newcomer_that_was_ready_may_leave_with_any_status(world: World, at_once: bool) -> None:
    """The new code can start, as it has shown: what ends one of its workers later does not end the reload."""
    reload(world, at_once=at_once)
    first, *others = starting(world)
    ready(world, first)
    world.exit(first, 78)
    assert not world.reloads
    assert not any(world.workers[slot].drained for slot in others)
    for _ in range(20):
        if world.reloads:
            break
        for slot in starting(world):
            ready(world, slot)
        world.wait(1.0)
    (done,) = world.reloads
    assert not done.failure
    assert set(generations(world).values()) == {2}
    assert len(counting(world)) == 3


@pytest.mark.parametrize("at_once", [False, True])
def test_newcomer_of_another_version_ends_a_reload(world: World, at_once: bool) -> None:
    """It is killed, and taken as if it had exited with 76; its death by the signal changes nothing."""
    reload(world, at_once=at_once)
    first, *others = starting(world)
    world.hello(first, 0x11, 0x12)
    assert world.workers[first].killed
    (done,) = world.reloads
    assert "speaks versions 0x11 to 0x12" in done.failure
    assert all(world.workers[slot].drained for slot in others)
    for slot in (first, *others):
        world.exit(slot, -9)
    world.wait(100)
    assert counting(world) == [0, 1, 2]
    assert len(world.reloads) == 1


def test_old_worker_that_can_never_start_does_not_end_a_reload() -> None:
    """One that was started before the reload says nothing of the new code."""
    world = World(scaling=Scaling.fixed(3))
    for slot in (0, 1):
        ready(world, slot)
    reload(world)
    world.exit(2, 78)
    assert not world.reloads
    (newcomer,) = starting(world)
    ready(world, newcomer)
    assert world.workers[1].drained


def test_newcomer_that_crashes_is_tried_again_later(world: World) -> None:
    reload(world)
    world.exit(3, -11)
    assert counting(world) == [0, 1, 2]
    assert world.parent.next_deadline() == world.now + 1.0
    world.wait(1.0)
    assert counting(world) == [0, 1, 2, 3]
    ready(world, 3)
    assert world.workers[2].drained


def test_newcomer_that_never_starts(world: World) -> None:
    """It is killed at its deadline; the old ones serve meanwhile."""
    reload(world)
    world.hello(3)
    world.wait(30.0)
    assert world.workers[3].killed
    world.connect()
    assert world.ordered() == {0: 1}
    assert not any(worker.drained for worker in world.workers.values())


def test_newcomer_that_retires_before_it_has_replaced_anybody_is_followed_by_another(world: World) -> None:
    """It need not have exited for that."""
    reload(world)
    ready_in_one_pass = [Idle(1, Hello(VERSION, VERSION, Features.NONE)), Busy(1, 0, Reason.FILLED, 0, 1), Idle(0)]
    world.write(3, b"".join(map(encode, ready_in_one_pass)))
    assert world.workers[3].drained
    assert not any(world.workers[slot].drained for slot in (0, 1, 2))
    assert counting(world) == [0, 1, 2, 4]


def test_newcomer_that_was_killed_counts_until_it_has_exited(world: World) -> None:
    """Above *max* there may be one for each worker that is about to be drained (BC-RELOAD-03)."""
    reload(world, at_once=True)
    world.wait(40.0)  # no newcomer starts; the delay that follows is over
    assert all(world.workers[slot].killed for slot in (3, 4, 5))
    assert counting(world) == [0, 1, 2, 3, 4, 5]
    world.exit(3, -9)
    assert counting(world) == [0, 1, 2, 3, 4, 5]
    assert not world.workers[3].killed


def test_old_worker_that_dies_meanwhile_needs_no_newcomer(world: World) -> None:
    reload(world, at_once=True)
    for slot in (0, 1):
        world.exit(slot, -9)
    ready(world, 3)
    ready(world, 4)
    ready(world, 5)
    assert world.workers[2].drained
    assert counting(world) == [3, 4, 5]


def test_all_old_workers_die(world: World) -> None:
    reload(world)
    for slot in (0, 1, 2):
        world.exit(slot, -9)
    world.wait(20)
    assert not world.reloads
    for slot in starting(world):
        ready(world, slot)
    assert world.reloads
    assert set(generations(world).values()) == {2}


@pytest.mark.parametrize("at_once", [False, True])
def test_reload_during_reload(world: World, at_once: bool) -> None:
    """The one under way is cut short: its newcomers have replaced nobody, and drain."""
    reload(world, at_once=at_once)
    if at_once:
        ready(world, 3)
    reload(world, at_once=at_once)
    cut = [slot for slot, worker in world.parent.workers.items() if worker.generation == 2]
    assert cut
    assert all(world.workers[slot].drained for slot in cut)
    for _ in range(3):
        for slot in starting(world):
            ready(world, slot)
    assert [done.generation for done in world.reloads] == [3]
    assert set(generations(world).values()) == {3}
    assert len(counting(world)) == 3


def test_nobody_is_retired_meanwhile() -> None:
    """Spare above max_spare waits until the reload is over."""
    world = World(scaling=Scaling(start=3, min=1, max=3, min_spare=0, max_spare=3))
    world.greet_all()
    reload(world)
    ready(world, 3)
    world.wait(10)
    assert world.parent.counters.retired == 0
    ready(world, 4)
    ready(world, 5)
    assert world.reloads
    assert world.parent.counters.retired == 0


def test_surplus_is_retired_afterwards() -> None:
    world = World(scaling=Scaling(start=3, min=1, max=3, min_spare=0, max_spare=1))
    reload(world)
    world.greet_all()
    world.wait(10)
    assert world.parent.counters.retired == 0
    for newcomer in (4, 5):
        ready(world, newcomer)
    assert world.reloads
    world.wait(10)
    assert world.parent.counters.retired == 2


def test_stop_ends_a_reload(world: World) -> None:
    reload(world)
    world.parent.stop(world.now)
    world.turn()
    newcomer = max(world.workers)
    assert {slot: worker.drained for slot, worker in world.workers.items()} == {
        slot: slot != newcomer for slot in world.workers
    }
    assert world.workers[newcomer].killed, "it had not started (BC-STOP-04)"
    assert not world.parent.reload(world.now)
    world.wait(100)
    assert world.parent.counters.spawned == 4


def test_drained_worker_does_not_count_again_when_its_channel_ends(world: World) -> None:
    """It is LOST then, and a worker that dies meanwhile is replaced all the same."""
    reload(world, at_once=True)
    for slot in (3, 4, 5):
        ready(world, slot)
    for slot in (0, 1, 2):
        world.parent.eof(slot, world.now)
    world.turn()
    world.exit(3, -9)
    world.wait(1.0)
    assert len(starting(world)) == 1


def test_reload_that_has_ended_waits_for_no_newcomer() -> None:
    """One newcomer exits early, so the next is delayed; meanwhile another one ends the reload. Nothing is to come then,
    and a parent with nothing to do does not wake.
    """
    world = World(scaling=Scaling.fixed(2))
    world.greet_all()
    world.wait(100.0)
    reload(world, at_once=True)
    world.exit(2, 1)
    world.exit(3, 78)
    assert world.reloads[0].failure
    assert world.parent.next_deadline() is None
