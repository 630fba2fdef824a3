"""The parent: one loop around :class:`backchannel.Parent`.

Each turn carries what happened to the core and carries out what the core decides. The order within a turn is that of
the specification's pass (BC-PASS-01), and everything happens in it: a signal handler only makes the loop turn
(BC-PASS-03).
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from backchannel import (
    Action,
    CloseListeners,
    ExecStart,
    GiveUp,
    HalfClose,
    Kill,
    Note,
    Parent,
    PoolState,
    Release,
    Reloaded,
    Scaling,
    Send,
    Settings,
    Spawn,
)
from backchannel.parent import NEVER_AGAIN
from backchannel_server import platform
from backchannel_server.channels import Crew
from backchannel_server.exec_binding import Launcher
from backchannel_server.fork_binding import Reasons, fork_worker
from backchannel_server.handlers import Handler
from backchannel_server.opening import Opened
from backchannel_server.place import Place
from backchannel_server.signals import INTERRUPTED, WakeUp
from backchannel_server.status_document import document, log_status
from backchannel_server.status_socket import StatusSocket
from backchannel_server.traces import trace_if_asked
from backchannel_server.traditional import Traditional
from backchannel_server.upgrade import READY, Successor

from .forked import work

__all__ = ["Pool"]

log = logging.getLogger("backchannel")

PATIENCE = 0.001
"""Seconds that reports may wait while nothing needs them; the shortest that every poller can wait."""

GLANCES = 16
"""How often in a row an arrival is answered with a look at one channel instead of all."""


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class Pool:
    """A parent and its workers. ``find_handler`` is called in each worker, and returns one that fits its capacity;
    or ``launcher`` starts them. ``kept`` names what of the handler's code this process itself has loaded, and ``place``
    where the rest is loaded from.
    """

    def __init__(
        self,
        find_handler: Callable[[], Handler] | None,
        opened: Opened,
        settings: Settings,
        scaling: Scaling,
        *,
        quota: int = 0,
        poller: str = "auto",
        on_ready: Callable[[Pool], None] | None = None,
        launcher: Launcher | None = None,
        reload_at_once: bool = False,
        kept: str = "",
        traditional: bool = False,
        place: Place | None = None,
    ) -> None:
        self.opened = opened
        self.listeners = opened.listeners.sockets
        self._counts = platform.Counts(self.listeners)
        self.settings = settings
        if opened.workers:
            scaling = replace(scaling, start=min(max(opened.workers, scaling.min), scaling.max))
        kind = Traditional if traditional else Parent
        self.core = kind(settings, scaling, len(self.listeners), standby=opened.baton is not None)
        if not traditional:  # there are no orders to follow then
            trace_if_asked(self.core)
        self.wakeups = 0
        self._ordered = self._glances = 0
        self._find_handler = find_handler
        self._launcher = launcher
        self._quota = quota
        self._on_ready = on_ready
        self._reload_at_once = reload_at_once
        self._kept = kept
        self._place = place
        self._reload_later = False
        self._ready = self._told = False
        self._names = opened.names
        self._poller = poller
        self._selector = platform.selector_class(poller)()
        self._crew = Crew(self.core, self._selector, self._start, nudge=traditional)
        self._news: set[int] = set()
        self._wake_up = WakeUp()
        self._reap = False
        self._status: int | None = None
        self._reasons = Reasons()
        self._look_for_reasons = False
        self._successor: Successor | None = None
        self._yielding = False
        self._status_socket: StatusSocket | None = None
        self._watch: platform.ListenerWatch | None = None
        self._selector.register(self._wake_up.reader, selectors.EVENT_READ, self._signalled)
        if opened.baton is None:
            self._begin()
        else:
            self._selector.register(opened.baton, selectors.EVENT_READ, self._take_over)

    # ---------------------------------------------------------------------------------- the loop

    def run(self) -> int:
        """Serve until a signal ends it. Returns the exit status."""
        with self._wake_up.catching(SIGNALS):
            try:
                self.core.start(time.monotonic())
                self._turn(())
                while self._status is None and not self.core.finished:
                    self._turn(self._wait())
            finally:
                self._close()
        return self._status or 0

    def _wait(self) -> Sequence[tuple[selectors.SelectorKey, int]]:
        """Sleep until something happens.

        After an order the next arrival is what matters, as a rule, and reports can wait for it: then only arrivals wake
        the parent, for a short while, and what was reported meanwhile is read together. That is one wake-up for each
        connection of a busy pool instead of three. If only one order was unanswered, what there is to read then is, as
        a rule, the answer to it: it is read without asking who else has something to say, but not for ever.
        """
        deadline = self._next_deadline()
        if self._watch is not None and self._watch.edges and self.core.patient:
            self._watch.sleep(PATIENCE)
            self.wakeups += 1
            if self._news:
                self._glances = (self._glances + 1) % GLANCES
                if self.core.awaited > 1 or not self._glances:
                    return self._selector.select(0)
                self._crew.read(self._ordered)
                return ()
        timeout = None if deadline is None else platform.seconds_until(deadline)
        events = self._selector.select(timeout)
        self.wakeups += 1
        return events

    def _next_deadline(self) -> float | None:
        times = (
            self.core.next_deadline(),
            self._watch.next_look() if self._watch else None,
            self._crew.next_nudge(),
            self._status_socket.next_look() if self._status_socket else None,
        )
        return min((when for when in times if when is not None), default=None)

    def _turn(self, events: Sequence[tuple[selectors.SelectorKey, int]]) -> None:
        """One pass: reports and deaths, deadlines, dispatch, scaling."""
        core = self.core
        for key, mask in events:
            key.data(mask)
        if self._reap:
            self._reap = False
            for status in self._crew.reap([self._successor.pid] if self._successor else []):
                self._look_for_reasons |= status in NEVER_AGAIN
        if self._yielding:
            self._hand_over()
        now = time.monotonic()
        for slot in core.overdue(now):
            self._crew.read_all(slot)
        core.judge(now)
        if self._watch is not None:
            self._watch.look(now)
        if self._status_socket is not None:
            self._status_socket.look(now)
        for listener in self._news:
            core.readable(listener)
        counts = {index: self._counts.pending(index, index in self._news) for index in core.to_count()}
        core.edges = core.edges and self._counts.exact
        self._news.clear()
        core.dispatch(counts)
        core.scale(now)
        while actions := core.take_actions():
            for action in actions:
                self._do(action)
        self._crew.nudge(now)
        if self._watch is not None:
            self._watch.rearm(core.watching, core.hidden, now)
        if self._look_for_reasons:
            self._look_for_reasons = False
            for reason in self._reasons.take():
                log.error("a worker cannot start: %s", reason)
        if not self._told:
            self._tell()

    # ------------------------------------------------------------------------------------ actions

    def _do(self, action: Action) -> None:
        match action:
            case Send(slot, data):
                self._ordered = slot
                self._crew.send(slot, data)
            case Spawn(slot):
                self._crew.spawn(slot)
            case HalfClose(slot):
                self._crew.half_close(slot)
            case Kill(slot):
                self._crew.kill(slot)
            case CloseListeners():
                self._stop_watching()
                # a worker of the traditional pool sleeps in accept, and must not find its listener broken
                self.opened.close_listeners(nobody_accepts=self.core.watches)
            case Release():
                self.opened.hand_over()
                if self._status_socket is not None:
                    self._status_socket.stop()
                    self._status_socket = None
                self._drop_baton()
            case Reloaded():
                self._reloaded(action)
            case Note(slot, text, requirement):
                pid = None if slot is None else self._crew.last_pids.get(slot)
                who = "" if slot is None else f"worker in slot {slot} (pid {pid}) "
                what = f" [{requirement}]" if requirement else ""
                extra = {"event": "note", "slot": slot, "worker_pid": pid, "requirement": requirement}
                log.warning("%s%s%s", who, text, what, extra=extra)
            case GiveUp(status, text):
                reasons = self._reasons.take() or [text]
                log.error("no worker can start: %s", "; ".join(reasons))
                self._status = status

    def _start(self, slot: int, ours: socket.socket, theirs: socket.socket) -> int:
        """Start the process of a worker, by the exec binding or by the fork binding; return its id."""
        if self._launcher is not None:
            start = ExecStart(slot, self.settings.capacity, len(self.listeners), self.settings.drain_deadline)
            return self._launcher.start(start, theirs, self.listeners)
        find = self._find_handler
        assert find is not None
        self._reasons.generation = self.core.generations.current

        def child() -> int:
            ours.close()
            self._become_worker()
            return work(
                slot,
                theirs,
                self.listeners,
                find,
                self.settings,
                self._quota,
                self._poller,
                self._reasons,
                traditional=not self.core.watches,
            )

        return fork_worker(child)

    def _become_worker(self) -> None:
        """In a new worker: let go of everything that is the parent's alone (BC-FORK-02, BC-FORK-03, BC-FORK-05)."""
        if self._watch is not None:
            self._watch.forget()
        platform.forget(self._selector)
        self._crew.forget()
        if self._status_socket is not None:
            self._status_socket.forget()
        self._wake_up.close()
        self.opened.notifier.forget()
        for sock in (self.opened.status, self.opened.baton, self._successor.baton if self._successor else None):
            if sock is not None:
                sock.close()

    # ------------------------------------------------------------------------------------- signals

    def _signalled(self, _mask: int) -> None:
        for number in self._wake_up.take():
            match number:
                case signal.SIGCHLD:
                    self._reap = True
                case signal.SIGTERM:
                    self._stop()
                case signal.SIGINT:
                    self._abandon(signal.SIGKILL)
                    self._status = INTERRUPTED
                case signal.SIGHUP:
                    self._reload()
                case signal.SIGUSR1:
                    log_status(self.document())
                case signal.SIGUSR2:
                    self._replace()

    # ------------------------------------------------------------------------ stop, reload, replace

    def _begin(self) -> None:
        """Watch the listeners: they are ours."""
        if self.opened.status is not None:
            self._status_socket = StatusSocket(self.opened.status, self._selector, self.document)
        self._start_watching()

    def _start_watching(self) -> None:
        if not self.core.watches:
            self.listeners[0].setblocking(True)  # its workers are to sleep in accept
            return
        self._watch = platform.listener_watch(self._selector)
        self._watch.start(self.listeners, self._news.add)
        self.core.edges = self._watch.edges and self._counts.exact

    def _tell(self) -> None:
        """Tell whoever asked, when the first workers are ready; as a successor, the old parent first."""
        if not self._ready and self.core.greeted >= self.core.rules.start:
            self._ready = True
            if self.opened.baton is not None:
                with contextlib.suppress(OSError):  # it has died, and then there is an end-of-file as well
                    self.opened.baton.send(READY)
        if self._ready and self.core.state is not PoolState.STANDBY:
            self._told = True
            self.opened.notifier.ready(self._names)
            if self._on_ready is not None:
                self._on_ready(self)

    def _stop(self) -> None:
        if self._successor is not None:
            # the baton is held until it has gone: its end would give it the listeners (BC-BATON-06)
            self._successor.tell(signal.SIGTERM)
        before = self.core.state
        self.core.stop(time.monotonic())
        if before is PoolState.YIELDING and self.core.state is PoolState.STOPPING:
            self._resume()
        if before in (PoolState.RUNNING, PoolState.YIELDING):
            log.info("stopping: what is pending is served, then the workers drain", extra={"event": "stopping"})
            self.opened.notifier.stopping()

    def _reload(self) -> None:
        if self.core.state is PoolState.STANDBY:
            self._reload_later = True
            log.info("SIGHUP: the reload begins when this parent has the listeners")
            return
        if not self.core.reload(time.monotonic(), at_once=self._reload_at_once):
            log.warning("SIGHUP: no reload while %s", self.core.state.value)
            return
        generation = self.core.generations.current
        where = f", in {self._place.now()}" if self._place else ""
        extra = {"event": "reload", "generation": generation}
        log.info("reload: generation %d begins%s", generation, where, extra=extra)
        if self._kept:
            log.warning(
                "the parent itself has loaded %s: new workers run that code again; SIGUSR2 replaces it", self._kept
            )
        self.opened.notifier.reloading()

    def _reloaded(self, done: Reloaded) -> None:
        if done.failure:
            text = f"generation {done.generation} cannot start, the old one goes on serving"
            # before the reasons are looked for anyway: they belong to this
            reasons = "; ".join(self._reasons.take()) or f"{done.failure}; what it wrote is above"
            extra = {"event": "reload failed", "generation": done.generation}
            log.error("reload: %s (mend it and send SIGHUP again): %s", text, reasons, extra=extra)
            self.opened.notifier.reloaded(f"{text}: {done.failure}")
        else:
            text = f"generation {done.generation} serves"
            log.info("reload: %s", text, extra={"event": "reloaded", "generation": done.generation})
            self.opened.notifier.reloaded(text)

    def _replace(self) -> None:
        """Start a successor; when it is ready it says so on the baton (BC-BATON-03)."""
        if self._successor is not None or not self.core.may_replace:
            log.warning("SIGUSR2: no replacement while %s", "one starts" if self._successor else self.core.state.value)
            return
        if os.getpid() == 1:
            log.error("SIGUSR2: this is process 1, and its end would be the container's: start a new container instead")
            return
        opened, workers = self.opened, len(self.core.workers)
        try:
            self._successor = Successor.start(opened.listeners, opened.status, opened.notifier, workers, self._place)
        except OSError as error:
            log.error("SIGUSR2: cannot start a successor: %s", error)
            return
        log.info(
            "successor %d starts", self._successor.pid, extra={"event": "successor", "successor": self._successor.pid}
        )
        self._selector.register(self._successor.baton, selectors.EVENT_READ, self._successor_speaks)

    def _successor_speaks(self, _mask: int) -> None:
        successor = self._successor
        if successor is None:
            return  # abandoned earlier in this turn
        try:
            said = successor.baton.recv(4096)
        except BlockingIOError:
            return
        except ConnectionResetError:
            said = b""
        if said:
            if READY in said and not successor.ready:
                log.info("successor %d is ready: handing over", successor.pid)
                successor.ready = self._yielding = True
            return
        if self.core.stopping:
            log.info("successor %d has ended", successor.pid)
        else:
            log.error("successor %d ended before it had taken over: this parent goes on", successor.pid)
        self._abandon()

    def _hand_over(self) -> None:
        """The successor is ready. Not done where it is heard: the watch may have an event in the same turn."""
        self._yielding = False
        if self._successor is not None and self.core.hand_over(time.monotonic()):
            self._stop_watching()
            self.opened.notifier.main_pid(self._successor.pid)

    def _abandon(self, number: int = 0) -> None:
        """The successor, if there is one, shall not be one (BC-BATON-03). ``number``: a signal to send to it."""
        if self._successor is None:
            return
        if number:
            self._successor.tell(number)
        self._drop_baton()
        if self.core.keep(time.monotonic()):
            self._resume()

    def _resume(self) -> None:
        """The listeners were not handed over after all: watch them again."""
        self._start_watching()
        self.opened.notifier.main_pid(os.getpid())

    def _drop_baton(self) -> None:
        if self._successor is not None:
            self._selector.unregister(self._successor.baton)
            self._successor.baton.close()
            self._successor = None

    def _take_over(self, _mask: int) -> None:
        """The baton has ended: the old parent orders nobody any more (BC-BATON-01)."""
        baton = self.opened.baton
        if baton is None:
            return
        try:
            if baton.recv(4096):
                return
        except BlockingIOError:
            return
        except ConnectionResetError:
            pass
        self._selector.unregister(baton)
        if self.core.take_over(time.monotonic()):  # not if it was stopped meanwhile: its listeners are closed then
            self.opened.take_over()
            self._begin()
            if self._reload_later:
                self._reload()

    # ------------------------------------------------------------------------------------- the end

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _close(self) -> None:
        self._crew.close()
        self._stop_watching()
        self._drop_baton()
        if self._status_socket is not None:
            self._status_socket.stop()
        self._selector.close()
        self._reasons.close()
        self._wake_up.close()

    # -------------------------------------------------------------------------------------- status

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return list(self._names)

    def document(self) -> dict[str, object]:
        """The status document of the adapter contract."""
        successor = self._successor.pid if self._successor else None
        return document(self.core, self._names, self._crew.pids, self.wakeups, time.monotonic(), successor)
