"""The parent of a pool, under any loop.

:class:`~backchannel.parent.Parent` decides, and this does: it reads channels and counts, starts and ends processes,
closes listeners, says in the log what has happened. A loop around it gives three things (:class:`~.loops.Loop`)
and does three: it sleeps, makes turns, and passes signals on::

    driver = Driver(loop, start, opened, settings, scaling)
    driver.begin()
    while not driver.over:
        ...              # wait for what is watched, until driver.next_turn() at the latest, and call back
        driver.turn()
    driver.close()

A turn is the specification's pass (BC-PASS-01): reports are in already; then deaths are reaped, deadlines judged,
connections dispatched, and the pool scaled. Nothing in here blocks. A signal handler calls nothing here; the loop calls
:meth:`Driver.obey` (BC-PASS-03).
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from backchannel import (
    Action,
    CloseListeners,
    GiveUp,
    HalfClose,
    Kill,
    Note,
    Parent,
    ParentState,
    Release,
    Reloaded,
    Scaling,
    Send,
    Settings,
    Spawn,
)
from backchannel.states import NEVER_AGAIN

from .arrivals import Arrivals
from .channels import Channels
from .errors import StartError, starting
from .handover import Handover
from .loops import Loop, Phase
from .opening import Opened
from .place import Place
from .signals import PARENTS
from .status_document import document, log_status
from .status_socket import StatusSocket
from .traces import trace_if_asked

__all__ = ["SIGNALS", "Driver", "Start"]

log = logging.getLogger("backchannel")

SIGNALS: Final = (*PARENTS, signal.SIGCHLD)
"""What :meth:`Driver.obey` is for."""

Start = Callable[[int, socket.socket, socket.socket], int]
"""``start(slot, ours, theirs)`` starts the worker of ``slot``, which is to have ``theirs``, and returns its process id.
Raises ``OSError`` when the system has no process to give.
"""


class Driver:
    """A parent and its workers, which ``start`` starts. Whoever opened what is in ``opened`` closes it.

    ``reload_at_once``: a reload changes all workers when all new ones are ready, instead of one by one. ``place`` is
    where a successor starts, and, as a rule, the workers; ``kept`` names what of the handler's code this process itself
    has loaded. ``on_ready`` is called once, when the first workers are ready and the listeners are this parent's.
    ``reasons`` returns what workers have said of why they cannot start. ``edges``: see :class:`~.arrivals.Arrivals`.
    ``core``: another kind of parent.
    """

    def __init__(
        self,
        loop: Loop,
        start: Start,
        opened: Opened,
        settings: Settings,
        scaling: Scaling,
        *,
        reload_at_once: bool = False,
        place: Place | None = None,
        kept: str = "",
        on_ready: Callable[[], None] = lambda: None,
        reasons: Callable[[], list[str]] = list,
        edges: bool = True,
        core: type[Parent] = Parent,
    ) -> None:
        listeners = opened.listeners.sockets
        if opened.workers:
            scaling = replace(scaling, start=min(max(opened.workers, scaling.min), scaling.max))
        self.core = core(settings, scaling, len(listeners), standby=opened.baton is not None)
        if self.core.watches:  # there are no orders to follow otherwise
            trace_if_asked(self.core)
        self.opened = opened
        self.names = opened.names
        """Where it listens."""
        self.wakeups = 0
        """How often the loop has woken, if it counts that."""
        self.failure: StartError | None = None
        """Why no worker can start: the end."""
        self.interrupted = False
        """By SIGINT: the end, at once."""
        self._phase = Phase.NEW
        self._loop = loop
        self._reload_at_once = reload_at_once
        self._reload_later = False
        self._place = place
        self._kept = kept
        self._on_ready = on_ready
        self._reasons = reasons
        self._ready = self._told = self._reap = self._look_for_reasons = False
        self._status: StatusSocket | None = None
        self.channels = Channels(self.core, loop, start, signals=not self.core.watches)
        self.arrivals = Arrivals(self.core, loop, listeners, edges=edges)
        self.handover = Handover(self.core, loop, opened, self.arrivals, self._own, place)

    # ------------------------------------------------------------------------------------ the loop's

    def begin(self) -> None:
        """Watch the listeners, unless they are another parent's still, and start the first workers.

        Raises :class:`~.errors.StartError` when the system refuses to have something watched. A driver begins once.
        """
        if self._phase is not Phase.NEW:
            raise self._phase.refuses("begin")
        with starting():
            self.handover.begin()
        self.core.start(self._loop.time())
        self._phase = Phase.BEGUN
        self.turn()

    @property
    def over(self) -> bool:
        """There is nothing more to do but :meth:`close`."""
        return self.interrupted or self.failure is not None or self.core.finished

    def next_turn(self) -> float | None:
        """When a turn is due even if there is no news, by the loop's clock; ``None``: not at all."""
        times = (
            self.core.next_deadline(),
            self.arrivals.next_look(),
            self.channels.next_resend(),
            self._status.next_look() if self._status is not None else None,
        )
        return min((when for when in times if when is not None), default=None)

    def turn(self) -> None:
        """One pass: what was read is in already; then deaths, deadlines, dispatch, scaling. Raises ``RuntimeError``
        before :meth:`begin`, after :meth:`close`, and within a turn.
        """
        if self._phase is not Phase.BEGUN:
            raise self._phase.refuses("turn")
        self._phase = Phase.TURN
        try:
            self._pass()
        finally:
            self._phase = Phase.BEGUN

    def _pass(self) -> None:
        core = self.core
        if self._reap:
            self._reap = False
            for status in self.channels.reap([self.handover.successor_pid] if self.handover.successor_pid else []):
                self._look_for_reasons |= status in NEVER_AGAIN
        self.handover.go_on()
        now = self._loop.time()
        for slot in core.overdue(now):
            self.channels.read_all(slot)
        core.judge(now)
        self.arrivals.look(now)
        if self._status is not None:
            self._status.look(now)
        core.dispatch(self.arrivals.pending())
        core.scale(now)
        while actions := core.take_actions():
            for action in actions:
                self._do(action)
        self.channels.resend(now)
        self.arrivals.rearm(now)
        if self._look_for_reasons:
            self._look_for_reasons = False
            for reason in self._reasons():
                log.error("a worker cannot start: %s", reason)
        if not self._told:
            self._tell()

    def obey(self, number: int) -> None:
        """Do what a signal stands for; a turn must follow. Raises ``RuntimeError`` within a turn."""
        if self._phase is Phase.TURN:  # a signal handler has called, and this pass would see the pool change
            raise self._phase.refuses("obey")
        match number:
            case signal.SIGCHLD:
                self._reap = True  # in the turn, when all that the dead had written before is read
            case signal.SIGTERM:
                self.stop()
            case signal.SIGINT:
                self.interrupt()
            case signal.SIGHUP:
                self.reload()
            case signal.SIGUSR1:
                log_status(self.document())
            case signal.SIGUSR2:
                self.handover.start()

    def close(self) -> None:
        """Kill who is left, and let go of everything that was not in ``opened``."""
        self._phase = Phase.CLOSED
        self.channels.close()
        self.arrivals.stop()
        self.handover.drop()
        self._stop_status()

    def forget(self) -> None:
        """In a forked worker: let go of all that is the parent's alone (BC-FORK-02, BC-FORK-03, BC-FORK-05), but for
        what the loop itself has open.
        """
        self.arrivals.forget()
        self.channels.forget()
        if self._status is not None:
            self._status.forget()
        if self.opened.status is not None:
            self.opened.status.close()
        self.handover.forget()
        self.opened.notifier.forget()

    # ------------------------------------------------------------------------------- what one may ask

    def stop(self) -> None:
        """Serve what is pending, drain all workers, and end (BC-STOP-01). A successor that has not taken over ends."""
        # the baton is held until it has gone: its end would give it the listeners (BC-BATON-06)
        self.handover.tell(signal.SIGTERM)
        before = self.core.state
        self.core.stop(self._loop.time())
        if before is ParentState.YIELDING and self.core.state is ParentState.STOPPING:
            self.handover.resume()
        if before in (ParentState.RUNNING, ParentState.YIELDING):
            log.info("stopping: what is pending is served, then the workers drain", extra={"event": "stopping"})
            self.opened.notifier.stopping()

    def interrupt(self) -> None:
        """End at once: the workers are killed, and so is a successor that has not taken over."""
        self.handover.abandon(signal.SIGKILL)
        self.interrupted = True

    def reload(self) -> None:
        """Replace the workers by new ones, which load their code anew (BC-RELOAD-01)."""
        if self.core.state is ParentState.STANDBY:
            self._reload_later = True
            log.info("SIGHUP: the reload begins when this parent has the listeners")
            return
        if not self.core.reload(self._loop.time(), at_once=self._reload_at_once):
            log.warning("SIGHUP: no reload while %s", self.core.state.value)
            return
        generation = self.core.generation
        where = f", in {self._place.now()}" if self._place is not None else ""
        extra = {"event": "reload", "generation": generation}
        log.info("reload: generation %d begins%s", generation, where, extra=extra)
        if self._kept:
            log.warning(
                "the parent itself has loaded %s: new workers run that code again; SIGUSR2 replaces it", self._kept
            )
        self.opened.notifier.reloading()

    def document(self) -> dict[str, object]:
        """The status document of the adapter contract."""
        pids, successor = self.channels.pids, self.handover.successor_pid
        return document(self.core, self.names, pids, self.wakeups, self._loop.time(), successor)

    # ------------------------------------------------------------------------------------ actions

    def _do(self, action: Action) -> None:
        match action:
            case Send(slot, data):
                self.channels.send(slot, data)
            case Spawn(slot):
                self.channels.spawn(slot)
            case HalfClose(slot):
                self.channels.half_close(slot)
            case Kill(slot):
                self.channels.kill(slot)
            case CloseListeners():
                self.arrivals.stop()
                # a worker of the traditional pool sleeps in accept, and must not find its listener broken
                self.opened.close_listeners(shut_down=self.core.watches)
            case Release():
                self.opened.hand_over()
                self._stop_status()
                self.handover.drop()
            case Reloaded():
                self._reloaded(action)
            case Note():
                self._note(action)
            case GiveUp(status, text):
                self.failure = StartError(status, f"no worker can start: {'; '.join(self._reasons() or [text])}")

    def _note(self, note: Note) -> None:
        slot, requirement = note.slot, note.requirement
        pid = None if slot is None else self.channels.last_pids.get(slot)
        who = "" if slot is None else f"worker in slot {slot} (pid {pid}) "
        what = f" [{requirement}]" if requirement else ""
        extra = {"event": "note", "slot": slot, "worker_pid": pid, "requirement": requirement}
        log.warning("%s%s%s", who, note.text, what, extra=extra)

    def _reloaded(self, done: Reloaded) -> None:
        if not done.failure:
            text = f"generation {done.generation} serves"
            log.info("reload: %s", text, extra={"event": "reloaded", "generation": done.generation})
            self.opened.notifier.reloaded(text)
            return
        text = f"generation {done.generation} cannot start, the old one goes on serving"
        # before the reasons are looked for anyway: they belong to this
        reasons = "; ".join(self._reasons()) or f"{done.failure}; what it wrote is above"
        extra = {"event": "reload failed", "generation": done.generation}
        log.error("reload: %s (fix it and send SIGHUP again): %s", text, reasons, extra=extra)
        self.opened.notifier.reloaded(f"{text}: {done.failure}")

    # ------------------------------------------------------------------------------ begin and end

    def _own(self) -> None:
        """The listeners are this parent's: watch them, and answer on the status socket."""
        if self.opened.status is not None:
            self._status = StatusSocket(self.opened.status, self._loop, self.document)
        self.arrivals.start()
        if self._reload_later:
            self.reload()

    def _tell(self) -> None:
        """Tell whoever asked, when the first workers are ready; as a successor, the old parent first."""
        if not self._ready and self.core.ever_ready >= self.core.scaling.start:
            self._ready = True
            self.handover.say_ready()
        if self._ready and self.core.state is not ParentState.STANDBY:
            self._told = True
            self.opened.notifier.ready(self.names)
            self._on_ready()

    def _stop_status(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
