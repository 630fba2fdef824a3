"""The parent: a nursery of small tasks around :class:`backchannel.Parent`.

Each task waits for one kind of news (a channel, the listeners, deaths, a baton), carries it to the core and says that
a pass is due. One task makes the passes: it sleeps until something is due or the core's next deadline has passed, asks
the core what to do, and does it. A pass has no ``await`` in it, so every pass sees, and leaves, the pool in one piece
(BC-PASS-01), and cancellation can only come between two of them.

Nothing forks here. A worker is a program, started in a process of its own (:mod:`backchannel_server.exec_binding`), so
no worker begins as the copy of a running loop, and the pool may live in any trio program, with threads or without. A
spawner, forked before ``trio.run``, would start workers thirty times faster and in a fifth of the memory; why it is not
used is told, with the figures, in ``docs/trio.rst``.
"""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import trio
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
from backchannel_server import platform
from backchannel_server.channels import Crew
from backchannel_server.errors import StartError
from backchannel_server.exec_binding import Launcher
from backchannel_server.opening import Opened
from backchannel_server.place import Place
from backchannel_server.signals import heard
from backchannel_server.status_document import document
from backchannel_server.traces import trace_if_asked
from backchannel_server.upgrade import READY, Successor

from .watching import Channels, Sleeps, StatusSocket, ended, hear_arrivals

__all__ = ["Pool"]

log = logging.getLogger("backchannel")


class Pool:
    """A parent and its workers, which ``launcher`` starts. What is in ``opened`` is closed by whoever opened it.

    ``reload_at_once``: a reload changes all workers when all new ones are ready, instead of one by one. ``place`` is
    where a successor starts, and, as a rule, the workers.
    """

    def __init__(
        self,
        launcher: Launcher,
        opened: Opened,
        settings: Settings,
        scaling: Scaling,
        *,
        reload_at_once: bool = False,
        place: Place | None = None,
    ) -> None:
        self.opened = opened
        self.listeners = opened.listeners.sockets
        self._counts = platform.Counts(self.listeners)
        self.settings = settings
        if opened.workers:
            scaling = replace(scaling, start=min(max(opened.workers, scaling.min), scaling.max))
        self.core = Parent(settings, scaling, len(self.listeners), standby=opened.baton is not None)
        trace_if_asked(self.core)
        self._launcher = launcher
        self._reload_at_once = reload_at_once
        self._place = place
        self._reload_later = False
        self.began = trio.Event()
        """There are workers: from now on one may ask for what is below."""
        self._names = opened.names
        self._due = trio.Event()
        self._sleeps = Sleeps()
        self._news: set[int] = set()
        self._poller: platform.EdgePoller | None = None
        self._status_socket: StatusSocket | None = None
        self._successor: Successor | None = None
        self._yielding = False
        self._failure: StartError | None = None

    # --------------------------------------------------------------------------- what one may ask

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return list(self._names)

    def document(self) -> dict[str, object]:
        """The status document of the adapter contract."""
        successor = self._successor.pid if self._successor else None
        now = trio.current_time()
        return document(self.core, self._names, self._crew.pids, self._sleeps.count, now, successor)

    def stop(self) -> None:
        """Serve what is pending, drain all workers, and end (BC-STOP-01). A successor that has not taken over ends."""
        if self._successor is not None:
            # the baton is held until it has gone: its end would give it the listeners (BC-BATON-06)
            self._successor.tell(signal.SIGTERM)
        before = self.core.state
        self.core.stop(trio.current_time())
        if before is PoolState.YIELDING and self.core.state is PoolState.STOPPING:
            self._resume()
        if before in (PoolState.RUNNING, PoolState.YIELDING):
            log.info("stopping: what is pending is served, then the workers drain", extra={"event": "stopping"})
            self.opened.notifier.stopping()
        self._due.set()

    def reload(self) -> None:
        """Replace the workers by new ones, which load their code anew (BC-RELOAD-01)."""
        if self.core.state is PoolState.STANDBY:
            self._reload_later = True
            log.info("the reload begins when this parent has the listeners")
            return
        if not self.core.reload(trio.current_time(), at_once=self._reload_at_once):
            log.warning("no reload while %s", self.core.state.value)
            return
        generation = self.core.generations.current
        where = f", in {self._place.now()}" if self._place else ""
        extra = {"event": "reload", "generation": generation}
        log.info("reload: generation %d begins%s", generation, where, extra=extra)
        self.opened.notifier.reloading()
        self._due.set()

    def replace(self) -> None:
        """Start this program again as a successor, which takes over when its workers are ready (BC-BATON-03)."""
        if self._successor is not None or not self.core.may_replace:
            log.warning("no replacement while %s", "one starts" if self._successor else self.core.state.value)
            return
        if os.getpid() == 1:
            log.error("no replacement of process 1: its end would be the container's; start a new container instead")
            return
        opened, workers = self.opened, len(self.core.workers)
        try:
            successor = Successor.start(opened.listeners, opened.status, opened.notifier, workers, self._place)
        except OSError as error:
            log.error("cannot start a successor: %s", error)
            return
        log.info("successor %d starts", successor.pid, extra={"event": "successor", "successor": successor.pid})
        self._successor = successor
        self._nursery.start_soon(self._hear_successor, successor)

    def abandon(self, number: int = 0) -> None:
        """The successor, if there is one, shall not be one (BC-BATON-03). ``number``: a signal to send to it."""
        if self._successor is None:
            return
        if number:
            self._successor.tell(number)
        self._drop_baton()
        if self.core.keep(trio.current_time()):
            self._resume()
        self._due.set()

    # ---------------------------------------------------------------------------------- the tasks

    async def run(self, *, task_status: trio.TaskStatus[Pool] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until :meth:`stop` has done its work. Raises :class:`StartError` when no worker can start.

        Tells ``task_status`` when the first workers are ready. When it is cancelled, all workers are killed.
        """
        trio.lowlevel.add_instrument(self._sleeps)
        try:
            with trio.open_signal_receiver(signal.SIGCHLD) as deaths, heard([signal.SIGCHLD]):
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    channels = Channels(nursery, lambda: self._due.set())
                    self._crew = Crew(self.core, channels, self._start, clock=trio.current_time)
                    nursery.start_soon(self._hear_deaths, deaths)
                    if self.opened.baton is None:
                        self._begin()
                    else:
                        nursery.start_soon(self._await_baton, self.opened.baton)
                    try:
                        await self._make_passes(task_status)
                    finally:
                        self._close()
                    nursery.cancel_scope.cancel()
        finally:
            trio.lowlevel.remove_instrument(self._sleeps)
        if self._failure is not None:
            raise self._failure

    async def _make_passes(self, task_status: trio.TaskStatus[Pool]) -> None:
        """Sleep until something is due, then make a pass, until the end."""
        core, ready, told = self.core, False, False
        core.start(trio.current_time())
        self._pass()
        self.began.set()
        while self._failure is None and not core.finished:
            deadline = core.next_deadline()
            with trio.move_on_at(math.inf if deadline is None else deadline):
                await self._due.wait()
            self._due = trio.Event()
            self._pass()
            if not ready and core.greeted >= core.rules.start:
                ready = True
                if self.opened.baton is not None:
                    with suppress(OSError):  # the old parent has died, and then there is an end-of-file as well
                        self.opened.baton.send(READY)
            if ready and not told and core.state is not PoolState.STANDBY:
                told = True
                self.opened.notifier.ready(self._names)
                task_status.started(self)

    async def _hear_deaths(self, deaths: AsyncIterator[int]) -> None:
        async for _ in deaths:
            for _status in self._crew.reap([self._successor.pid] if self._successor else []):
                self._due.set()

    async def _await_baton(self, baton: socket.socket) -> None:
        """The baton has ended: the old parent orders nobody any more (BC-BATON-01)."""
        await ended(baton)
        if self.core.take_over(trio.current_time()):  # not if it was stopped meanwhile: its listeners are closed then
            self.opened.take_over()
            self._begin()
            if self._reload_later:
                self.reload()
            self._due.set()

    async def _hear_successor(self, successor: Successor) -> None:
        """It says that it is ready, or it has ended."""
        with suppress(trio.ClosedResourceError):
            if not await ended(successor.baton, but=READY):
                log.info("successor %d is ready: handing over", successor.pid)
                self._yielding = True  # by the next pass: the listeners may have news in this very turn
                self._due.set()
                await ended(successor.baton)
            if self._successor is successor:
                if self.core.stopping:
                    log.info("successor %d has ended", successor.pid)
                else:
                    log.error("successor %d ended before it had taken over: this parent goes on", successor.pid)
                self.abandon()

    # ------------------------------------------------------------------------------------- a pass

    def _pass(self) -> None:
        """Reports and deaths are in already; then deadlines, dispatch, scaling."""
        core, now = self.core, trio.current_time()
        if self._yielding:
            self._yielding = False
            if self._successor is not None and core.hand_over(now):
                self._stop_watching()
                self.opened.notifier.main_pid(self._successor.pid)
        for slot in core.overdue(now):
            self._crew.read_all(slot)
        core.judge(now)
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

    def _do(self, action: Action) -> None:
        match action:
            case Send(slot, data):
                self._crew.send(slot, data)
            case Spawn(slot):
                self._crew.spawn(slot)
            case HalfClose(slot):
                self._crew.half_close(slot)
            case Kill(slot):
                self._crew.kill(slot)
            case CloseListeners():
                self._stop_watching()
                self.opened.close_listeners()
            case Release():
                self.opened.hand_over()
                self._stop_status()
                self._drop_baton()
            case Reloaded(generation, failure):
                text = f"generation {generation} serves"
                if failure:
                    text = (
                        f"generation {generation} cannot start, the old one goes on serving "
                        f"(mend it and send SIGHUP again): {failure}; what it wrote is above"
                    )
                event = {"event": "reload failed" if failure else "reloaded", "generation": generation}
                log.log(logging.ERROR if failure else logging.INFO, "reload: %s", text, extra=event)
                self.opened.notifier.reloaded(text)
            case Note(slot, text, requirement):
                pid = None if slot is None else self._crew.last_pids.get(slot)
                who = "" if slot is None else f"worker in slot {slot} (pid {pid}) "
                what = f" [{requirement}]" if requirement else ""
                extra = {"event": "note", "slot": slot, "worker_pid": pid, "requirement": requirement}
                log.warning("%s%s%s", who, text, what, extra=extra)
            case GiveUp(status, text):
                self._failure = StartError(status, f"no worker can start: {text}; what it wrote is above")

    def _start(self, slot: int, _ours: socket.socket, theirs: socket.socket) -> int:
        start = ExecStart(slot, self.settings.capacity, len(self.listeners), self.settings.drain_deadline)
        return self._launcher.start(start, theirs, self.listeners)

    # ---------------------------------------------------------------------------- begin and end

    def _begin(self) -> None:
        """Watch the listeners: they are ours."""
        if self.opened.status is not None:
            self._status_socket = StatusSocket(self.opened.status, self.document)
            self._nursery.start_soon(self._status_socket.serve)
        self._start_watching()

    def _start_watching(self) -> None:
        self._poller = platform.edge_poller()
        self.core.edges = self._counts.exact
        self._nursery.start_soon(hear_arrivals, self._poller, self.listeners, self._arrived)

    def _resume(self) -> None:
        """The listeners were not handed over after all: watch them again."""
        self._start_watching()
        self.opened.notifier.main_pid(os.getpid())

    def _arrived(self, listener: int) -> None:
        self._news.add(listener)
        self._due.set()

    def _stop_watching(self) -> None:
        if self._poller is not None:
            trio.lowlevel.notify_closing(self._poller.fileno())
            self._poller.close()
            self._poller = None

    def _stop_status(self) -> None:
        if self._status_socket is not None:
            self._status_socket.close()
            self._status_socket = None

    def _drop_baton(self) -> None:
        if self._successor is not None:
            trio.lowlevel.notify_closing(self._successor.baton)
            self._successor.baton.close()
            self._successor = None

    def _close(self) -> None:
        # after a stop the successor has been told to end, and is about to
        self.abandon(0 if self.core.finished else signal.SIGKILL)
        self._crew.close()
        self._stop_watching()
        self._stop_status()
