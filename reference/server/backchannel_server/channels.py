"""The workers' processes and channels, as the parent has them: start, read, write, kill, wait for.

Everything here is done for the core and told to the core; nothing is decided here.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence

from backchannel import Parent

from .fork_binding import dead_children
from .loops import Loop
from .worker_channel import NO_ROOM

__all__ = ["Channels"]

log = logging.getLogger("backchannel")

RESEND = 0.05
"""Seconds between two signals to the same worker."""


class Channels:
    """Processes and channels by slot. ``loop`` watches the channels, and has the core's clock.

    ``start(slot, ours, theirs)`` starts the process of a worker that is to have ``theirs``, and returns its id; it
    raises ``OSError`` when the system has none to give. ``signals``: workers do not read their channels while they
    wait, so one that is to drain is sent SIGTERM as well, again and again until it has exited.
    """

    def __init__(
        self,
        core: Parent,
        loop: Loop,
        start: Callable[[int, socket.socket, socket.socket], int],
        *,
        signals: bool = False,
    ) -> None:
        self.pids: dict[int, int] = {}
        self.last_pids: dict[int, int] = {}
        """Of each slot, the dead included: what is logged of a death must still name it."""
        self.last_ordered = 0
        """The slot that has got the last order."""
        self._core = core
        self._loop = loop
        self._start = start
        self._channels: dict[int, socket.socket] = {}
        self._signals = signals
        self._to_resend: set[int] = set()
        self._next_resend = 0.0
        self._out_of_reach: set[int] = set()
        """Slots whose workers the system does not let us signal: logged once for each."""

    # ------------------------------------------------------------------------------------- actions

    def spawn(self, slot: int) -> None:
        """Start a worker."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            self._core.spawn_failed(slot, f"creating its channel failed ({error.strerror})", self._loop.time())
            return
        ours.setblocking(False)
        doing = "watching its channel"
        try:
            # before there is a process, so that none is left without a watch when the system has no room for that
            self._loop.watch(ours, lambda: self._read(slot, ours))
            doing = "starting its process"
            pid = self._start(slot, ours, theirs)
        except OSError as error:
            if doing == "starting its process":
                self._loop.unwatch(ours)
            ours.close()
            self._core.spawn_failed(slot, f"{doing} failed ({error.strerror})", self._loop.time())
            return
        finally:
            theirs.close()
        self._channels[slot] = ours
        if not isinstance(pid, int):  # a Popen, say: it would be found out only when the worker is to be killed
            raise TypeError(f"start() returned {pid!r}: it must return the worker's process id")
        self.pids[slot] = self.last_pids[slot] = pid

    def send(self, slot: int, data: bytes) -> None:
        """Write an order, whole or not at all (BC-KILL-02)."""
        self.last_ordered = slot
        channel = self._channels.get(slot)
        if channel is None:
            return  # its channel has ended earlier in this turn
        try:
            sent = channel.send(data)
        except OSError as error:
            if error.errno not in NO_ROOM:
                self._lost(slot)
                return
            sent = 0
        if sent < len(data):
            self._core.send_failed(slot, self._loop.time())

    def half_close(self, slot: int) -> None:
        """Tell a worker to drain."""
        with contextlib.suppress(OSError, KeyError):  # the worker may have closed its end already
            self._channels[slot].shutdown(socket.SHUT_WR)
        if self._signals and slot in self.pids:
            self._to_resend.add(slot)
            self._next_resend = 0.0

    def next_resend(self) -> float | None:
        """When :meth:`resend` has something to do."""
        return self._next_resend if self._to_resend else None

    def resend(self, now: float) -> None:
        """Send SIGTERM to those that are to drain."""
        if self._to_resend and now >= self._next_resend:
            self._next_resend = now + RESEND
            for slot in self._to_resend:
                self._signal(slot, signal.SIGTERM)

    def kill(self, slot: int) -> None:
        """Close the channel, kill the process; it is waited for later."""
        self._drop(slot)
        if slot in self.pids:
            self._signal(slot, signal.SIGKILL)

    def _signal(self, slot: int, number: signal.Signals) -> None:
        """Signal a worker. One that has become another user cannot be signalled: this is logged once, the worker keeps
        its slot until it has exited, and the others go on (BC-KILL-01).
        """
        try:
            os.kill(self.pids[slot], number)
        except ProcessLookupError:
            pass  # another part of this process has waited for it; reap finds that it is missing
        except OSError as error:
            if slot not in self._out_of_reach:
                self._out_of_reach.add(slot)
                log.error(
                    "worker in slot %d (pid %d) cannot be sent %s (%s): kill it by hand, as the user that it runs as",
                    slot,
                    self.pids[slot],
                    number.name,
                    error.strerror,
                    extra={"event": "out of reach", "slot": slot, "worker_pid": self.pids[slot]},
                )

    # ------------------------------------------------------------------------------------ channels

    def read(self, slot: int) -> None:
        """Read once from a channel, whatever the loop says of it."""
        channel = self._channels.get(slot)
        if channel is not None:
            self._read(slot, channel)

    def read_all(self, slot: int) -> None:
        """Read a channel until it would block or has ended, but no more than its share of a turn: a worker that never
        stops writing must neither keep us here nor put off what is to be judged (BC-PASS-05, BC-DEATH-07).
        """
        channel = self._channels.get(slot)
        if channel is not None:
            left = self._core.octets_per_turn
            while left and (taken := self._read(slot, channel, left)):
                left -= taken

    def _read(self, slot: int, channel: socket.socket, limit: int | None = None) -> int:
        """Read once from a channel. Returns the number of octets; 0 when it would block or has ended."""
        if self._channels.get(slot) is not channel:
            return 0  # closed earlier in this turn
        try:
            try:
                data = channel.recv(limit or self._core.octets_per_turn)
            except ConnectionResetError:
                # said once, and what had been written before can still be read
                data = channel.recv(limit or self._core.octets_per_turn)
        except BlockingIOError:
            return 0
        except OSError:
            data = b""  # whatever it is: a channel that cannot be read has ended
        if data:
            self._core.received(slot, data, self._loop.time())
        else:
            self._end(slot)
        return len(data)

    def _lost(self, slot: int) -> None:
        """The worker does not hold its end any more, or reads no more: what it wrote before still counts, up to
        its share of one turn (BC-CHAN-16).
        """
        self.read_all(slot)
        if slot in self._channels:
            self._end(slot)

    def _end(self, slot: int) -> None:
        self._drop(slot)
        self._core.eof(slot, self._loop.time())

    def _drop(self, slot: int) -> None:
        channel = self._channels.pop(slot, None)
        if channel is not None:
            self._loop.unwatch(channel)
            channel.close()

    # ------------------------------------------------------------------------------------- the end

    def reap(self, others: Sequence[int] = ()) -> Iterator[int]:
        """Reap workers that have exited, each after its last reports were read (BC-DEATH-01), and ``others`` that
        have. Yields the exit statuses of workers.
        """
        slots = {pid: slot for slot, pid in self.pids.items()}
        for pid, status in dead_children([*slots, *others]):
            slot = slots.get(pid)
            if slot is not None:
                self.read_all(slot)
                self._drop(slot)
                self._core.exited(slot, status, self._loop.time())
                del self.pids[slot]
                self._to_resend.discard(slot)
                self._out_of_reach.discard(slot)
                yield status

    def close(self) -> None:
        """Kill all workers, close the channels, and wait for the workers that could be killed. One that could not
        drains by itself, because its channel has ended.
        """
        for slot in self.pids:
            self._signal(slot, signal.SIGKILL)
        for slot in list(self._channels):
            self._drop(slot)
        for slot, pid in self.pids.items():
            if slot not in self._out_of_reach:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
        self.pids.clear()

    def forget(self) -> None:
        """In a worker: close the parent's ends (BC-FORK-02)."""
        for channel in self._channels.values():
            channel.close()
