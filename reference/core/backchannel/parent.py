"""The parent's side, as the shell sees it.

What happened goes in (bytes, ends, deaths, readable listeners, the time), actions come out. A turn of the shell
around it follows the specification's pass (BC-PASS-01)::

    parent.received(slot, data, now)        # for each channel that can be read; parent.eof(slot, now) at its end
    parent.exited(slot, status, now)        # for each worker waitpid returned, after its channel was read
    parent.readable(listener)               # for each listener that has news
    for slot in parent.overdue(now): ...    # read these until they would block, or octets_per_turn (BC-PASS-02)
    parent.judge(now)
    counts = {listener: count(listener) for listener in parent.to_count()}
    parent.dispatch(counts)
    parent.scale(now)
    for action in parent.take_actions(): ...
    # then sleep until parent.next_deadline()

Nothing in here blocks, opens, closes, forks or looks at a clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .actions import Action, CloseListeners, GiveUp, Release, Reloaded
from .deadlines import Deadline, Kind
from .dispatch import Dispatching
from .errors import Violation
from .frames import VERSION, Accept, Busy, Idle, decode, decode_hello
from .lifecycle import READING
from .slots import Worker
from .states import POOL, ParentEvent, PoolEvent, PoolState, State

__all__ = ["Parent"]

NEVER_AGAIN: Final = frozenset({76, 78})
"""Exit statuses of workers that can never start (BC-SCALE-13)."""

_SIZING: Final = frozenset({PoolState.STANDBY, PoolState.RUNNING})
_NOBODY: Final[frozenset[int]] = frozenset()


class Parent(Dispatching):
    """The parent's end of every channel. ``listeners`` is how many there are.

    ``standby``: another parent has them still; nothing is dispatched before :meth:`take_over` (BC-BATON-01).
    """

    watches = True
    """Whether it wants to hear of arrivals at all."""

    # ---------------------------------------------------------------------------------------------- what the shell asks

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
        """Slots whose channels must be read once more before :meth:`judge`, until they would block or
        :attr:`octets_per_turn` were taken (BC-PASS-02).
        """
        if not self._deadlines.may_have_passed(now):
            return _NOBODY
        listeners = (Kind.LISTENER_REST, Kind.STOP)
        return {item.subject for item in self._deadlines.due(now) if item.kind not in listeners}

    @property
    def finished(self) -> bool:
        """It has ended: everybody was drained, and nobody is left."""
        return self.state is PoolState.DRAINING and not self.workers

    # ------------------------------------------------------------------------------------------------ what has happened

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

    # --------------------------------------------------------------------------------------------------------- one pass

    def judge(self, now: float) -> None:
        """Deadlines: who is late, who has rested; the stop's after those of workers (BC-PASS-04)."""
        self._now = now
        if not self._deadlines.may_have_passed(now):
            return
        stopped_long_enough = False
        for deadline in self._deadlines.passed(now):
            if deadline.kind is Kind.STOP:
                stopped_long_enough = True
            elif deadline.kind is Kind.LISTENER_REST:
                self.ledgers[deadline.subject].resting = False
            else:
                self._late(self.workers[deadline.subject], deadline.kind)
        if stopped_long_enough:
            self._drain_all(PoolEvent.STOP_DEADLINE)

    def dispatch(self, counts: Mapping[int, int]) -> None:
        """Order workers to accept. ``counts`` holds P for each listener that :meth:`to_count` named."""
        self._order_all(counts)
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

    # ---------------------------------------------------------------------------------------------------------- reports

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

    def _hopeless(self, status: int, text: str, worker: Worker) -> None:
        """``worker`` can never start: if none ever could, give up; if it is of a new generation, give that up, unless
        the worker itself has been READY: then the new code can start (BC-RELOAD-05).
        """
        if self.greeted:
            self._died_young()
            newest = worker.generation == self.generations.current
            if self.generations.active and newest and not worker.was_ready:
                self._drain_some(self.generations.give_up())
                self._reload_over(text)
        elif not self._gave_up:
            self._gave_up = True
            self._actions.append(GiveUp(status, text))

    # --------------------------------------------------------------------------------------------------- the whole pool

    def stop(self, now: float) -> None:
        """Serve what is pending, then drain everybody (BC-STOP-01). No effect where that is under way (BC-STOP-05)."""
        self._now = now
        if self.state is PoolState.STANDBY:  # what is pending is another parent's (BC-STOP-06)
            self._drain_all(PoolEvent.STOP)
        elif self._step(PoolEvent.STOP):
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
        if not self._step(PoolEvent.RELOAD):
            return False
        surplus = self.generations.begin(at_once=at_once)
        self._sizing.hold(True)
        self._drain_some(surplus)
        return True

    def _reload_over(self, failure: str) -> None:
        self._sizing.hold(False)
        self._actions.append(Reloaded(self.generations.current, failure))

    def hand_over(self, now: float) -> bool:
        """Order nothing any more; when every order has ended, :class:`~backchannel.actions.Release` the baton, then
        drain everybody (BC-BATON-02). ``False``, and nothing happens, unless the pool is RUNNING.
        """
        self._now = now
        return self._step(PoolEvent.HAND_OVER)

    def keep(self, now: float) -> bool:
        """The successor has gone before the baton was released: go on. ``False`` if there was nothing to keep."""
        self._now = now
        if not self._step(PoolEvent.KEEP):
            return False
        self.generations.changed = True  # a reload that was under way goes on (BC-BATON-05)
        for ledger in self.ledgers:
            ledger.dirty = True
        return True

    def take_over(self, now: float) -> bool:
        """The baton has ended: the listeners are this parent's (BC-BATON-01). Watch them from now on. ``False``, and
        nothing happens, unless the pool is on STANDBY: it may have been stopped meanwhile.
        """
        self._now = now
        if not self._step(PoolEvent.BATON):
            return False
        for ledger in self.ledgers:
            ledger.dirty = True
        return True

    @property
    def may_replace(self) -> bool:
        """Whether a successor may be started: its listeners are this parent's, and it is not about to end."""
        return POOL[self.state][PoolEvent.REPLACE] is not None

    def _drain_all(self, event: PoolEvent) -> None:
        if not self._step(event):
            return
        self.generations.give_up()
        self._actions.append(CloseListeners())
        for worker in list(self.workers.values()):
            if worker.state is State.STARTING:
                self._dismiss(worker)
            else:
                self._drain_some([worker])

    def _dismiss(self, worker: Worker) -> None:
        """``worker`` is STARTING when everybody is to go: it holds nothing, and would read of a drain when its code is
        loaded, which may take long (BC-STOP-04).
        """
        self._kill(worker, ParentEvent.STOP, "it was still starting when the pool came to its end")

    def _step(self, event: PoolEvent) -> bool:
        """Move the parent's own machine; ``False`` when ``event`` has no effect."""
        after = POOL[self.state][event]
        if after is None:
            return False
        self.state = after
        return True
