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
from dataclasses import asdict
from types import FrameType

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

from . import system
from .handlers import Handler
from .launching import Launcher
from .opening import Opened
from .spawning import Reasons, fork_worker, work
from .status import StatusSocket

__all__ = ["INTERRUPTED", "Pool"]

log = logging.getLogger("backchannel")

INTERRUPTED = 130
"""Exit status after SIGINT."""


class Pool:
    """A parent and its workers. ``find_handler`` is called in each worker, or ``launcher`` starts them."""

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
    ) -> None:
        self.listeners = opened.listeners.sockets
        self.notifier = opened.notifier
        self.settings = settings
        self.core = Parent(settings, scaling, len(self.listeners))
        self.wakeups = 0
        self._find_handler = find_handler
        self._launcher = launcher
        self._quota = quota
        self._on_ready = on_ready
        self._ready = False
        self._names = opened.names
        self._poller = poller
        self._selector = system.selector_class(poller)()
        self._channels: dict[int, socket.socket] = {}
        self._pids: dict[int, int] = {}
        self._last_pids: dict[int, int] = {}
        """Of each slot, the dead included: what is logged of a death must still name it."""
        self._news: set[int] = set()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._reap = False
        self._status: int | None = None
        self._reasons = Reasons()
        self._status_socket: StatusSocket | None = None
        self._watch: system.ListenerWatch | None = None
        try:
            if opened.status is not None:
                self._status_socket = StatusSocket(opened.status, self._selector, self.document)
            self._watch = system.listener_watch(self._selector)
            self._watch.start(self.listeners, self._news.add)
            self._wake_reader.setblocking(False)
            self._wake_writer.setblocking(False)
            self._selector.register(self._wake_reader, selectors.EVENT_READ, self._signalled)
        except BaseException:
            self._close()
            raise

    # ---------------------------------------------------------------------------------- the loop

    def run(self) -> int:
        """Serve until a signal ends it. Returns the exit status."""
        with self._signals():
            try:
                self.core.start(time.monotonic())
                self._turn(())
                while self._status is None and not self.core.finished:
                    self._turn(self._wait())
            finally:
                self._kill_all()
                self._close()
        return self._status or 0

    def _wait(self) -> Sequence[tuple[selectors.SelectorKey, int]]:
        times = [self.core.next_deadline(), self._watch.next_look() if self._watch else None]
        deadline = min((when for when in times if when is not None), default=None)
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        events = self._selector.select(timeout)
        self.wakeups += 1
        return events

    def _turn(self, events: Sequence[tuple[selectors.SelectorKey, int]]) -> None:
        """One pass: reports and deaths, deadlines, dispatch, scaling."""
        core = self.core
        for key, mask in events:
            key.data(mask)
        if self._reap:
            self._reap = False
            self._wait_for_dead()
        now = time.monotonic()
        for slot in core.overdue(now):
            self._read_all(slot)
        core.judge(now)
        if self._watch is not None:
            self._watch.look(now)
        for listener in self._news:
            core.readable(listener)
        counts = {index: system.pending(self.listeners[index], index in self._news) for index in core.to_count()}
        self._news.clear()
        core.dispatch(counts)
        core.scale(now)
        while actions := core.take_actions():
            for action in actions:
                self._do(action)
        if self._watch is not None:
            self._watch.rearm(core.watching, core.hidden, now)
        if not self._ready and core.greeted >= core.rules.start:
            self._ready = True
            self.notifier.ready(self._names)
            if self._on_ready is not None:
                self._on_ready(self)

    # ------------------------------------------------------------------------------------ actions

    def _do(self, action: Action) -> None:
        match action:
            case Send(slot, data):
                self._send(slot, data)
            case Spawn(slot):
                self._spawn(slot)
            case HalfClose(slot):
                with contextlib.suppress(OSError):  # the worker may have closed its end already
                    self._channels[slot].shutdown(socket.SHUT_WR)
            case Kill(slot):
                self._drop_channel(slot)
                if slot in self._pids:
                    os.kill(self._pids[slot], signal.SIGKILL)
            case CloseListeners():
                self._stop_watching()
                for listener in self.listeners:
                    listener.close()
            case Note(slot, text, requirement):
                who = "" if slot is None else f"worker in slot {slot} (pid {self._last_pids.get(slot)}) "
                what = f" [{requirement}]" if requirement else ""
                log.warning("%s%s%s", who, text, what)
            case GiveUp(status, text):
                reasons = self._reasons.take() or [text]
                log.error("no worker can start: %s", "; ".join(reasons))
                self._status = status

    def _send(self, slot: int, data: bytes) -> None:
        channel = self._channels.get(slot)
        if channel is None:
            return  # its channel has ended earlier in this turn
        try:
            sent = channel.send(data)
        except BlockingIOError:
            sent = 0
        except (BrokenPipeError, ConnectionResetError):
            self._read_all(slot)
            return
        if sent < len(data):
            self.core.send_failed(slot, time.monotonic())

    def _spawn(self, slot: int) -> None:
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self.core.spawn_failed(slot, f"no descriptor for its channel ({error.strerror})", time.monotonic())
            return

        try:
            pid = self._start(slot, ours, theirs)
        except OSError as error:
            ours.close()
            self.core.spawn_failed(slot, f"the system gives no process ({error.strerror})", time.monotonic())
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        self._pids[slot] = self._last_pids[slot] = pid
        self._channels[slot] = ours
        self._selector.register(ours, selectors.EVENT_READ, lambda _mask: self._read(slot, ours))

    def _start(self, slot: int, ours: socket.socket, theirs: socket.socket) -> int:
        """Start the process of a worker, by the exec binding or by the fork binding; return its id."""
        if self._launcher is not None:
            start = ExecStart(slot, self.settings.capacity, len(self.listeners), self.settings.drain_deadline)
            return self._launcher.start(start, theirs, self.listeners)
        find = self._find_handler
        assert find is not None

        def child() -> int:
            ours.close()
            self._become_worker()
            return work(slot, theirs, self.listeners, find, self.settings, self._quota, self._poller, self._reasons)

        return fork_worker(child)

    def _become_worker(self) -> None:
        """In a new worker: let go of everything that is the parent's alone (BC-FORK-02, BC-FORK-03, BC-FORK-05)."""
        if self._watch is not None:
            self._watch.forget()
        system.forget(self._selector)
        for channel in self._channels.values():
            channel.close()
        if self._status_socket is not None:
            self._status_socket.forget()
        self._wake_reader.close()
        self._wake_writer.close()

    # ------------------------------------------------------------------------------------ channels

    def _read(self, slot: int, channel: socket.socket, limit: int | None = None) -> bool:
        """Read once from a channel; ``False`` when it would block or has ended."""
        if self._channels.get(slot) is not channel:
            return False  # closed earlier in this turn
        try:
            data = channel.recv(limit or self.settings.frames_per_turn * FRAME_SIZE)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            # the queue is emptied before the reset is reported, and end-of-file comes after it
            return self._read(slot, channel, limit)
        if data:
            self.core.received(slot, data, time.monotonic())
            return True
        self._drop_channel(slot)
        self.core.eof(slot, time.monotonic())
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
            self._selector.unregister(channel)
            channel.close()

    # ------------------------------------------------------------------------------------- signals

    @contextlib.contextmanager
    def _signals(self):  # type: ignore[no-untyped-def]
        """Turn signals into bytes on the wake-up socket while the loop runs."""
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
        before = {number: signal.signal(number, _nothing) for number in numbers}
        old = signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _signalled(self, _mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in self._wake_reader.recv(4096):
                match number:
                    case signal.SIGCHLD:
                        self._reap = True
                    case signal.SIGTERM:
                        self.notifier.stopping()
                        self.core.stop(time.monotonic())
                    case signal.SIGINT:
                        self._status = INTERRUPTED

    def _wait_for_dead(self) -> None:
        """Take leave of workers that have exited, each after its last reports were read (BC-DEATH-01)."""
        for slot, pid in list(self._pids.items()):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                self._read_all(slot)
                self._drop_channel(slot)
                self.core.exited(slot, os.waitstatus_to_exitcode(status), time.monotonic())
                del self._pids[slot]

    # ------------------------------------------------------------------------------------- the end

    def _kill_all(self) -> None:
        for pid in self._pids.values():
            os.kill(pid, signal.SIGKILL)
        for pid in self._pids.values():
            os.waitpid(pid, 0)
        self._pids.clear()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _close(self) -> None:
        self._stop_watching()
        if self._status_socket is not None:
            self._status_socket.stop()
            self._status_socket = None
        for slot in list(self._channels):
            self._drop_channel(slot)
        self._selector.close()
        self._reasons.close()
        for sock in (*self.listeners, self._wake_reader, self._wake_writer):
            sock.close()

    # -------------------------------------------------------------------------------------- status

    @property
    def addresses(self) -> list[str]:
        """Where it listens."""
        return list(self._names)

    def document(self) -> dict[str, object]:
        """The status document of the adapter contract."""
        return {
            "spec": "1.0",
            "pid": os.getpid(),
            "state": "stopping" if self.core.stopping else "running",
            "listeners": [{"address": name} for name in self._names],
            "counters": {**asdict(self.core.counters), "wakeups": self.wakeups},
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


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """The wake-up descriptor does the work."""
