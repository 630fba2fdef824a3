"""One worker of a parent under test, without a program: the suite has the worker's channel itself.

The parent starts :mod:`~.puppet_program`, which hands its channel and its listeners over and waits. From then on the
suite reads and writes the channel directly. So a step costs two system calls instead of a conversation, and the suite
can say exactly what has been read of what it wrote.
"""

from __future__ import annotations

import contextlib
import select
import socket
from dataclasses import dataclass, field
from typing import Any

from ... import frames, kernel, processes
from ...errors import ContractError
from ...waiting import scale

__all__ = ["Puppet"]

MOST = 4096
"""Octets that a puppet may say of itself."""
DESCRIPTORS = 16


@dataclass(eq=False)
class Puppet:
    """A worker, as the suite plays it. Its figures are those that it has reported."""

    pid: int
    slot: int
    control: socket.socket
    channel: socket.socket
    open: int = 0
    capacity: int = 0
    order: frames.Frame | None = None
    """Its unanswered order."""
    greeted: bool = False
    """It has said hello."""
    ended: bool = False
    """The suite has ended what it writes."""
    closed: bool = False
    """The suite has closed its channel, and can see nothing more of it."""
    told: bool = False
    """It was told to exit."""
    gone: bool = False
    """Its process has ended."""
    drained: bool = False
    """The parent has half-closed the channel, or closed it."""
    seen: bool = False
    """That has been reported."""
    buried: bool = False
    """Its end has been reported."""
    rest: bytes = b""
    unread: list[bytes] = field(default_factory=list)
    """Frames from the parent that nobody has asked for."""

    # ---------------------------------------------------------------------------------------- what it does

    def write(self, octets: bytes) -> None:
        """Write to the channel. What a parent that has closed its end does not take is lost."""
        with contextlib.suppress(OSError):
            self.channel.send(octets)

    def end(self) -> None:
        """End what it writes; what the parent writes can still be read."""
        self.ended = True
        with contextlib.suppress(OSError):
            self.channel.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the channel."""
        self.ended = self.closed = True
        self.channel.close()

    def exit(self, status: int) -> None:
        """Have its process exit with ``status``, or by a signal if that is below 0."""
        self.told = True
        with contextlib.suppress(OSError):  # the parent may have killed it meanwhile
            self.control.send(b"e%03d" % status if status >= 0 else b"k%03d" % -status)

    def frame(self, type: str, **said: Any) -> bytes | None:
        """The octets of a frame, which it has said then. Figures are what they would be of a correct worker, where
        ``said`` does not say otherwise. ``None``: it has no order to answer.
        """
        if type == "octets":
            return bytes.fromhex(said["data"])
        if type == "HELLO":
            capacity = said.get("capacity", 1)
            versions = said.get("lowest", frames.VERSION), said.get("highest", frames.VERSION)
            self.greeted, self.capacity = True, capacity
            return frames.hello(capacity, *versions, said.get("features", 0)).octets
        ended, capacity = said.get("ended", 0), said.get("capacity", self.capacity)
        if type == "BUSY":
            order = self.order
            if order is None:
                return None
            accepted = said.get("accepted", 0)
            reason = said.get("reason", "FILLED" if accepted == order.max else "EMPTY")
            self.order = None
            self.open, self.capacity = max(0, self.open + accepted - ended), capacity
            frame = frames.busy(order.order, accepted, frames.REASONS.index(reason), self.open, capacity)
        else:
            self.open, self.capacity = max(0, self.open - ended), capacity
            frame = frames.gone(self.open, capacity) if self.open else frames.idle(capacity)
        wrong = said.get("wrong", {})
        return frame._replace(**{name: (getattr(frame, name) + add) % (1 << 32) for name, add in wrong.items()}).octets

    # ----------------------------------------------------------------------------------------- what it sees

    def look(self) -> None:
        """Read what has come: frames, the end of the channel, the end of the process."""
        while not self.closed and not self.drained:
            try:
                data = self.channel.recv(MOST)
            except BlockingIOError:
                break
            except ConnectionResetError:
                continue  # said once, by a parent that has closed its end and left something unread
            except OSError:
                data = b""
            if not data:
                self.drained = True
                break
            whole, self.rest = frames.cut(self.rest + data)
            self.unread += whole
        if not self.gone:
            try:
                self.gone = not self.control.recv(1)
            except BlockingIOError:
                pass
            except OSError:
                self.gone = True

    def has_gone(self) -> bool:
        """Whether its process has ended."""
        self.look()
        return self.gone

    def dropped(self) -> bool:
        """Whether the parent has closed its end altogether, and not only half of it."""
        if self.closed:
            return False
        poll = select.poll()
        poll.register(self.channel, 0)
        return bool(poll.poll(0))  # POLLHUP, which nobody has to ask for: both halves are closed

    def is_dying(self) -> bool:
        """Whether the parent has closed the channel of a process that lives: a kill is on its way."""
        return self.drained and not (self.ended or self.told or self.gone) and self.dropped()

    def unread_by_parent(self) -> int:
        """Above 0 while the parent has not read all that was written to the channel."""
        return 0 if self.closed else kernel.unread(self.channel.fileno())

    def release(self) -> None:
        """Close everything that the suite holds of it."""
        self.channel.close()
        self.control.close()


def introduce(control: socket.socket) -> tuple[Puppet, list[socket.socket]]:
    """The puppet that has connected, and its listeners. Raises :class:`ContractError` for anything else."""
    control.settimeout(20 * scale())
    said, handed = b"", []
    try:
        while not said.endswith(b"\n\n") and len(said) < MOST:
            data, descriptors, _flags, _address = socket.recv_fds(control, MOST, DESCRIPTORS)
            handed += [socket.socket(fileno=fd) for fd in descriptors]
            if not data:
                break
            said += data
        lines = said.decode().split()
        variables = dict(line.split("=", 1) for line in lines[1:])
        slot = int(variables["BACKCHANNEL_SLOT"])
        pid = processes.claimed(int(lines[0]), "whoever has connected to the suite's workers' socket says that it")
        channel, *listeners = handed
    except (OSError, ValueError, LookupError) as error:
        for one in handed:
            one.close()
        raise ContractError(f"a worker was started that is not as BC-EXEC-01 and BC-EXEC-02 say: {error}") from None
    control.setblocking(False)
    channel.setblocking(False)
    return Puppet(pid, slot, control, channel), listeners
