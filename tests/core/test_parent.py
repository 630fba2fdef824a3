"""The parent's side, one rule at a time. A test's name says the state it begins in and what happens."""

from __future__ import annotations

from itertools import pairwise

import pytest
from backchannel import Accept, Busy, Gone, Idle, Reason, Scaling, Settings, SlotState, encode
from backchannel.frames import Hello
from backchannel_conformance.model import check_trace
from world import World


def world(workers: int = 3, listeners: int = 1, **settings: object) -> World:
    made = World(Settings(**settings), Scaling.fixed(workers), listeners)  # type: ignore[arg-type]
    made.greet_all()
    return made


def state(made: World, slot: int) -> SlotState:
    return made.parent.workers[slot].state


# ------------------------------------------------------------------------------------------- dispatch


def test_lowest_slot_first() -> None:
    made = world()
    made.connect()
    assert made.ordered() == {0: 1}
    made.answer(0)
    made.connect()
    assert made.ordered() == {1: 1}


def test_burst_is_ordered_at_once() -> None:
    made = world()
    made.connect(count=5)
    assert made.ordered() == {0: 1, 1: 1, 2: 1}


def test_no_second_order_for_a_covered_connection() -> None:
    made = world()
    made.connect()
    made.parent.readable(0)
    made.turn()
    assert made.ordered() == {0: 1}


def test_least_loaded_takes_the_smallest_share() -> None:
    made = world(2, capacity=4)
    for expected in (0, 1, 0, 1):
        made.connect()
        assert list(made.ordered()) == [expected]
        made.answer(expected)
    made.end(1)
    made.connect()
    assert list(made.ordered()) == [1]


def test_saturated_then_room_reads_the_queue_again() -> None:
    made = world(1)
    made.connect(count=2)
    made.answer(0)
    assert not made.ordered()
    assert made.parent.to_count() == []
    made.queue[0] = 0  # the waiting client has given up
    made.end(0)
    assert not made.ordered()


def test_max_per_order_is_bounded_by_room_and_by_what_is_pending() -> None:
    made = world(2, capacity=3, max_per_order=8)
    made.connect(count=4)
    assert made.ordered() == {0: 2, 1: 2}
    made.answer(0)
    made.answer(1)
    made.connect(count=9)
    assert made.ordered() == {0: 1, 1: 1}


def test_all_who_could_begin_get_a_share() -> None:
    made = world(3, capacity=100, max_per_order=8)
    made.connect(count=5)
    assert made.ordered() == {0: 2, 1: 2, 2: 1}


def test_listeners_take_turns() -> None:
    made = world(1, listeners=3, capacity=100, max_per_order=1)
    order = []
    made.connect(0, 5)
    made.connect(2, 5)
    for _ in range(6):
        order.append(made.workers[0].orders[0].listener)
        made.answer(0)
    assert order == [0, 2, 0, 2, 0, 2]


def test_short_answer_passes_the_worker_over() -> None:
    made = world()
    made.connect()
    made.queue[0] -= 1
    made.answer(0)  # it found nothing, and the queue was seen empty: nobody is passed over any more
    made.connect()
    assert made.ordered() == {0: 1}
    made.workers[0].orders.clear()
    made.write(0, encode(Busy(3, 0, Reason.EMPTY, 0, 1)))
    assert made.ordered() == {1: 1}


@pytest.mark.parametrize("reason", [Reason.WORKER, Reason.SYSTEM])
def test_resource_failure_rests(reason: Reason) -> None:
    made = world(1)
    made.connect()
    made.workers[0].orders.clear()
    made.write(0, encode(Busy(2, 0, reason, 0, 1)))
    assert not made.ordered()
    assert made.parent.next_deadline() == pytest.approx(0.1)
    made.wait(0.1)
    assert made.ordered() == {0: 1}


def test_system_failure_rests_the_listener_for_all() -> None:
    made = world(2, listeners=2)
    made.connect()
    made.workers[0].orders.clear()
    made.write(0, encode(Busy(2, 0, Reason.SYSTEM, 0, 1)))
    assert not made.ordered()
    made.connect(1)
    assert made.ordered() == {0: 1}


def test_three_short_answers_in_a_row_rest_the_worker() -> None:
    made = world(1)
    made.connect()
    for order in (2, 3, 4):
        assert made.ordered() == {0: 1}
        made.workers[0].orders.clear()
        made.write(0, encode(Busy(order, 0, Reason.EMPTY, 0, 1)))
    assert not made.ordered()
    made.wait(0.1)
    assert made.ordered() == {0: 1}


def test_unusable_listener_drains_the_worker() -> None:
    made = world(2)
    made.connect()
    made.workers[0].orders.clear()
    made.write(0, encode(Busy(2, 0, Reason.UNUSABLE, 0, 1)))
    assert state(made, 0) is SlotState.DRAINING
    assert made.workers[0].drained
    assert made.ordered() == {1: 1}


# -------------------------------------------------------------------------------------------- silence


def test_late_short_answer_passes_the_worker_over_too() -> None:
    # found by the model: a worker without descriptors that is slow besides was ordered again and again, for ever
    made = world(2)
    made.connect()
    made.wait(0.1)  # the order of worker 0 has expired, worker 1 has been ordered
    made.workers[1].orders.clear()
    made.workers[0].orders.clear()
    made.write(0, encode(Busy(2, 0, Reason.EMPTY, 0, 1)))
    assert state(made, 0) is SlotState.READY
    made.write(
        1, encode(Busy(2, 0, Reason.PEER, 0, 1))
    )  # in time, and short as well: now nobody is passed over any more
    assert made.ordered() == {0: 1}
    made.workers[0].orders.clear()
    made.write(0, encode(Busy(3, 0, Reason.EMPTY, 0, 1)))
    assert made.ordered() == {1: 1}


@pytest.mark.parametrize(("reason", "after"), [(Reason.WORKER, SlotState.READY), (Reason.UNUSABLE, SlotState.DRAINING)])
def test_late_answer_with_a_failure_counts_as_one_in_time(reason: Reason, after: SlotState) -> None:
    made = world(1)
    made.connect()
    made.wait(0.1)
    made.workers[0].orders.clear()
    made.write(0, encode(Busy(2, 0, reason, 0, 1)))
    assert state(made, 0) is after
    assert not made.ordered()


def test_void_order_is_ordered_again() -> None:
    made = world()
    made.connect()
    made.wait(0.1)
    assert state(made, 0) is SlotState.SUSPECT
    assert made.ordered() == {0: 1, 1: 1}
    made.answer(1)
    made.answer(0)  # late, and it found nothing
    assert state(made, 0) is SlotState.READY
    counters = made.parent.counters
    assert (counters.orders, counters.accepted, counters.expired, counters.late, counters.short) == (2, 1, 1, 0, 0)


def test_late_answer_counts_what_it_took() -> None:
    made = world()
    made.connect()
    made.wait(0.1)
    made.answer(0)
    assert made.parent.counters.late == 1
    made.answer(1)
    assert made.parent.counters.short == 1
    assert made.parent.workers[0].open == 1
    assert not made.ordered()


def test_void_orders_are_retried_one_at_a_time() -> None:
    made = world(6)
    made.connect(count=3)
    made.wait(0.1)
    assert made.ordered() == {0: 1, 1: 1, 2: 1, 3: 1}
    made.answer(3)
    assert 4 in made.ordered()
    assert 5 not in made.ordered()


def test_arrivals_during_a_retry_are_ordered_at_once() -> None:
    made = world(4)
    made.connect()
    made.wait(0.1)
    made.connect()
    assert made.ordered() == {0: 1, 1: 1, 2: 1}


def test_deadline_doubles_with_each_void_and_falls_back() -> None:
    made = world(3)
    made.connect()
    made.wait(0.1)
    assert made.parent.next_deadline() == pytest.approx(0.3)
    made.answer(1)
    made.connect()
    assert made.parent.next_deadline() == pytest.approx(0.2)


def test_silent_worker_is_killed() -> None:
    made = world()
    made.connect()
    made.wait(0.1)
    made.answer(1)
    made.wait(30)
    assert made.workers[0].killed
    made.exit(0, -9)
    assert state(made, 0) is SlotState.STARTING
    assert not made.workers[0].killed


def test_worker_without_hello_is_killed() -> None:
    made = World()
    made.wait(30)
    assert all(worker.killed for worker in made.workers.values())
    assert state(made, 0) is SlotState.KILLED


# --------------------------------------------------------------------------------------------- deaths


def test_death_with_an_order_orders_another() -> None:
    made = world()
    made.connect()
    made.exit(0, -9)
    assert made.ordered() == {1: 1}
    assert made.parent.counters.dead == 1


def test_eof_with_an_order_orders_another_before_the_exit() -> None:
    made = world()
    made.connect()
    made.parent.eof(0, made.now)
    made.turn()
    assert state(made, 0) is SlotState.LOST
    assert made.ordered() == {0: 1, 1: 1}
    made.wait(5)
    assert made.workers[0].killed


def test_answer_before_death_is_believed() -> None:
    made = world()
    made.connect()
    answer = made.attempt(0)
    made.parent.received(0, answer, made.now)
    made.exit(0, -9)
    assert made.parent.counters.accepted == 1
    assert not made.ordered()


def test_smallest_slot_is_used_again() -> None:
    made = world(4)
    made.exit(2, 1)
    made.wait(2)
    assert sorted(made.workers) == [0, 1, 2, 3]


def test_early_exits_delay_spawning() -> None:
    made = world(1)
    spawned = []
    for _ in range(4):
        made.exit(0, 1)
        before = made.now
        while not made.workers:
            made.wait(0.25)
        spawned.append(made.now - before)
    assert spawned == [1, 2, 4, 8]


def test_status_78_before_anybody_was_ready_gives_up() -> None:
    made = World()
    made.exit(0, 78)
    assert made.gave_up is not None
    assert made.gave_up.status == 78


def test_status_78_later_only_delays() -> None:
    made = world()
    made.exit(0, 78)
    assert made.gave_up is None
    assert 0 not in made.workers


def test_failed_spawn_is_tried_again() -> None:
    made = World(scaling=Scaling.fixed(1))
    del made.workers[0]
    made.parent.spawn_failed(0, "no process", made.now)
    made.turn()
    assert not made.workers
    made.wait(1)
    assert 0 in made.workers
    assert made.parent.counters.spawned == 1


def test_failed_spawn_leaves_no_deadline_to_the_next_worker_of_its_slot() -> None:
    """The next one has as long to start as any other."""
    made = World(scaling=Scaling.fixed(2))
    made.parent.spawn_failed(1, "no memory", made.now)
    del made.workers[1]
    made.turn()
    made.wait(1.0)
    assert sorted(made.workers) == [0, 1]
    made.wait(29.5)
    assert made.workers[0].killed
    assert not made.workers[1].killed, "by the deadline of the one that never was"
    made.wait(0.5)
    assert made.workers[1].killed
    assert made.parent.counters.spawned == 2


def test_suspicion_that_was_dispelled_leaves_no_deadline_to_the_next() -> None:
    made = world(2)
    made.connect()
    made.wait(0.1)
    assert state(made, 0) is SlotState.SUSPECT
    made.wait(0.2)
    assert state(made, 1) is SlotState.SUSPECT
    made.answer(1)
    made.end(1)
    made.wait(25.0)
    made.connect()
    made.wait(0.5)
    assert state(made, 1) is SlotState.SUSPECT
    made.wait(29.0)
    assert state(made, 0) is SlotState.KILLED
    assert state(made, 1) is SlotState.SUSPECT, "killed for the silence that it has broken"
    made.wait(2.0)
    assert state(made, 1) is SlotState.KILLED
    assert check_trace(made.trace) == len(made.trace)


def test_listener_rests_as_long_after_the_second_failure_as_after_the_first() -> None:
    made = world(2)
    made.connect(count=2)
    for slot in (0, 1):
        order = made.workers[slot].orders.pop(0)
        made.write(slot, encode(Busy(order.order, 0, Reason.SYSTEM, 0, 1)))
        made.wait(0.06)
    made.wait(0.03)
    assert not made.ordered(), "the first cool-down has ended the second one"
    made.wait(0.02)
    assert made.ordered()
    assert check_trace(made.trace) == len(made.trace)


def test_spawning_waits_longer_each_time_although_others_serve() -> None:
    """No process for a worker: one note, growing pauses whatever is served meanwhile; then a note with the count."""
    made = World(scaling=Scaling.fixed(2))
    made.greet_all()
    made.exit(1, -9)
    made.notes.clear()
    at = []
    for _ in range(4):
        while 1 not in made.workers:
            made.connect()
            made.answer(0)
            made.end(0)
            made.wait(0.1)
        at.append(made.now)
        del made.workers[1]
        made.parent.spawn_failed(1, "no process", made.now)
        made.turn()
    assert [round(later - earlier) for earlier, later in pairwise(at)] == [1, 2, 4]
    (note,) = made.notes
    assert note.text == "cannot start a worker: no process; trying again, with back-off"
    made.wait(10)
    made.hello(1)
    assert made.notes[-1].text == "workers start again, after 4 failures"


# ------------------------------------------------------------------------------------------ violations


@pytest.mark.parametrize(
    ("data", "requirement"),
    [
        (encode(Busy(9, 0, Reason.FILLED, 0, 1)), "BC-BUSY-06"),
        (encode(Busy(2, 2, Reason.FILLED, 2, 1)), "BC-BUSY-06"),
        (encode(Busy(2, 0, Reason.FILLED, 0, 1)), "BC-BUSY-06"),
        (encode(Busy(2, 1, Reason.EMPTY, 1, 1)), "BC-BUSY-06"),
        (encode(Busy(2, 1, Reason.FILLED, 2, 1)), "BC-STATUS-06"),
        (encode(Gone(1, 1)), "BC-STATUS-06"),
        (encode(Idle(1)), "BC-STATUS-06"),
        (encode(Idle(1 << 21)), "BC-STATUS-07"),
        (encode(Idle(1, Hello(0x10, 0x10, 0))), "BC-HELLO-03"),  # type: ignore[arg-type]
        (encode(Idle(1 << 21, Hello(0x10, 0x10, 0))), "BC-HELLO-03"),  # type: ignore[arg-type]
        (encode(Accept(2, 0, 1)), "BC-FRAME-03"),
        (b"\x20" + bytes(19), "BC-FRAME-03"),
    ],
)
def test_violation_kills_that_worker_and_names_the_rule(data: bytes, requirement: str) -> None:
    made = world()
    made.connect()
    made.write(0, data)
    assert made.workers[0].killed
    assert made.notes[-1].requirement == requirement
    assert made.ordered() == {0: 1, 1: 1}
    assert made.parent.workers[1].state is SlotState.READY
    made.write(0, data)  # nothing more is applied
    assert made.parent.counters.kills == 1


def test_busy_without_an_order() -> None:
    made = world()
    made.write(0, encode(Busy(1, 0, Reason.FILLED, 0, 1)))
    assert made.notes[-1].requirement == "BC-BUSY-06"


def test_capacity_after_the_final_zero() -> None:
    made = world()
    made.write(0, encode(Idle(0)))
    assert made.workers[0].drained
    made.write(0, encode(Idle(1)))
    assert made.notes[-1].requirement == "BC-CAP-03"


def test_channel_that_takes_no_order() -> None:
    made = world()
    made.connect()
    made.parent.send_failed(0, made.now)
    made.turn()
    assert made.workers[0].killed
    assert made.notes[-1].requirement == "BC-KILL-02"
    assert 1 in made.ordered()


@pytest.mark.parametrize(("lowest", "highest"), [(0x11, 0x20), (0x20, 0x20), (0x01, 0x0F)])
def test_no_version_in_common(lowest: int, highest: int) -> None:
    made = World()
    made.hello(0, lowest, highest)
    assert made.workers[0].killed
    assert not made.workers[0].orders
    assert made.gave_up is not None
    assert made.gave_up.status == 76


def test_newer_worker_that_still_speaks_ours() -> None:
    made = World()
    made.hello(0, 0x10, 0x20)
    assert made.workers[0].orders == [Accept(1, 0, 0)]


# ----------------------------------------------------------------------------------------------- stop


def test_stop_serves_the_queue_then_drains() -> None:
    made = world(2)
    made.connect(count=3)
    made.parent.stop(made.now)
    made.turn()
    made.answer(0)
    made.answer(1)
    assert not made.closed
    made.end(0)
    made.answer(0)
    assert made.closed
    assert all(worker.drained for worker in made.workers.values())
    made.exit(0)
    assert not made.parent.finished
    made.exit(1)
    assert made.parent.finished
    assert made.parent.next_deadline() is None


def test_stop_deadline() -> None:
    made = world(1)
    made.connect(count=2)
    made.answer(0)
    made.parent.stop(made.now)
    made.wait(4.9)
    assert not made.closed
    made.wait(0.2)
    assert made.closed
    made.wait(30)
    assert made.workers[0].killed


def test_stop_kills_who_has_not_started() -> None:
    """One that has said nothing and one that owes the answer to its welcome hold nothing (BC-STOP-04)."""
    made = World(scaling=Scaling.fixed(3))
    made.hello(0)
    made.answer(0)
    made.hello(1)
    made.parent.stop(made.now)
    made.turn()
    assert [(worker.drained, worker.killed) for worker in made.workers.values()] == [
        (True, False),
        (False, True),
        (False, True),
    ]
    for slot in range(3):
        made.exit(slot)
    assert made.parent.finished
    assert made.parent.counters.deaths == 0, "nobody died: they were put down"


def test_drained_worker_does_not_count_while_it_exits() -> None:
    """Its channel ends before it exits, and passes go by in between: nobody else is retired in its stead."""
    world = World(scaling=Scaling(start=3, min=2, max=3, min_spare=0, max_spare=1, period=0.1))
    world.greet_all()
    world.wait(0.2)
    (victim,) = [slot for slot, worker in world.workers.items() if worker.drained]
    world.parent.eof(victim, world.now)
    world.wait(1.0)
    assert world.parent.counters.retired == 1
    world.exit(victim)
    world.wait(1.0)
    assert len(world.workers) == 2


def test_deaths_are_those_that_nobody_brought_about() -> None:
    made = World(scaling=Scaling(start=3, min=2, max=3, min_spare=0, max_spare=1, period=0.1))
    made.greet_all()
    made.wait(0.2)
    (drained,) = [slot for slot, worker in made.workers.items() if worker.drained]
    made.exit(drained)
    assert made.parent.counters.deaths == 0
    made.exit(min(made.workers), -9)
    assert made.parent.counters.deaths == 1


def test_idle_pool_sets_no_timer() -> None:
    assert world().parent.next_deadline() is None
