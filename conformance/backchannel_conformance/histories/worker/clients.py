"""The clients of a history of role *worker*, which the suite plays: what they send, and what they are told."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections.abc import Sequence
from typing import Final

from ... import kernel
from ...errors import check
from ...waiting import TimedOut, scale, until
from ...worker_under_test import WorkerUnderTest
from .model import WorkerModel
from .scenario import Close, HalfClose, Reset
from .visitor import Visitor

__all__ = ["Clients", "arrow"]

LIMIT: Final = 20.0
"""Seconds to connect."""


class Clients:
    """All clients of one worker. What happens is told to the model, and noted in ``trace``."""

    def __init__(self, worker: WorkerUnderTest, model: WorkerModel, trace: list[str]) -> None:
        self._worker = worker
        self._model = model
        self._trace = trace
        self._sockets: dict[int, socket.socket] = {}
        self._ports: dict[int, int] = {}
        self._lines: dict[int, bytes] = {}

    def connect(self, who: int, listener: int, says: str) -> None:
        """A new client, which is pending when this returns."""
        setting = self._model.setting
        if who in self._sockets or listener >= setting.listeners - setting.useless:
            return
        client = socket.create_connection(self._worker.address(listener), timeout=LIMIT * scale())
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets[who], self._lines[who] = client, b""
        self._ports[who] = client.getsockname()[1]
        visitor = Visitor(who, listener)
        expected = len(self._model.queues[listener]) + 1
        self._model.connected(visitor)
        if kernel.can("pending"):
            with contextlib.suppress(TimedOut):  # if somebody has taken one, that is found out below
                sock = self._worker.listeners[listener]
                until(lambda: kernel.pending(sock) >= expected, 1, what="the connection to be pending")
        self.say(who, says)

    def say(self, who: int, text: str) -> None:
        """It sends ``text``, if it is still there."""
        if who in self._sockets and text and not self._model.visitors[who].left:
            with contextlib.suppress(ConnectionError):  # it is served, and closed
                self._sockets[who].sendall(text.encode())
            self._model.visitors[who].said += text

    def leave(self, who: int, step: HalfClose | Close | Reset) -> None:
        """It leaves, in the manner of ``step``."""
        visitor = self._model.visitors.get(who)
        if who not in self._sockets or visitor is None or visitor.left in ("closed", "reset"):
            return
        client = self._sockets[who]
        if isinstance(step, HalfClose):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            visitor.left = "half"
            return
        if isinstance(step, Reset):
            # where a reset takes a connection out of the queue, nobody could say what an order must give
            if visitor.state == "pending" and not kernel.can("pending"):
                return
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        visitor.left = "reset" if isinstance(step, Reset) else "closed"
        del self._sockets[who]

    def hear(self) -> None:
        """What has come to the clients."""
        for who, client in self._sockets.items():
            visitor = self._model.visitors.get(who)
            if visitor is None or visitor.over:
                continue
            with contextlib.suppress(BlockingIOError):
                client.setblocking(False)
                try:
                    while data := client.recv(4096):
                        self._lines[who] += data
                    visitor.over = True
                except ConnectionError:
                    visitor.over = True
            self._read(visitor)

    def _read(self, visitor: Visitor) -> None:
        *lines, self._lines[visitor.name] = self._lines[visitor.name].split(b"\n")
        for line in lines:
            self._trace.append(
                arrow(f"           worker --> client {visitor.name}", repr(line.decode(errors="replace")))
            )
            right = line.split()[:2] == [b"%d" % self._worker.pid, b"0"]
            check(right, "BC-WORK-04", f"client {visitor.name} was told {line[:80]!r} by worker {self._worker.pid}")
        visitor.answers += len(lines)
        if visitor.over:
            self._trace.append(arrow(f"           worker --| client {visitor.name}", "the end of the connection"))

    def held(self, visitors: Sequence[Visitor]) -> list[Visitor]:
        """Those of ``visitors`` whose connections the worker holds, by the system's own tables."""
        found: list[Visitor] = []
        for listener in {visitor.listener for visitor in visitors}:
            ports = kernel.clients(self._worker.pid, self._worker.address(listener)[1])
            here = [visitor for visitor in visitors if visitor.listener == listener]
            found += [visitor for visitor in here if self._ports[visitor.name] in ports]
        return found

    def watch(self, poll: select.poll) -> None:
        """Wake up ``poll`` when something comes to one of them."""
        for who, client in self._sockets.items():
            visitor = self._model.visitors.get(who)
            if visitor is not None and not visitor.over:
                poll.register(client, select.POLLIN)

    def all_leave(self) -> None:
        """Each half-closes, and still sees the end of its connection."""
        for who in list(self._sockets):
            self.leave(who, HalfClose(who))

    def close(self) -> None:
        """Close everything; the next ones begin anew."""
        for client in self._sockets.values():
            client.close()
        self._sockets.clear()


def arrow(between: str, what: str) -> str:
    """A line of the chart."""
    return f"       {between:<31}{what}"
