"""The parent's side: the table of workers, dispatch, deadlines, scaling.

What happened goes in (bytes, ends, deaths, readable listeners, the time), actions come out. A turn of the shell
around it follows the specification's pass (BC-PASS-01)::

    parent.received(slot, data, now)        # for each channel that can be read; parent.eof(slot, now) at its end
    parent.exited(slot, status, now)        # for each worker waitpid returned, after its channel was read
    parent.readable(listener)               # for each listener that has news
    for slot in parent.overdue(now): ...    # read these channels until they would block (BC-PASS-02)
    parent.judge(now)
    counts = {listener: count(listener) for listener in parent.to_count()}
    parent.dispatch(counts)
    parent.scale(now)
    for action in parent.take_actions(): ...
    # then sleep until parent.next_deadline()

Nothing in here blocks, opens, closes, forks or looks at a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from .actions import Action, CloseListeners, GiveUp, HalfClose, Kill, Note, Release, Reloaded, Send, Spawn
from .candidates import Candidates
from .deadlines import Deadline, Deadlines, Kind
from .errors import Violation
from .frames import VERSION, Accept, Busy, Idle, Reason, decode, decode_hello, encode_accept
from .generations import Generations
from .ledger import Ledger
from .machines import POOL, ParentEvent, PoolEvent, PoolState, State
from .settings import Scaling, Settings
from .sizing import Sizing
from .table import Order, Slots, Worker

__all__ = ["Counters", "Parent"]

NEVER_AGAIN: Final = frozenset({76, 78})
"""Exit statuses of workers that can never start (BC-SCALE-13)."""

READING: Final = frozenset({State.STARTING, State.READY, State.SUSPECT, State.DRAINING})
"""States in which a channel's bytes are believed."""

_DISPATCHING: Final = frozenset({PoolState.RUNNING, PoolState.STOPPING})
_SIZING: Final = frozenset({PoolState.STANDBY, PoolState.RUNNING})
_NOBODY: Final[frozenset[int]] = frozenset()


@dataclass(slots=True)
class Counters:
    """What happened since the start. ``orders`` to ``dead`` and ``late`` count connections, not orders.

    orders = accepted + voids + short + dead + what is under way; ``late`` ones are among the ``voids``.
    """

    orders: int = 0
    probes: int = 0
    accepted: int = 0
    late: int = 0
    voids: int = 0
    short: int = 0
    dead: int = 0
    spawned: int = 0
    deaths: int = 0
    kills: int = 0
    retired: int = 0


class Parent:
    """The parent's end of every channel. ``listeners`` is how many there are.

    ``standby``: another parent has them still; nothing is dispatched before :meth:`take_over` (BC-BATON-01).
    """

    watches = True
    """Whether it wants to hear of arrivals at all."""

    def __init__(self, settings: Settings, scaling: Scaling, listeners: int = 1, *, standby: bool = False) -> None:
        self.settings = settings
        self.rules = scaling
        self.counters = Counters()
        self.workers: dict[int, Worker] = {}
        self.state = PoolState.STANDBY if standby else PoolState.RUNNING
        self.generations = Generations()
        self.ledgers = [Ledger() for _ in range(listeners)]
        self._candidates = Candidates(settings.policy, self.workers)
        self._deadlines = Deadlines(self._due)
        self._slots = Slots()
        self._sizing = Sizing(scaling, settings.capacity)
        self._fallen_short: set[Worker] = set()
        self._voids_in_row = 0
        self._turn = 0
        self._actions: list[Action] = []
        self._now = 0.0
        self.edges = False
        """Each arrival makes an event, and counts are exact: the shell says so, if its watch is such a one."""
        self.greeted = 0
        """Workers that have ever become READY."""
        self._gave_up = False
        self._failed_spawns = (0, "")

    # -------------------------------------------------------------------------- what the shell asks

    def take_actions(self) -> list[Action]:
        """What is to be done now, in this order. Carrying it out may lead to more: ask until there is none."""
        actions, self._actions = self._actions, []
        return actions

    def next_deadline(self) -> float | None:
        """When the shell must turn again even if nothing happens; ``None``: not at all."""
        first = self._deadlines.next()
        if self.state not in _SIZING:
            return first
        times = (first, self._sizing.next_pass(), self._sizing.not_before if self.generations.waiting else None)
        return min((time for time in times if time is not None), default=None)

    def overdue(self, now: float) -> frozenset[int] | set[int]:
        """Slots whose channels must be read until they would block before :meth:`judge` (BC-PASS-02)."""
        if not self._deadlines.may_have_passed(now):
            return _NOBODY
        listeners = (Kind.LISTENER_REST, Kind.STOP)
        return {item.subject for item in self._deadlines.due(now) if item.kind not in listeners}

    def to_count(self) -> list[int]:
        """Listeners whose pending connections must be counted before :meth:`dispatch` (BC-PEND-02)."""
        if self.state not in _DISPATCHING or (not self._candidates.count and not self.stopping):
            return []
        return [
            index
            for index, ledger in enumerate(self.ledgers)
            if (ledger.dirty or (self.stopping and not ledger.empty and not ledger.covered)) and not ledger.resting
        ]

    def watching(self, listener: int) -> bool:
        """Whether a level-triggered watch of ``listener`` is to be armed: somebody may be chosen, and no order covers
        what is pending (BC-WATCH-05).
        """
        ledger = self.ledgers[listener]
        return self._may_order and not ledger.covered and not ledger.resting

    def hidden(self, listener: int) -> bool:
        """Whether an unanswered order keeps a level-triggered watch of ``listener`` from seeing what arrives meanwhile,
        although somebody may be chosen (BC-WATCH-02).
        """
        ledger = self.ledgers[listener]
        return self._may_order and ledger.covered > 0 and not ledger.resting

    @property
    def _may_order(self) -> bool:
        return self.state in _DISPATCHING and self._candidates.count > 0

    @property
    def stopping(self) -> bool:
        """It is going to end: it serves what is pending, or drains everybody."""
        return self.state in (PoolState.STOPPING, PoolState.DRAINING)

    @property
    def patient(self) -> bool:
        """Whether reports may wait a little: orders are unanswered, they cover all that is known to be pending, and
        somebody may be chosen for what comes next. Then an arrival is the next thing that needs the parent.
        """
        if not self._may_order or self.state is not PoolState.RUNNING:
            return False
        return all(ledger.settled for ledger in self.ledgers) and any(ledger.covered for ledger in self.ledgers)

    @property
    def awaited(self) -> int:
        """How many connections are covered by orders that are unanswered: all R together (BC-PEND-01)."""
        return sum(ledger.covered for ledger in self.ledgers)

    @property
    def finished(self) -> bool:
        """It has ended: everybody was drained, and nobody is left."""
        return self.state is PoolState.DRAINING and not self.workers

    # ---------------------------------------------------------------------------- what has happened

    def start(self, now: float) -> None:
        """Begin: spawn the first workers (BC-SCALE-01)."""
        self._now = now
        for ledger in self.ledgers:
            ledger.dirty = True
        for _ in range(self.rules.start):
            self._spawn(now)

    def readable(self, listener: int) -> None:
        """``listener`` has news: an event of its watch."""
        self.ledgers[listener].dirty = True

    def received(self, slot: int, data: bytes, now: float) -> None:
        """``data`` was read from the channel of ``slot``. Never raises for what a worker wrote (BC-VIOL-01)."""
        self._now = now
        worker = self.workers[slot]
        if worker.state not in READING:
            return
        try:
            for raw in worker.reader.feed(data):
                if worker.greeted:
                    self._report(worker, raw)
                else:
                    self._hello(worker, raw)
                if worker.state not in READING:
                    return
        except Violation as violation:
            self._kill(worker, ParentEvent.VIOLATION, violation.message, violation.requirement)

    def eof(self, slot: int, now: float) -> None:
        """The channel of ``slot`` has ended, and everything in it has been received (BC-CHAN-06)."""
        self._now = now
        worker = self.workers[slot]
        if worker.state in READING:
            worker.step(ParentEvent.EOF)
            self._drop_order(worker)
            self._add_deadline(worker, Kind.EXIT, self.settings.exit_deadline)
            self._refresh(worker)

    def send_failed(self, slot: int, now: float) -> None:
        """The channel of ``slot`` did not take a whole ACCEPT (BC-KILL-02)."""
        self._now = now
        worker = self.workers[slot]
        if worker.state in READING:
            text = "the channel did not take a whole ACCEPT: its worker does not read"
            self._kill(worker, ParentEvent.VIOLATION, text, "BC-KILL-02")

    def spawn_failed(self, slot: int, reason: str, now: float) -> None:
        """A worker for ``slot`` could not be started: said once, until one starts again."""
        self._now = now
        worker = self.workers[slot]
        if self._failed_spawns[1] != reason:
            self._note(None, f"cannot start a worker: {reason}; trying again, less and less often")
        self._failed_spawns = (self._failed_spawns[0] + 1, reason)
        worker.step(ParentEvent.EXIT)
        self.counters.spawned -= 1
        self._forget(worker)
        self._sizing.could_not_start(now)

    def exited(self, slot: int, status: int, now: float) -> None:
        """``waitpid`` returned the worker of ``slot``, and its channel has been read (BC-DEATH-01).

        ``status`` is its exit status, negative for a signal.
        """
        self._now = now
        worker = self.workers[slot]
        expected = worker.drained or worker.state is State.KILLED
        youth = not worker.accepted and now - worker.spawned_at < self.rules.young
        worker.step(ParentEvent.EXIT)
        self._drop_order(worker)
        self._forget(worker)
        if expected:
            return
        self.counters.deaths += 1
        if status in NEVER_AGAIN and not self.greeted:
            self._hopeless(status, f"worker in slot {slot} exited with status {status}", worker)
            return
        ended = f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
        self._note(slot, f"{ended}{', before it had accepted anything' if youth else ''}")
        if status in NEVER_AGAIN:
            self._hopeless(status, f"worker in slot {slot} exited with status {status}", worker)
        elif youth:
            self._died_young()

    def stop(self, now: float) -> None:
        """Serve what is pending, then drain everybody (BC-STOP-01). Nothing new where that is under way already."""
        self._now = now
        if self.state is PoolState.STANDBY:
            self._drain_all(PoolEvent.STOP)
        elif self.state is PoolState.RUNNING:
            self._step(PoolEvent.STOP)
            self.generations.give_up()
            self._deadlines.add(now + self.settings.stop_deadline, Deadline(Kind.STOP, 0, 0))
            for ledger in self.ledgers:
                ledger.dirty = True

    def reload(self, now: float, *, at_once: bool = False) -> bool:
        """Replace every worker by one of a new generation, one by one or ``at_once`` (BC-RELOAD-01).

        ``False``, and nothing happens, unless the pool is RUNNING. :class:`~backchannel.actions.Reloaded` says when it
        is over.
        """
        self._now = now
        if self.state is not PoolState.RUNNING:
            return False
        surplus = self.generations.begin(at_once=at_once)
        self._sizing.hold(True)
        self._drain_some(surplus)
        return True

    def hand_over(self, now: float) -> bool:
        """Order nothing any more; when every order has ended, :class:`~backchannel.actions.Release` the baton, then
        drain everybody (BC-BATON-02). ``False``, and nothing happens, unless the pool is RUNNING.
        """
        self._now = now
        if self.state is not PoolState.RUNNING:
            return False
        self._step(PoolEvent.HAND_OVER)
        self.generations.give_up()
        return True

    def keep(self, now: float) -> bool:
        """The successor has gone before the baton was released: go on. ``False`` if there was nothing to keep."""
        self._now = now
        if self.state is not PoolState.YIELDING:
            return False
        self._step(PoolEvent.KEEP)
        for ledger in self.ledgers:
            ledger.dirty = True
        return True

    def take_over(self, now: float) -> None:
        """The baton has ended: the listeners are this parent's (BC-BATON-01). Watch them from now on."""
        self._now = now
        if self.state is PoolState.STANDBY:
            self._step(PoolEvent.BATON)
            for ledger in self.ledgers:
                ledger.dirty = True

    # ------------------------------------------------------------------------------------ one pass

    def judge(self, now: float) -> None:
        """Deadlines: who is late, who has rested."""
        self._now = now
        if not self._deadlines.may_have_passed(now):
            return
        for deadline in self._deadlines.passed(now):
            if deadline.kind is Kind.STOP:
                self._drain_all(PoolEvent.STOP_DEADLINE)
            elif deadline.kind is Kind.LISTENER_REST:
                self.ledgers[deadline.subject].resting = False
            else:
                self._late(self.workers[deadline.subject], deadline.kind)

    def dispatch(self, counts: Mapping[int, int]) -> None:
        """Order workers to accept. ``counts`` holds P for each listener that :meth:`to_count` named."""
        for listener, pending in counts.items():
            self.ledgers[listener].counted(pending)
            if not pending:
                self._seen_empty(listener)
        waiting = {listener: pending for listener, pending in counts.items() if pending}
        while waiting:
            # rotation: the next listener after the one that was served last (BC-PICK-04)
            listener = self._next_in_turn(waiting)
            if not self._order_one(listener, waiting[listener]):
                del waiting[listener]
        self._settle()

    def _settle(self) -> None:
        """Is what the parent waits for over?"""
        if self.state is PoolState.STOPPING:
            if all(ledger.empty and not ledger.covered for ledger in self.ledgers):
                self._drain_all(PoolEvent.SETTLED)
        elif self.state is PoolState.YIELDING and not any(ledger.covered for ledger in self.ledgers):
            self._actions.append(Release())
            self._drain_all(PoolEvent.SETTLED)

    def scale(self, now: float) -> None:
        """Spawn or retire, if it is time for a pass and the pool needs it (BC-SCALE-06), and go on with a reload."""
        self._now = now
        if self.state not in _SIZING:
            return
        if self.generations.active:
            self._reload_pass(now)
        decision = self._sizing.decide(self.workers.values(), now)
        for _ in range(decision.spawn):
            self._spawn(now)
        if decision.retire is not None:
            self.counters.retired += 1
            self._drain(self.workers[decision.retire])

    # --------------------------------------------------------------------------- reports, in detail

    def _hello(self, worker: Worker, raw: bytes) -> None:
        idle = decode_hello(raw)
        assert idle.hello is not None
        if not idle.hello.lowest <= VERSION <= idle.hello.highest:
            text = (
                f"speaks versions {idle.hello.lowest:#04x} to {idle.hello.highest:#04x}, "
                f"this parent {VERSION:#04x}: run a worker built for this version"
            )
            self._kill(worker, ParentEvent.VIOLATION, text, "BC-VER-05", young=False)
            self._hopeless(76, f"worker in slot {worker.slot} {text}", worker)
            return
        if idle.capacity > self.settings.capacity_ceiling:
            raise Violation("BC-STATUS-07", self._too_much(idle.capacity))
        worker.greet(idle)
        if self._failed_spawns[0]:
            self._note(None, f"workers start again, after {self._failed_spawns[0]} failures")
            self._failed_spawns = (0, "")
            self._sizing.started()
        worker.step(ParentEvent.HELLO)
        if worker.state is State.STARTING:
            self._send(worker, worker.new_order(0, 0))
        self._refresh(worker)

    def _report(self, worker: Worker, raw: bytes) -> None:
        frame = decode(raw)
        if isinstance(frame, Accept):
            raise Violation("BC-FRAME-03", "ACCEPT from a worker")
        if isinstance(frame, Idle) and frame.hello is not None:
            raise Violation("BC-HELLO-03", "a second hello")
        if frame.capacity > self.settings.capacity_ceiling:
            raise Violation("BC-STATUS-07", self._too_much(frame.capacity))
        if worker.state is State.STARTING and not isinstance(frame, Busy):
            raise Violation("BC-HELLO-05", "a status before the answer to the welcome")
        worker.believe(frame)
        if isinstance(frame, Busy):
            self._answered(worker, frame)
        if not worker.capacity and worker.state in (State.READY, State.SUSPECT):
            self._drain(worker)
        self._refresh(worker)

    def _too_much(self, capacity: int) -> str:
        return f"capacity {capacity} is above the ceiling of {self.settings.capacity_ceiling}"

    def _answered(self, worker: Worker, busy: Busy) -> None:
        order, worker.order = worker.order, None
        assert order is not None
        worker.accepted += busy.accepted
        if order.max:
            filled = self.edges and busy.accepted == order.max and not order.void and not self._fallen_short
            self.ledgers[order.listener].ended(order, filled=filled)
        if busy.accepted:
            worker.short_row = 0
            self._sizing.served()
        if order.void:
            self.counters.late += busy.accepted
            worker.step(ParentEvent.LATE_ANSWER)
        elif worker.state is State.STARTING:
            worker.step(ParentEvent.WELCOMED)
            self.greeted += 1
        else:
            self._voids_in_row = 0
            self.counters.accepted += busy.accepted
            self.counters.short += order.max - busy.accepted
        if busy.accepted < order.max:
            self._fell_short(worker, order, busy)

    def _fell_short(self, worker: Worker, order: Order, busy: Busy) -> None:
        reason = busy.reason
        worker.passed_over.add(order.listener)
        self._fallen_short.add(worker)
        if not busy.accepted and reason is not Reason.PEER and not order.void:
            worker.short_row += 1
        if reason is Reason.WORKER or worker.short_row >= self.settings.short_in_a_row:
            worker.short_row = 0
            worker.resting = True
            self._note(worker.slot, f"rests for {self.settings.rest} s: its last answer was {reason.name}")
            self._add_deadline(worker, Kind.REST, self.settings.rest)
        elif reason is Reason.SYSTEM:
            self.ledgers[order.listener].resting = True
            self._note(None, f"listener {order.listener} rests for {self.settings.rest} s: SYSTEM")
            rest = Deadline(Kind.LISTENER_REST, order.listener, 0)
            self._deadlines.add(self._now + self.settings.rest, rest)
        elif reason is Reason.UNUSABLE:
            self._note(worker.slot, f"cannot use listener {order.listener}: it is drained", "BC-SHORT-04")
            if worker.state is State.READY:
                self._drain(worker)
            self._died_young()

    # ------------------------------------------------------------------------- dispatch, in detail

    def _next_in_turn(self, waiting: Mapping[int, int]) -> int:
        if len(waiting) == 1:
            return next(iter(waiting))
        return min(waiting, key=lambda index: (index < self._turn, index))

    def _order_one(self, listener: int, pending: int) -> bool:
        """Send one order for ``listener``; ``False`` when none is wanted or nobody can take it."""
        ledger = self.ledgers[listener]
        wanted, again = ledger.wanted(pending)
        if not wanted:
            return False
        worker = self._candidates.best(listener)
        if worker is None:
            ledger.dirty = True  # count again when room returns: never a blind order (BC-WATCH-03)
            return False
        most = 1
        if wanted > 1:  # a fair share, so that all who could begin do so at once (BC-PICK-03)
            share = -(-wanted // self._candidates.count)
            most = min(share, worker.room, self.settings.max_per_order)
        order = worker.new_order(listener, most, again=again)
        ledger.sent(order)
        self.counters.orders += most
        self._turn = (listener + 1) % len(self.ledgers)
        self._send(worker, order)
        self._refresh(worker)
        return True

    def _send(self, worker: Worker, order: Order) -> None:
        if not order.max:
            self.counters.probes += 1
        if worker.state is not State.STARTING:  # the welcome is covered by start_deadline
            self._await_answer(worker, order)
        self._actions.append(Send(worker.slot, encode_accept(order.id, order.listener, order.max)))

    def _await_answer(self, worker: Worker, order: Order) -> None:
        doublings = min(self._voids_in_row, self.settings.order_deadline_doublings)
        order.deadline = self._now + self.settings.order_deadline * 2**doublings
        if not worker.deadline_at or order.deadline < worker.deadline_at:
            worker.deadline_at = order.deadline
            self._deadlines.add(order.deadline, worker.deadline)

    def _seen_empty(self, listener: int) -> None:
        for worker in self._fallen_short:
            worker.passed_over.discard(listener)
            worker.short_row = 0
        self._fallen_short = {worker for worker in self._fallen_short if worker.passed_over}

    # ------------------------------------------------------------------------ deadlines, in detail

    def _add_deadline(self, worker: Worker, kind: Kind, after: float) -> None:
        self._deadlines.add(self._now + after, Deadline(kind, worker.slot, worker.serial))

    def _due(self, deadline: Deadline, when: float) -> float | None:
        """When ``deadline``, which was set for ``when``, passes by now; ``None`` if it does not matter any more."""
        kind = deadline.kind
        if kind is Kind.STOP:
            return when if self.state is PoolState.STOPPING else None
        if kind is Kind.LISTENER_REST:
            return when if self.ledgers[deadline.subject].resting else None
        worker = self.workers.get(deadline.subject)
        if worker is None or worker.serial != deadline.token:
            return None
        if kind is Kind.ORDER:
            if when != worker.deadline_at:
                return None  # an earlier entry stands for it
            order = worker.order
            worker.deadline_at = 0.0 if order is None or order.void else order.deadline
            return worker.deadline_at or None
        if kind is Kind.REST:
            return when if worker.resting else None
        return when if worker.state is _DEADLINE_STATE[kind] else None

    def _late(self, worker: Worker, kind: Kind) -> None:
        """A deadline of ``worker`` has passed."""
        if kind is Kind.REST:
            worker.resting = False
            self._refresh(worker)
        elif kind is Kind.ORDER:
            worker.deadline_at = 0.0
            self._void(worker)
        else:
            after = getattr(self.settings, kind.value)
            self._kill(worker, _DEADLINE_EVENT[kind], f"passed its {kind.value} of {after} s")

    def _void(self, worker: Worker) -> None:
        order = worker.order
        assert order is not None
        order.void = True
        self._voids_in_row += 1
        self.counters.voids += order.max
        worker.voids += order.max
        if order.max:
            self.ledgers[order.listener].voided(order)
        was_ready = worker.state is State.READY
        worker.step(ParentEvent.VOID)
        if was_ready:
            self._note(worker.slot, f"has not answered order {order.id} in time: suspect")
            self._add_deadline(worker, Kind.SILENCE, self.settings.silence_deadline)
        self._refresh(worker)

    # ----------------------------------------------------------------------- the pool, in detail

    def _spawn(self, now: float) -> Worker:
        slot = self._slots.take()
        self.counters.spawned += 1
        worker = Worker(slot, self.counters.spawned, now, self.generations.current)
        self.workers[slot] = worker
        self._sizing.add(worker)
        self._add_deadline(worker, Kind.START, self.settings.start_deadline)
        self._actions.append(Spawn(slot))
        return worker

    def _drain(self, worker: Worker) -> None:
        worker.step(ParentEvent.DRAIN)
        worker.drained = True
        self._add_deadline(worker, Kind.DRAIN, self.settings.drain_deadline)
        self._actions.append(HalfClose(worker.slot))
        self._refresh(worker)

    def _drain_some(self, workers: Iterable[Worker]) -> None:
        for worker in workers:
            if worker.state in READING and worker.state is not State.DRAINING:
                self._drain(worker)

    def _drain_all(self, event: PoolEvent) -> None:
        self._step(event)
        self._actions.append(CloseListeners())
        self._drain_some(list(self.workers.values()))

    def _step(self, event: PoolEvent) -> None:
        self.state = POOL[self.state][event]

    def _reload_pass(self, now: float) -> None:
        may_spawn = now >= self._sizing.not_before
        if not self.generations.changed and not (self.generations.waiting and may_spawn):
            return
        step = self.generations.step(self.workers.values(), may_spawn=may_spawn)
        self._drain_some(step.drain)
        for _ in range(step.spawn):
            self.generations.welcome(self._spawn(now))
        if step.over:
            self._reload_over("")

    def _reload_over(self, failure: str) -> None:
        self._sizing.hold(False)
        self._actions.append(Reloaded(self.generations.current, failure))

    def _kill(
        self, worker: Worker, event: ParentEvent, text: str, requirement: str | None = None, *, young: bool = True
    ) -> None:
        """Kill ``worker``; the state changes before the signal goes out (BC-KILL-01)."""
        worker.step(event)
        self.counters.kills += 1
        self._note(worker.slot, f"is killed: {text}", requirement)
        self._drop_order(worker)
        self._refresh(worker)
        self._actions.append(Kill(worker.slot))
        if young and not worker.accepted and event in (ParentEvent.START_DEADLINE, ParentEvent.VIOLATION):
            self._died_young()

    def _drop_order(self, worker: Worker) -> None:
        """An order that can no longer be answered ends; what it covered may be ordered again (BC-DEATH-02)."""
        order, worker.order = worker.order, None
        if order is None or not order.max:
            return
        self.ledgers[order.listener].ended(order)
        if not order.void:
            self.counters.dead += order.max

    def _forget(self, worker: Worker) -> None:
        self._candidates.refresh(worker)
        self._fallen_short.discard(worker)
        self._sizing.remove(worker)
        if self.generations.active:
            self.generations.refresh(worker)
            self.generations.changed = True
        del self.workers[worker.slot]
        self._slots.give_back(worker.slot)

    def _died_young(self) -> None:
        self._sizing.died_young(self.workers.values(), self._now)

    def _hopeless(self, status: int, text: str, worker: Worker) -> None:
        """``worker`` can never start: if none ever could, give up; if it is of a new generation, give that up."""
        if self.greeted:
            self._died_young()
            if self.generations.active and worker.generation == self.generations.current:
                self._drain_some(self.generations.give_up())
                self._reload_over(text)
        elif not self._gave_up:
            self._gave_up = True
            self._actions.append(GiveUp(status, text))

    def _note(self, slot: int | None, text: str, requirement: str | None = None) -> None:
        self._actions.append(Note(slot, text, requirement))

    def _refresh(self, worker: Worker) -> None:
        """``worker`` has changed: bring the candidates and the totals up to date."""
        nobody = not self._candidates.count
        self._candidates.refresh(worker)
        if nobody and self._candidates.count and not self.edges:
            # no watch was armed (BC-WATCH-05): who waits is known of none of the listeners (BC-WATCH-03)
            for ledger in self.ledgers:
                ledger.dirty = True
        self._sizing.refresh(worker)
        if self.generations.active:
            self.generations.refresh(worker)


_DEADLINE_STATE: Final = {
    Kind.START: State.STARTING,
    Kind.SILENCE: State.SUSPECT,
    Kind.DRAIN: State.DRAINING,
    Kind.EXIT: State.LOST,
}

_DEADLINE_EVENT: Final = {
    Kind.START: ParentEvent.START_DEADLINE,
    Kind.SILENCE: ParentEvent.SILENCE_DEADLINE,
    Kind.DRAIN: ParentEvent.DRAIN_DEADLINE,
    Kind.EXIT: ParentEvent.EXIT_DEADLINE,
}
