"""The parent: a nursery of small tasks around :class:`backchannel.Parent`.

Each task waits for one kind of news (a channel, the listeners, deaths, the status socket), carries it to the core and
says that a pass is due. One task makes the passes: it sleeps until something is due or the core's next deadline has
passed, asks the core what to do, and does it. A pass has no ``await`` in it, so every pass sees, and leaves, the pool
in one piece (BC-PASS-01), and cancellation can only come between two of them.

Nothing forks here. A worker is a program, started in a process of its own (:mod:`backchannel_sync.launching`), so no
worker begins as the copy of a running loop, and the pool may live in any trio program, with threads or without.
"""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import asdict
from typing import Final

import trio
from backchannel import (
    FRAME_SIZE,
    Action,
    CloseListeners,
    ExecStart,
    GiveUp,
    HalfClose,
    Kill,
    Note,
    Parent,
    Scaling,
    Send,
    Settings,
    Spawn,
)
from backchannel_sync import system
from backchannel_sync.errors import StartError
from backchannel_sync.launching import Launcher
from backchannel_sync.opening import Opened
from backchannel_sync.traces import trace_if_asked

__all__ = ["Pool"]

log = logging.getLogger("backchannel")

STATUS_PATIENCE: Final = 30.0
"""Seconds that a reader of the status socket may take."""


class Pool:
    """A parent and its workers, which ``launcher`` starts. What is in ``opened`` is closed by whoever opened it."""

    def __init__(self, launcher: Launcher, opened: Opened, settings: Settings, scaling: Scaling) -> None:
        self.listeners = opened.listeners.sockets
        self.notifier = opened.notifier
        self.settings = settings
        self.core = Parent(settings, scaling, len(self.listeners))
        trace_if_asked(self.core)
        self._failure: StartError | None = None
        self._launcher = launcher
        self._names = opened.names
        self._channels: dict[int, socket.socket] = {}
        self._pids: dict[int, int] = {}
        self._last_pids: dict[int, int] = {}
        """Of each slot, the dead included: what is logged of a death must still name it."""
        self._news: set[int] = set()
        self._due = trio.Event()
        self._sleeps = _Sleeps()
        self._poller: system.EdgePoller | None = None
        self._status_listener = opened.status

    # --------------------------------------------------------------------------- what one may ask

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return list(self._names)

    def stop(self) -> None:
        """Serve what is pending, drain all workers, and end (BC-STOP-01)."""
        self.notifier.stopping()
        self.core.stop(trio.current_time())
        self._due.set()

    def document(self) -> dict[str, object]:
        """The status document of the adapter contract."""
        return {
            "spec": "1.0",
            "pid": os.getpid(),
            "state": "stopping" if self.core.stopping else "running",
            "listeners": [{"address": name} for name in self._names],
            "counters": {**asdict(self.core.counters), "wakeups": self._sleeps.count},
            "workers": [
                {
                    "slot": worker.slot,
                    "pid": self._pids.get(worker.slot),
                    "state": worker.state.value,
                    "open": worker.open,
                    "capacity": worker.capacity,
                    "orders": worker.orders,
                    "accepted": worker.accepted,
                }
                for _, worker in sorted(self.core.workers.items())
            ],
        }

    # ---------------------------------------------------------------------------------- the tasks

    async def run(self, *, task_status: trio.TaskStatus[Pool] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until :meth:`stop` has done its work. Raises :class:`StartError` when no worker can start.

        Tells ``task_status`` when the first workers are ready. When it is cancelled, all workers are killed.
        """
        self._poller = system.edge_poller()
        for listener in self.listeners:
            self._poller.add(listener.fileno())
        trio.lowlevel.add_instrument(self._sleeps)
        try:
            with trio.open_signal_receiver(signal.SIGCHLD) as deaths:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    nursery.start_soon(self._hear_deaths, deaths)
                    nursery.start_soon(self._hear_arrivals)
                    if self._status_listener is not None:
                        nursery.start_soon(self._answer_status, self._status_listener)
                    await self._make_passes(task_status)
                    nursery.cancel_scope.cancel()
        finally:
            trio.lowlevel.remove_instrument(self._sleeps)
            self._kill_all()
            self._close()
        if self._failure is not None:
            raise self._failure

    async def _make_passes(self, task_status: trio.TaskStatus[Pool]) -> None:
        """Sleep until something is due, then make a pass, until the end."""
        core, told = self.core, False
        core.start(trio.current_time())
        self._pass()
        while self._failure is None and not core.finished:
            deadline = core.next_deadline()
            with trio.move_on_at(math.inf if deadline is None else deadline):
                await self._due.wait()
            self._due = trio.Event()
            self._pass()
            if not told and core.greeted >= core.rules.start:
                told = True
                self.notifier.ready(self._names)
                task_status.started(self)

    async def _hear_arrivals(self) -> None:
        """Listeners have news: an edge, once for each batch of arrivals."""
        poller = self._poller
        assert poller is not None
        index = {listener.fileno(): at for at, listener in enumerate(self.listeners)}
        with suppress(trio.ClosedResourceError):
            while self._poller is poller:
                await trio.lowlevel.wait_readable(poller.fileno())
                self._news.update(index[fd] for fd in poller.events())
                self._due.set()

    async def _hear_worker(self, slot: int, channel: socket.socket) -> None:
        """A worker reports. A turn reads no more of one channel than its share (BC-PASS-01)."""
        with suppress(trio.ClosedResourceError):
            while self._channels.get(slot) is channel:
                await trio.lowlevel.wait_readable(channel)
                self._read(slot, channel, self.settings.frames_per_turn * FRAME_SIZE)
                self._due.set()

    async def _hear_deaths(self, deaths: AsyncIterator[int]) -> None:
        """Children have exited: take leave of those that are ours, each after its last reports (BC-DEATH-01)."""
        async for _ in deaths:
            for slot, pid in list(self._pids.items()):
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    self._read_all(slot)
                    self._drop_channel(slot)
                    self.core.exited(slot, os.waitstatus_to_exitcode(status), trio.current_time())
                    del self._pids[slot]
                    self._due.set()

    # ------------------------------------------------------------------------------------ a pass

    def _pass(self) -> None:
        """Reports and deaths are in already; then deadlines, dispatch, scaling."""
        core, now = self.core, trio.current_time()
        for slot in core.overdue(now):
            self._read_all(slot)
        core.judge(now)
        for listener in self._news:
            core.readable(listener)
        counts = {index: system.pending(self.listeners[index], index in self._news) for index in core.to_count()}
        self._news.clear()
        core.dispatch(counts)
        core.scale(now)
        while actions := core.take_actions():
            for action in actions:
                self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Send(slot, data):
                self._send(slot, data)
            case Spawn(slot):
                self._spawn(slot)
            case HalfClose(slot):
                with suppress(OSError):  # the worker may have closed its end already
                    self._channels[slot].shutdown(socket.SHUT_WR)
            case Kill(slot):
                self._drop_channel(slot)
                if slot in self._pids:
                    os.kill(self._pids[slot], signal.SIGKILL)
            case CloseListeners():
                self._close_listeners()
            case Note(slot, text, requirement):
                who = "" if slot is None else f"worker in slot {slot} (pid {self._last_pids.get(slot)}) "
                what = f" [{requirement}]" if requirement else ""
                log.warning("%s%s%s", who, text, what)
            case GiveUp(status, text):
                self._failure = StartError(status, f"no worker can start: {text}; the log of the workers says why")

    def _send(self, slot: int, data: bytes) -> None:
        channel = self._channels.get(slot)
        if channel is None:
            return  # its channel has ended earlier in this pass
        try:
            sent = channel.send(data)
        except BlockingIOError:
            sent = 0
        except (BrokenPipeError, ConnectionResetError):
            self._read_all(slot)
            return
        if sent < len(data):
            self.core.send_failed(slot, trio.current_time())

    def _spawn(self, slot: int) -> None:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self.core.spawn_failed(slot, f"no descriptor for its channel ({error.strerror})", trio.current_time())
            return
        try:
            start = ExecStart(slot, self.settings.capacity, len(self.listeners), self.settings.drain_deadline)
            pid = self._launcher.start(start, theirs, self.listeners)
        except OSError as error:
            ours.close()
            self.core.spawn_failed(slot, f"the system gives no process ({error.strerror})", trio.current_time())
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        self._pids[slot] = self._last_pids[slot] = pid
        self._channels[slot] = ours
        self._nursery.start_soon(self._hear_worker, slot, ours)

    # ------------------------------------------------------------------------------------ channels

    def _read(self, slot: int, channel: socket.socket, limit: int) -> bool:
        """Read once from a channel; ``False`` when it would block or has ended."""
        if self._channels.get(slot) is not channel:
            return False  # closed since
        try:
            data = channel.recv(limit)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            # the queue is emptied before the reset is reported, and end-of-file comes after it
            return self._read(slot, channel, limit)
        if data:
            self.core.received(slot, data, trio.current_time())
            return True
        self._drop_channel(slot)
        self.core.eof(slot, trio.current_time())
        return False

    def _read_all(self, slot: int) -> None:
        """Read a channel until it would block, but no more than it can hold: a babbler may not keep us here."""
        channel = self._channels.get(slot)
        if channel is not None:
            for _ in range(64):
                if not self._read(slot, channel, 1 << 16):
                    return

    def _drop_channel(self, slot: int) -> None:
        channel = self._channels.pop(slot, None)
        if channel is not None:
            trio.lowlevel.notify_closing(channel)  # its task ends
            channel.close()

    # -------------------------------------------------------------------------------------- status

    async def _answer_status(self, listener: socket.socket) -> None:
        """Whoever connects to the status socket is sent one document. A slow reader holds up nobody."""

        async def answer(stream: trio.SocketStream) -> None:
            async with stream:
                with trio.move_on_after(STATUS_PATIENCE), suppress(trio.BrokenResourceError):
                    await stream.send_all(json.dumps(self.document()).encode() + b"\n")

        await trio.serve_listeners(answer, [trio.SocketListener(trio.socket.from_stdlib_socket(listener))])

    # ------------------------------------------------------------------------------------- the end

    def _close_listeners(self) -> None:
        if self._poller is not None:
            trio.lowlevel.notify_closing(self._poller.fileno())
            self._poller.close()
            self._poller = None
        for listener in self.listeners:
            listener.close()

    def _kill_all(self) -> None:
        for pid in self._pids.values():
            os.kill(pid, signal.SIGKILL)
        for pid in self._pids.values():
            os.waitpid(pid, 0)
        self._pids.clear()

    def _close(self) -> None:
        self._close_listeners()
        for slot in list(self._channels):
            self._drop_channel(slot)


class _Sleeps(trio.abc.Instrument):
    """Counts how often the program has gone to sleep, and so how often it woke."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        """trio is about to wait for news; with nothing to run meanwhile if ``timeout`` is not 0."""
        if timeout:
            self.count += 1
