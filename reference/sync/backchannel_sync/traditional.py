"""The worker of a traditional pool: block in ``accept``, serve, and again.

The hard part is to end one that waits, and to lose no connection by it. SIGTERM asks for it. Its handler may run after
``accept`` has taken a connection and before Python code has it in hand; to raise an exception then would drop the
connection. But ``accept`` gives the lowest descriptor that is free, and which one that is was looked up before: if it
is open, there is a connection, and the handler lets it be served first. A signal that comes just before the process
begins to wait in the kernel has no effect; the parent sends it again until the worker has gone.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from types import FrameType
from typing import Any

from backchannel_server.context import keep_from_children, tell_of_drain
from backchannel_server.traditional import BUSY, IDLE, RETIRE

from .blocking import BlockingHandler, has_ended, serve_one

__all__ = ["run"]

COOL_DOWN = 0.1
"""Seconds without an attempt after one that failed: for want of descriptors or memory, as a rule."""


class _Leave(Exception):
    """It is time to go, and there is no connection."""


class _Worker:
    def __init__(self, channel: socket.socket, listener: socket.socket) -> None:
        self.channel = channel
        self.listener = listener
        self.leaving = False
        self.next: int | None = None
        """While it waits: the descriptor that a connection would get."""

    def asked_to_leave(self, _number: int, _frame: FrameType | None) -> None:
        self.leaving = True
        if self.next is not None and not _is_open(self.next):
            raise _Leave

    def accept(self) -> tuple[socket.socket, Any] | None:
        """The next connection, with its client's address; ``None`` when there is none now, or it is time to go."""
        free = os.dup(self.channel.fileno())
        os.close(free)
        try:
            self.next = free
            if self.leaving:
                return None
            return self.listener.accept()
        except _Leave:
            return None
        except BlockingIOError:
            self.wait()  # somebody has set O_NONBLOCK, which all holders share
            return None
        except ConnectionError:
            return None
        except OSError:
            self.next = None
            time.sleep(COOL_DOWN)
            return None
        finally:
            self.next = None

    def wait(self) -> None:
        try:
            self.next = -1
            if not self.leaving:
                select.select([self.listener], [], [])
        except _Leave:
            pass

    def say(self, word: bytes) -> None:
        try:
            self.channel.send(word)
        except OSError:  # whatever it is: nobody hears of this worker any more
            self.leaving = True

    def look(self) -> bool:
        """Is it time to go? Looked at between connections, because nothing else says that the parent died."""
        self.leaving = self.leaving or has_ended(self.channel)
        return self.leaving


def run(channel: socket.socket, listener: socket.socket, handler: BlockingHandler, *, quota: int = 0) -> int:
    """Work until told to end, or until ``quota`` connections were served (0: no limit). Returns the exit status."""
    worker = _Worker(channel, listener)
    signal.signal(signal.SIGTERM, worker.asked_to_leave)
    tell_of_drain(worker.look)
    keep_from_children(channel, listener)
    served = 0
    worker.say(IDLE)
    while not worker.leaving:
        try:
            accepted = worker.accept()
        except _Leave:
            break  # it came while an attempt that had failed was dealt with
        if accepted is not None:
            worker.say(BUSY)
            serve_one(handler, *accepted)
            served += 1
            if quota and served >= quota:
                worker.say(RETIRE)
                break
            worker.say(IDLE)
        worker.look()
    return 0


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
