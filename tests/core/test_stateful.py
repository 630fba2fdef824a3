"""Whatever clients, workers and time do, the promises hold after every step.

The machine plays the world: connections come, workers answer early, late or never, report, flood, die and are
replaced; the parent reloads, hands over, takes over, stops. In the end its trace is replayed by the suite's model,
which must come to each decision by itself. After each step no more is in flight than pending, no worker is overfilled,
the pool is within its bounds, and the counters add up.
"""

from __future__ import annotations

from backchannel import VERSION, Busy, Reason, Scaling, Settings, SlotState, encode
from backchannel.states import ParentState
from backchannel_conformance.model import check_trace
from effort import at_least
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from world import FakeWorker, World

READING = (SlotState.STARTING, SlotState.READY, SlotState.SUSPECT, SlotState.DRAINING)


class Pool(RuleBasedStateMachine):
    """A random walk through the world."""

    world: World

    @initialize(
        capacity=st.integers(1, 3),
        listeners=st.integers(1, 3),
        most=st.integers(1, 3),
        policy=st.sampled_from(["lowest", "least-loaded"]),
        edges=st.booleans(),
        greeted=st.booleans(),
        standby=st.integers(0, 4),
        fixed=st.booleans(),
    )
    def begin(
        self,
        capacity: int,
        listeners: int,
        most: int,
        policy: str,
        edges: bool,
        greeted: bool,
        standby: int,
        fixed: bool,
    ) -> None:
        self.scaling = Scaling(start=2, min=1, max=9, min_spare=1, max_spare=2 * capacity, max_draining=2)
        if fixed:
            self.scaling = Scaling.fixed(3)
        settings = Settings(capacity=capacity, max_per_order=most, policy=policy)
        self.world = World(settings, self.scaling, listeners, standby=standby == 4)
        self.world.parent.edges = edges
        if greeted:
            self.world.greet_all()
        self.unseen: set[int] = set()
        """Listeners with an edge that the parent has not read yet."""
        self.held: dict[FakeWorker, tuple[int, int, bytes]] = {}
        """Workers that have accepted and whose answer the parent has not read: listener, how many, the answer."""
        self.accepted_at_order: dict[int, int] = {}

    def some(self, data: st.DataObject, fit: object) -> FakeWorker | None:
        living = self.world.workers.values()
        self.held = {worker: answer for worker, answer in self.held.items() if worker in living and not worker.killed}
        fitting = [worker for worker in living if worker not in self.held and fit(worker)]  # type: ignore[operator]
        return data.draw(st.sampled_from(fitting)) if fitting else None

    def state(self, worker: FakeWorker) -> SlotState:
        return self.world.parent.workers[worker.slot].state

    @rule(data=st.data(), count=st.integers(1, 4))
    def connect(self, data: st.DataObject, count: int) -> None:
        if not self.world.closed:
            self.world.connect(data.draw(st.integers(0, len(self.world.queue) - 1)), count)

    @rule(data=st.data(), count=st.integers(1, 4))
    def arrive(self, data: st.DataObject, count: int) -> None:
        """Connections come while the parent is about other things."""
        if not self.world.closed:
            listener = data.draw(st.integers(0, len(self.world.queue) - 1))
            self.world.queue[listener] += count
            self.unseen.add(listener)

    @rule()
    def read_edges(self) -> None:
        for listener in self.unseen:
            self.world.parent.readable(listener)
        self.unseen.clear()
        self.world.turn()

    @rule(data=st.data())
    def hello(self, data: st.DataObject) -> None:
        worker = self.some(data, lambda w: not w.killed and not self.world.parent.workers[w.slot].greeted)
        if worker:
            self.world.hello(worker.slot)

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        worker = self.some(data, lambda w: w.orders and self.state(w) in READING)
        if worker:
            self.world.answer(worker.slot)

    @rule(
        data=st.data(),
        reason=st.sampled_from([Reason.EMPTY, Reason.PEER, Reason.WORKER, Reason.SYSTEM, Reason.UNUSABLE]),
    )
    def fall_short(self, data: st.DataObject, reason: Reason) -> None:
        worker = self.some(data, lambda w: w.orders and w.orders[0].max and self.state(w) in READING)
        if worker:
            order = worker.orders.pop(0)
            self.world.write(worker.slot, encode(Busy(order.order, 0, reason, worker.open, worker.capacity)))

    @rule(data=st.data())
    def accept(self, data: st.DataObject) -> None:
        """A worker accepts; its answer is under way."""
        worker = self.some(data, lambda w: w.orders and w.orders[0].max and self.state(w) in READING)
        if worker:
            listener, before = worker.orders[0].listener, worker.open
            answer = self.world.attempt(worker.slot)
            self.held[worker] = listener, worker.open - before, answer

    @rule()
    def read_answers(self) -> None:
        held, self.held = self.held, {}
        for worker, (_, _, answer) in held.items():
            if self.world.workers.get(worker.slot) is worker and self.state(worker) in READING:
                self.world.write(worker.slot, answer)

    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        worker = self.some(data, lambda w: w.open and not w.orders and self.state(w) in READING)
        if worker:
            self.world.end(worker.slot)

    @rule(data=st.data())
    def retire(self, data: st.DataObject) -> None:
        worker = self.some(
            data, lambda w: w.capacity and not w.orders and not w.drained and self.state(w) is SlotState.READY
        )
        if worker:
            worker.capacity = 0
            self.world.end(worker.slot, 0)

    @rule(data=st.data(), raw=st.binary(min_size=20, max_size=60))
    def flood(self, data: st.DataObject, raw: bytes) -> None:
        worker = self.some(data, lambda w: self.state(w) in READING)
        if worker:
            self.world.write(worker.slot, b"\xff" + raw[1:])
            assert worker.killed

    @rule(data=st.data(), status=st.sampled_from([0, 1, -9, 76, 78]))
    def die(self, data: st.DataObject, status: int) -> None:
        worker = self.some(data, lambda w: True)
        if worker:
            self.world.exit(worker.slot, status)

    @rule(data=st.data())
    def speak_another_version(self, data: st.DataObject) -> None:
        worker = self.some(data, lambda w: not w.killed and not self.world.parent.workers[w.slot].greeted)
        if worker and self.state(worker) in READING:
            self.world.hello(worker.slot, VERSION + 1, VERSION + 2)
            assert worker.killed

    @rule(data=st.data())
    def fill_channel(self, data: st.DataObject) -> None:
        """A worker that does not read: its channel takes no ACCEPT any more."""
        worker = self.some(data, lambda w: not w.orders and self.state(w) in READING)
        if worker:
            self.world.full.add(worker.slot)

    @rule(count=st.integers(1, 3))
    def run_out_of_processes(self, count: int) -> None:
        self.world.no_processes = count

    @rule(data=st.data())
    def close_channel(self, data: st.DataObject) -> None:
        worker = self.some(data, lambda w: self.state(w) in READING)
        if worker:
            self.world.parent.eof(worker.slot, self.world.now)
            self.world.turn()

    @rule(seconds=st.sampled_from([0.01, 0.1, 1.0, 40.0]))
    def wait(self, seconds: float) -> None:
        self.world.wait(seconds)

    @rule(at_once=st.booleans())
    def reload(self, at_once: bool) -> None:
        self.world.parent.reload(self.world.now, at_once=at_once)
        self.world.turn()

    @rule(sure=st.integers(0, 3))
    def hand_over(self, sure: int) -> None:
        """A successor is READY. Mostly it is gone again before the baton is released."""
        if self.world.parent.in_flight or sure == 3:
            self.world.parent.hand_over(self.world.now)
            self.world.turn()

    @rule()
    def keep(self) -> None:
        self.world.parent.keep(self.world.now)
        self.world.turn()

    @rule()
    def take_over(self) -> None:
        self.world.parent.take_over(self.world.now)
        self.world.turn()

    @precondition(lambda self: not self.world.parent.stopping)
    @rule(sure=st.integers(0, 20))
    def stop(self, sure: int) -> None:
        if sure == 20:
            self.world.parent.stop(self.world.now)
            self.world.turn()

    @invariant()
    def never_more_orders_than_pending(self) -> None:
        for listener, backlog in enumerate(self.world.parent.backlogs):
            in_flight = sum(
                worker.order.max
                for worker in self.world.parent.workers.values()
                if worker.order and not worker.order.expired and worker.order.listener == listener
            )
            assert backlog.in_flight == in_flight
            # an order may have been overtaken by a late one since it was sent, but never sent above the pending count
            taken_late = self.world.parent.counters.late + self.world.parent.counters.expired
            taken = sum(count for at, count, _ in self.held.values() if at == listener)
            assert in_flight <= self.world.queue[listener] + taken + taken_late + self.world.parent.counters.dead

    @invariant()
    def never_overfilled(self) -> None:
        for worker in self.world.workers.values():
            reserved = sum(order.max for order in worker.orders)
            if worker.capacity:
                assert worker.open + reserved <= worker.capacity

    @invariant()
    def within_bounds(self) -> None:
        counting = [worker for worker in self.world.parent.workers.values() if not worker.drained]
        newest = self.world.parent.generations.current
        # a reload has one more for each that is about to be drained (BC-RELOAD-03)
        assert len(counting) <= self.scaling.max + sum(worker.generation < newest for worker in counting)

    @invariant()
    def counters_add_up(self) -> None:
        counters = self.world.parent.counters
        under_way = sum(backlog.in_flight for backlog in self.world.parent.backlogs)
        outcomes = counters.accepted + counters.expired + counters.short + counters.dead
        assert counters.orders == outcomes + under_way

    @invariant()
    def nobody_is_stranded(self) -> None:
        """Something pending, somebody free: it is in flight, owed to an expired order, or its listener cools down."""
        parent = self.world.parent
        if parent.state not in (ParentState.RUNNING, ParentState.STOPPING):
            return  # another parent has the listeners
        free = any(worker.may_be_chosen for worker in parent.workers.values())
        for listener, backlog in enumerate(parent.backlogs):
            if (
                self.world.queue[listener]
                and free
                and not (backlog.cooling or self.world.closed or listener in self.unseen)
            ):
                assert backlog.in_flight or backlog.retrying or any(other.in_flight for other in parent.backlogs)

    def teardown(self) -> None:
        """In the end every connection can be served: let all workers behave, and the queues run empty."""
        world = getattr(self, "world", None)
        if world is None:
            return
        try:
            self.let_all_behave(world)
        finally:
            assert check_trace(world.trace) == len(world.trace) > 3

    def let_all_behave(self, world: World) -> None:
        if world.closed or world.parent.stopping or world.gave_up:
            return
        world.no_processes = 0
        world.full.clear()
        self.keep()
        self.take_over()
        self.read_edges()
        self.read_answers()
        for _ in range(400):
            if not any(world.queue):
                return
            for slot in list(world.workers):
                worker = world.workers[slot]
                parents = world.parent.workers[slot]
                if parents.state in (SlotState.KILLED, SlotState.LOST) or (worker.drained and not worker.orders):
                    world.exit(slot)
                elif not parents.greeted:
                    world.hello(slot)
                elif worker.orders:
                    world.answer(slot)
                elif worker.open:
                    world.end(slot)
            world.wait(1.0)
        raise AssertionError(f"connections are stranded: {world.queue}")


Pool.TestCase.settings = at_least(150, stateful_step_count=40)
TestPool = Pool.TestCase


def test_two_silent_workers_whose_deadlines_fall_together() -> None:
    """Found by the machine: what was ordered, and when, has no say in which of the two is killed first."""
    world = World(Settings(), Scaling(start=2, min=1, max=9, min_spare=1, max_spare=2, max_draining=2))
    world.greet_all()
    world.queue[0] += 1
    world.connect()
    order = world.workers[0].orders.pop(0)
    world.write(0, encode(Busy(order.order, 0, Reason.EMPTY, 0, 1)))
    world.wait(40.0)
    assert {slot for slot, worker in world.workers.items() if worker.killed} >= {0, 1}
    assert check_trace(world.trace) == len(world.trace)
