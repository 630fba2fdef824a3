"""The workers' processes and channels, as the parent has them: start, read, write, kill, wait for.

Everything here is done for the core and told to the core; nothing is decided here.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from backchannel import FRAME_SIZE, Parent

from .spawning import dead_children

__all__ = ["Crew", "Watcher"]


class Watcher(Protocol):
    """What the parent waits with: a selector is one, and so is what looks like one to a parent with another loop."""

    def register(self, fileobj: socket.socket, events: int, data: Callable[[int], object]) -> object:
        """From now on call ``data`` when there is something to read."""

    def unregister(self, fileobj: socket.socket) -> object:
        """Watch it no more: it is about to be closed."""


NUDGE = 0.05
"""Seconds between two signals to the same worker."""


class Crew:
    """Processes and channels by slot. ``watcher`` watches the channels, ``clock`` is the core's.

    ``start(slot, ours, theirs)`` starts the process of a worker that is to have ``theirs``, and returns its id; it
    raises ``OSError`` when the system has none to give. ``nudge``: workers do not read their channels while they wait,
    so one that is to drain is sent SIGTERM as well, again and again until it has gone.
    """

    def __init__(
        self,
        core: Parent,
        watcher: Watcher,
        start: Callable[[int, socket.socket, socket.socket], int],
        *,
        nudge: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.pids: dict[int, int] = {}
        self.last_pids: dict[int, int] = {}
        """Of each slot, the dead included: what is logged of a death must still name it."""
        self._core = core
        self._watcher = watcher
        self._clock = clock
        self._start = start
        self._channels: dict[int, socket.socket] = {}
        self._nudge = nudge
        self._nudged: set[int] = set()
        self._next_nudge = 0.0

    # ------------------------------------------------------------------------------------- actions

    def spawn(self, slot: int) -> None:
        """Start a worker."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self._core.spawn_failed(slot, f"no descriptor for its channel ({error.strerror})", self._clock())
            return
        try:
            pid = self._start(slot, ours, theirs)
        except OSError as error:
            ours.close()
            self._core.spawn_failed(slot, f"the system gives no process ({error.strerror})", self._clock())
            return
        finally:
            theirs.close()
        ours.setblocking(False)
        self.pids[slot] = self.last_pids[slot] = pid
        self._channels[slot] = ours
        self._watcher.register(ours, selectors.EVENT_READ, lambda _mask: self._read(slot, ours))

    def send(self, slot: int, data: bytes) -> None:
        """Write an order, whole or not at all (BC-KILL-02)."""
        channel = self._channels.get(slot)
        if channel is None:
            return  # its channel has ended earlier in this turn
        try:
            sent = channel.send(data)
        except BlockingIOError:
            sent = 0
        except (BrokenPipeError, ConnectionResetError):
            self.read_all(slot)
            return
        if sent < len(data):
            self._core.send_failed(slot, self._clock())

    def half_close(self, slot: int) -> None:
        """Tell a worker to drain."""
        with contextlib.suppress(OSError, KeyError):  # the worker may have closed its end already
            self._channels[slot].shutdown(socket.SHUT_WR)
        if self._nudge and slot in self.pids:
            self._nudged.add(slot)
            self._next_nudge = 0.0

    def next_nudge(self) -> float | None:
        """When :meth:`nudge` has something to do."""
        return self._next_nudge if self._nudged else None

    def nudge(self, now: float) -> None:
        """Send SIGTERM to those that are to drain."""
        if self._nudged and now >= self._next_nudge:
            self._next_nudge = now + NUDGE
            for slot in self._nudged:
                os.kill(self.pids[slot], signal.SIGTERM)

    def kill(self, slot: int) -> None:
        """Close the channel, kill the process; it is waited for later."""
        self._drop(slot)
        if slot in self.pids:
            os.kill(self.pids[slot], signal.SIGKILL)

    # ------------------------------------------------------------------------------------ channels

    def read(self, slot: int) -> None:
        """Read once from a channel, whatever the watcher says of it."""
        channel = self._channels.get(slot)
        if channel is not None:
            self._read(slot, channel)

    def read_all(self, slot: int) -> None:
        """Read a channel until it would block, but no more than it can hold: a babbler may not keep us here."""
        channel = self._channels.get(slot)
        if channel is not None:
            for _ in range(64):
                if not self._read(slot, channel, 1 << 16):
                    return

    def _read(self, slot: int, channel: socket.socket, limit: int | None = None) -> bool:
        """Read once from a channel; ``False`` when it would block or has ended."""
        if self._channels.get(slot) is not channel:
            return False  # closed earlier in this turn
        try:
            data = channel.recv(limit or self._core.settings.frames_per_turn * FRAME_SIZE)
        except BlockingIOError:
            return False
        except ConnectionResetError:
            # the queue is emptied before the reset is reported, and end-of-file comes after it
            return self._read(slot, channel, limit)
        if data:
            self._core.received(slot, data, self._clock())
            return True
        self._drop(slot)
        self._core.eof(slot, self._clock())
        return False

    def _drop(self, slot: int) -> None:
        channel = self._channels.pop(slot, None)
        if channel is not None:
            self._watcher.unregister(channel)
            channel.close()

    # ------------------------------------------------------------------------------------- the end

    def reap(self, others: Sequence[int] = ()) -> Iterator[int]:
        """Take leave of workers that have exited, each after its last reports were read (BC-DEATH-01), and of
        ``others``. Yields the exit statuses of workers.
        """
        slots = {pid: slot for slot, pid in self.pids.items()}
        for pid, status in dead_children([*slots, *others]):
            slot = slots.get(pid)
            if slot is not None:
                self.read_all(slot)
                self._drop(slot)
                self._core.exited(slot, status, self._clock())
                del self.pids[slot]
                self._nudged.discard(slot)
                yield status

    def close(self) -> None:
        """Kill everybody, wait for them, close the channels."""
        for pid in self.pids.values():
            os.kill(pid, signal.SIGKILL)
        for pid in self.pids.values():
            os.waitpid(pid, 0)
        self.pids.clear()
        for slot in list(self._channels):
            self._drop(slot)

    def forget(self) -> None:
        """In a worker: close the parent's ends (BC-FORK-02)."""
        for channel in self._channels.values():
            channel.close()
