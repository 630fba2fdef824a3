"""The parts of the parent, each by itself: what it needs is passed in, and what it does can be seen."""

from __future__ import annotations

from backchannel import Busy, Counters, Reason, Scaling, Send, Settings, SlotState, Spawn
from backchannel.actions import Action, HalfClose, Kill, Note, Reloaded
from backchannel.backlog import Backlog
from backchannel.deadlines import Deadline, Deadlines, Kind
from backchannel.dispatch import Dispatch
from backchannel.failures import Failures
from backchannel.lifecycle import DEADLINES, Lifecycle
from backchannel.reload import Reload
from backchannel.sizing import Sizing
from backchannel.slots import Slots, Worker
from backchannel.states import SLOT, SlotEvent


def test_a_deadline_is_put_off_and_cancelled_by_itself() -> None:
    deadlines, first, second = Deadlines(), Deadline(Kind.ORDER, 0), Deadline(Kind.ORDER, 1)
    deadlines.set(first, 5.0)
    deadlines.set(second, 3.0)
    deadlines.set(second, 7.0)
    assert len(deadlines) == 2
    assert deadlines.next() == 5.0
    first.when = None
    assert deadlines.next() == 7.0
    deadlines.set(second, 4.0)
    deadlines.set(second, 7.0)
    assert list(deadlines.passed(6.9)) == []
    assert deadlines.overdue(6.9) == set()
    assert deadlines.overdue(7.0) == {1}, "the slot of the second"
    assert list(deadlines.passed(7.0)) == [second], "once, although it had two entries"
    assert deadlines.next() is None
    assert len(deadlines) == 0


def test_the_smallest_number_is_used_again() -> None:
    slots = Slots()
    first, second, _third = (slots.add(0.0, 1) for _ in range(3))
    slots.remove(second)
    slots.remove(first)
    assert [slots.add(1.0, 1).slot for _ in range(3)] == [0, 1, 3]
    assert sorted(slots.workers) == [0, 1, 2, 3]


class Lives:
    """A lifecycle, and who was told of what."""

    def __init__(self) -> None:
        self.actions: list[Action] = []
        self.deadlines = Deadlines()
        self.counters = Counters()
        self.changed: list[tuple[int, SlotState]] = []
        self.lives = Lifecycle(Settings(), self.deadlines, self.counters, self.actions, self.tell)

    def tell(self, worker: Worker) -> None:
        self.changed.append((worker.slot, worker.state))


def test_a_life() -> None:
    made = Lives()
    worker = made.lives.spawn(1, 10.0)
    assert made.deadlines.next() == 40.0
    made.lives.step(worker, SlotEvent.HELLO, 11.0)
    assert made.deadlines.next() == 40.0, "a hello does not put it off"
    made.lives.welcomed(worker, 12.0)
    assert made.deadlines.next() is None
    assert made.lives.ever_ready == 1
    made.lives.drain(worker, 20.0)
    assert made.deadlines.next() == 50.0
    made.lives.lose(worker, 21.0)
    assert made.deadlines.next() == 26.0
    assert made.lives.kill_late(worker, 26.0) is SlotEvent.EXIT_DEADLINE
    made.lives.exit(worker, 27.0)
    assert made.deadlines.next() is None
    assert not made.lives.workers
    assert [type(action) for action in made.actions] == [Spawn, HalfClose, Note, Kill]
    assert [state for _, state in made.changed] == [
        SlotState.STARTING,
        SlotState.DRAINING,
        SlotState.LOST,
        SlotState.KILLED,
        SlotState.EXITED,
    ]


def test_the_states_that_end_by_a_deadline_are_those_of_the_table() -> None:
    ends = {SlotEvent.START_DEADLINE, SlotEvent.SILENCE_DEADLINE, SlotEvent.DRAIN_DEADLINE}
    ends.add(SlotEvent.EXIT_DEADLINE)
    assert {state: event for state, events in SLOT.items() for event in ends & events.keys()} == {
        state: event for state, (_setting, event) in DEADLINES.items()
    }


def test_dispatch_alone() -> None:
    settings, counters, deadlines = Settings(capacity=4, max_per_order=2), Counters(), Deadlines()
    actions: list[Action] = []
    changed: list[Worker] = []
    backlogs = [Backlog(Deadline(Kind.LISTENER_COOL_DOWN, listener)) for listener in range(2)]
    workers = {slot: Worker(slot, 0.0, state=SlotState.READY, capacity=4) for slot in range(2)}

    def tell(worker: Worker) -> None:
        changed.append(worker)
        dispatch.changed(worker)

    dispatch = Dispatch(settings, workers, backlogs, deadlines, counters, actions, tell)
    for worker in workers.values():
        dispatch.changed(worker)
    assert dispatch.to_count(to_the_end=False) == [0, 1]
    dispatch.order({0: 1, 1: 9}, 1.0)
    assert [action.slot for action in actions if isinstance(action, Send)] == [0, 1]
    assert changed == [workers[0], workers[1]]
    orders = [worker.order for worker in workers.values() if worker.order]
    assert [(order.listener, order.max) for order in orders] == [(0, 1), (1, 2)]
    assert dispatch.in_flight == 3
    assert deadlines.next() == 1.1
    dispatch.expired(workers[0])
    assert dispatch.in_flight == 2
    assert not dispatch.answered(workers[1], Busy(1, 0, Reason.SYSTEM, 0, 4), 1.2)
    assert dispatch.in_flight == 0
    assert dispatch.to_count(to_the_end=False) == [0], "listener 1 cools down"
    workers[0].state = SlotState.KILLED
    dispatch.changed(workers[0])
    assert workers[0].order is None
    assert counters == Counters(orders=3, expired=1, short=2)


def test_a_reload_alone() -> None:
    made = Lives()
    old = made.lives.spawn(1, 0.0)
    sizing = Sizing(Scaling.fixed(1), 1, made.lives.workers)
    reload = Reload(made.lives, sizing, made.actions)
    made.lives.welcomed(old, 0.0)
    reload.begin(1.0, at_once=False)
    reload.proceed(1.0)
    new = made.lives.workers[1]
    assert (old.state, new.state, new.generation) == (SlotState.READY, SlotState.STARTING, 2)
    made.lives.welcomed(new, 2.0)
    reload.changed(new)
    order = old.new_order(0, 1)
    reload.proceed(2.0)
    assert (old.state, new.state) == (SlotState.DRAINING, SlotState.READY)
    assert not reload.active
    # it may still accept whoever connects now, and would serve them with old code
    reload.tell()
    assert Reloaded(2) not in made.actions
    order.expired = True
    reload.tell()
    assert made.actions[-1] == Reloaded(2)
    assert not reload.untold


def test_failures_alone() -> None:
    made = Lives()
    sizing = Sizing(Scaling.fixed(2), 1, made.lives.workers)
    reload = Reload(made.lives, sizing, made.actions)
    failures = Failures(Scaling.fixed(2), made.lives, sizing, reload, made.counters, made.actions)
    failures.could_not_start(made.lives.spawn(1, 0.0), "no process", 0.0)
    assert made.counters.spawned == 0
    failures.exited(made.lives.spawn(1, 0.0), 1, 0.5)
    assert made.counters.deaths == 1
    assert sizing.not_before == 1.5
