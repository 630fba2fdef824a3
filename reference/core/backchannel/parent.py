"""The parent's end of all channels.

What happened goes in (bytes, ends, deaths, readable listeners, the time), actions come out. A turn of the loop around
it follows the specification's pass (BC-PASS-01)::

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

Each part is given the parts that it needs, and none knows the parent. A part that has changed a worker calls
:meth:`Parent._changed`, which informs those that keep count.
"""

from __future__ import annotations

from collections.abc import Mapping

from .actions import Action, CloseListeners, Release
from .backlog import Backlog
from .counters import Counters
from .deadlines import Deadline, Deadlines, Kind
from .dispatch import Dispatch
from .failures import Failures
from .frames import FRAME_SIZE
from .lifecycle import Lifecycle
from .reload import Reload
from .reports import Reports
from .settings import Scaling, Settings
from .sizing import Sizing
from .slots import Worker
from .states import DISPATCHING, ENDING, PARENT, READING, SIZING, ParentEvent, ParentState, SlotEvent, SlotState

__all__ = ["Parent"]


class Parent:
    """The parent's end of every channel. ``listeners`` is how many there are.

    ``standby``: another parent has them still; nothing is dispatched before :meth:`take_over` (BC-BATON-01).
    """

    watches = True
    """Whether it wants to hear of arrivals at all."""
    message_size = FRAME_SIZE
    """Octets of what a worker writes at a time."""

    def __init__(self, settings: Settings, scaling: Scaling, listeners: int = 1, *, standby: bool = False) -> None:
        self.settings = settings
        self.scaling = scaling
        self.state = ParentState.STANDBY if standby else ParentState.RUNNING
        self.counters = Counters()
        self._now = 0.0
        """The time of this pass, which :meth:`judge` begins."""
        self._actions = actions = list[Action]()
        self._deadlines = Deadlines()
        self._stop_deadline = Deadline(Kind.STOP)
        self._lives = Lifecycle(settings, self._deadlines, self.counters, actions, self._changed)
        self.workers = self._lives.workers
        self.backlogs = [Backlog(Deadline(Kind.LISTENER_COOL_DOWN, listener)) for listener in range(listeners)]
        self._dispatch = Dispatch(
            settings, self.workers, self.backlogs, self._deadlines, self.counters, actions, self._changed
        )
        self._sizing = Sizing(scaling, settings.capacity, self.workers)
        self._reload = Reload(self._lives, self._sizing, actions)
        self._failures = Failures(scaling, self._lives, self._sizing, self._reload, self.counters, actions)
        self._reports = Reports(
            settings.capacity_ceiling, self._lives, self._dispatch, self._sizing, self._failures, self._changed
        )

    def _changed(self, worker: Worker) -> None:
        """``worker`` is new, or may have changed, or has exited: tell all that keep count of it."""
        self._dispatch.changed(worker)  # first: it gives up an order that cannot be answered, and the room of that
        self._sizing.changed(worker)
        if self._reload.active:
            self._reload.changed(worker)

    # ------------------------------------------------------------------------------------------------ what has happened

    def start(self, now: float) -> None:
        """Begin: spawn the first workers (BC-SCALE-01)."""
        self._dispatch.look_again()
        for _ in range(self.scaling.start):
            self._lives.spawn(self._reload.current, now)

    def readable(self, listener: int) -> None:
        """``listener`` has news: an event of its watch."""
        self.backlogs[listener].dirty = True

    def received(self, slot: int, data: bytes, now: float) -> None:
        """``data`` was read from the channel of ``slot``. Never raises for what a worker wrote (BC-VIOL-01)."""
        self._reports.read(self.workers[slot], data, now)

    def eof(self, slot: int, now: float) -> None:
        """The channel of ``slot`` has ended, and everything in it has been received (BC-CHAN-15)."""
        self._lives.lose(self.workers[slot], now)

    def send_failed(self, slot: int, now: float) -> None:
        """The channel of ``slot`` did not take a whole ACCEPT (BC-KILL-02)."""
        worker = self.workers[slot]
        if worker.state in READING:  # else it was killed, or its channel has ended, since the order was given
            text = "the channel did not take a whole ACCEPT: its worker does not read"
            self._failures.violated(worker, text, now, requirement="BC-KILL-02")

    def spawn_failed(self, slot: int, reason: str, now: float) -> None:
        """A worker for ``slot`` could not be started: said once, until one starts again."""
        self._failures.could_not_start(self.workers[slot], reason, now)

    def exited(self, slot: int, status: int, now: float) -> None:
        """``waitpid`` returned the worker of ``slot``, and its channel has been read (BC-DEATH-01). ``status`` is its
        exit status, negative for a signal.
        """
        self._failures.exited(self.workers[slot], status, now)

    # --------------------------------------------------------------------------------------------------------- one pass

    def overdue(self, now: float) -> frozenset[int]:
        """Slots whose channels must be read once more before :meth:`judge`, until they would block or
        :attr:`octets_per_turn` were taken (BC-PASS-02).
        """
        return self._deadlines.overdue(now)

    def judge(self, now: float) -> None:
        """Deadlines: who is late, what has cooled down; the stop's after those of workers (BC-PASS-06)."""
        self._now = now
        if not self._deadlines.may_have_passed(now):
            return
        stopped_long_enough = False
        for deadline in self._deadlines.passed(now):
            match deadline.kind:
                case Kind.STOP:
                    stopped_long_enough = True
                case Kind.ORDER:
                    worker = self.workers[deadline.subject]
                    self._dispatch.expired(worker)
                    self._lives.suspect(worker, now)
                case Kind.STATE:
                    self._failures.late(self.workers[deadline.subject], now)
                case Kind.COOL_DOWN | Kind.LISTENER_COOL_DOWN:
                    self._dispatch.cooled_down(deadline)
        if stopped_long_enough:
            self._drain_all(ParentEvent.STOP_DEADLINE, now)

    def to_count(self) -> list[int]:
        """Listeners whose pending connections must be counted before :meth:`dispatch` (BC-PEND-02)."""
        # a stop that finds no worker to choose must still see when nothing is pending any more
        if self.state is ParentState.STOPPING or self._may_order:
            return self._dispatch.to_count(to_the_end=self.state is ParentState.STOPPING)
        return []

    def dispatch(self, counts: Mapping[int, int]) -> None:
        """Order workers to accept. ``counts`` holds the pending count of each listener that :meth:`to_count` named."""
        self._dispatch.order(counts, self._now)
        self._settle()

    def _settle(self) -> None:
        """Is what the parent waits for over?"""
        if self.state is ParentState.STOPPING:
            if self._dispatch.exhausted:
                self._drain_all(ParentEvent.SETTLED, self._now)
        elif self.state is ParentState.YIELDING and not self._dispatch.in_flight:
            # before any worker is drained: the successor is to watch while these workers finish (BC-BATON-10)
            self._actions.append(Release())
            self._drain_all(ParentEvent.SETTLED, self._now)

    def scale(self, now: float) -> None:
        """Spawn or retire, if the pool needs it and a pass may act (BC-SCALE-06), and go on with a reload."""
        if self.state not in SIZING:
            return
        if self._reload.active:
            self._reload.proceed(now)
        if self._reload.untold:
            self._reload.tell()
        decision = self._sizing.decide(now)
        for _ in range(decision.spawn):
            self._lives.spawn(self._reload.current, now)
        if decision.retire is not None:
            self.counters.retired += 1
            self._lives.drain(self.workers[decision.retire], now)

    def take_actions(self) -> list[Action]:
        """What is to be done now, in this order. Carrying it out may lead to more: ask until there is none."""
        actions = self._actions[:]
        self._actions.clear()
        return actions

    def next_deadline(self) -> float | None:
        """When the loop must turn again even if nothing happens; ``None``: not at all."""
        first = self._deadlines.next()
        if self.state in SIZING:
            for other in (self._sizing.next_pass(), self._reload.next_step()):
                if other is not None and (first is None or other < first):
                    first = other
        return first

    # --------------------------------------------------------------------------------------------------- the whole pool

    def stop(self, now: float) -> None:
        """Serve what is pending, then drain all workers (BC-STOP-01). No effect if that is under way (BC-STOP-05)."""
        if self.state is ParentState.STANDBY:  # what is pending is another parent's (BC-STOP-06)
            self._drain_all(ParentEvent.STOP, now)
        elif self._step(ParentEvent.STOP):
            self._reload.abandon()
            self._deadlines.set(self._stop_deadline, now + self.settings.stop_deadline)
            self._dispatch.look_again()

    def reload(self, now: float, *, at_once: bool = False) -> bool:
        """Replace every worker by one of a new generation, one by one or ``at_once`` (BC-RELOAD-01).

        ``False``, and nothing happens, unless the pool is RUNNING. :class:`~backchannel.actions.Reloaded` says when it
        is over.
        """
        if not self._step(ParentEvent.RELOAD):
            return False
        self._reload.begin(now, at_once=at_once)
        return True

    def hand_over(self) -> bool:
        """Order nothing any more; when every order has ended, :class:`~backchannel.actions.Release` the baton, then
        drain all workers (BC-BATON-02, -09 to -11). ``False``, and nothing happens, unless the pool is RUNNING.
        """
        return self._step(ParentEvent.HAND_OVER)

    def keep(self) -> bool:
        """The successor has gone before the baton was released: go on. ``False`` if there was nothing to keep."""
        if not self._step(ParentEvent.KEEP):
            return False
        self._reload.due = True  # a reload that was under way goes on (BC-BATON-08)
        self._dispatch.look_again()
        return True

    def take_over(self) -> bool:
        """The baton has ended: the listeners are this parent's (BC-BATON-01). Watch them from now on. ``False``, and
        nothing happens, unless the pool is on STANDBY: it may have been stopped meanwhile.
        """
        if not self._step(ParentEvent.BATON):
            return False
        self._dispatch.look_again()
        return True

    def _drain_all(self, event: ParentEvent, now: float) -> None:
        if not self._step(event):
            return
        self._stop_deadline.when = None
        self._reload.abandon()
        self._actions.append(CloseListeners())
        for worker in list(self.workers.values()):
            if worker.state is SlotState.STARTING:
                self._dismiss(worker, now)
            else:
                self._lives.drain_each([worker], now)

    def _dismiss(self, worker: Worker, now: float) -> None:
        """``worker`` is STARTING when all are to go: it holds nothing, and would read of a drain when its code has been
        loaded, which may take long (BC-STOP-04).
        """
        self._lives.kill(worker, SlotEvent.STOP, "it was still starting when the pool came to its end", now)

    def _step(self, event: ParentEvent) -> bool:
        """Move the parent's own machine; ``False`` when ``event`` has no effect."""
        after = PARENT[self.state][event]
        if after is None:
            return False
        self.state = after
        return True

    @property
    def octets_per_turn(self) -> int:
        """How much may be read from one channel before all others have had their turn (BC-CHAN-09)."""
        return self.settings.frames_per_turn * self.message_size

    @property
    def ever_ready(self) -> int:
        """Workers that have ever become READY."""
        return self._lives.ever_ready

    @property
    def generation(self) -> int:
        """The newest generation, which new workers are of."""
        return self._reload.current

    @property
    def reloading(self) -> bool:
        """Whether a reload is under way."""
        return self._reload.active

    @property
    def stopping(self) -> bool:
        """It is going to end: it serves what is pending, or drains all workers."""
        return self.state in ENDING

    @property
    def finished(self) -> bool:
        """It has ended: all workers were drained, and none is left."""
        return self.state is ParentState.DRAINING and not self.workers

    @property
    def may_replace(self) -> bool:
        """Whether a successor may be started: its listeners are this parent's, and it is not about to end."""
        return PARENT[self.state][ParentEvent.REPLACE] is not None

    # --------------------------------------------------------------------------------------- the watch of the listeners

    def watching(self, listener: int) -> bool:
        """Whether a level-triggered watch of ``listener`` is to be armed: a worker may be chosen, and what is
        pending has no order (BC-WATCH-05).
        """
        backlog = self.backlogs[listener]
        return self._may_order and not backlog.in_flight and not backlog.cooling

    def unseen(self, listener: int) -> bool:
        """Whether an unanswered order keeps a level-triggered watch of ``listener`` from seeing what arrives meanwhile,
        although a worker may be chosen (BC-WATCH-02).
        """
        backlog = self.backlogs[listener]
        return self._may_order and backlog.in_flight > 0 and not backlog.cooling

    @property
    def _may_order(self) -> bool:
        return self.state in DISPATCHING and self._dispatch.has_candidate

    @property
    def edges(self) -> bool:
        """Each arrival makes an event, and counts are exact: the loop says so, if its watch is such a one."""
        return self._dispatch.edges

    @edges.setter
    def edges(self, edges: bool) -> None:
        self._dispatch.edges = edges

    @property
    def reports_can_wait(self) -> bool:
        """Whether reports may wait a little: orders are unanswered, they are for all that is known to be pending, and
        a worker may be chosen for what comes next. Then an arrival is the next thing that needs the parent.
        """
        return self.state is ParentState.RUNNING and self._dispatch.has_candidate and self._dispatch.settled

    @property
    def in_flight(self) -> int:
        """How many connections are in flight, on all listeners together (BC-PEND-01)."""
        return self._dispatch.in_flight
