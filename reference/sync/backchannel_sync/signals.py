"""Signals as bytes: a handler does nothing but make the loop turn (BC-PASS-03).

Python's own handler, in C, writes the number of each signal to the wake-up descriptor; the loop reads them there, at
the one place in its turn where they may have an effect.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Iterator, Sequence
from types import FrameType

__all__ = ["PARENTS", "WakeUp", "leave_to_the_parent"]

PARENTS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""What tells a pool to do something. A shell and a terminal send it to the whole process group."""


class WakeUp:
    """A socket that becomes readable when a signal has come. ``reader`` is for the selector."""

    def __init__(self) -> None:
        self.reader, self._writer = socket.socketpair()
        self.reader.setblocking(False)
        self._writer.setblocking(False)

    @contextlib.contextmanager
    def catching(self, numbers: Sequence[int]) -> Iterator[None]:
        """While this lasts, ``numbers`` arrive here and have no other effect."""
        before = {number: signal.signal(number, _nothing) for number in numbers}
        old = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)

    def take(self) -> bytes:
        """The numbers of the signals that have come."""
        try:
            return self.reader.recv(4096)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Close both ends; in a worker, forget them."""
        self.reader.close()
        self._writer.close()


def leave_to_the_parent() -> None:
    """In a worker: what is sent to the whole process group has its effect by what the parent makes of it.

    A worker that it ended would take its connections with it, at a stop or a reload that promises to lose none. A
    handler that does nothing is not inherited by programs that a worker starts, as ignoring would be.
    """
    for number in PARENTS:
        signal.signal(number, _nothing)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """The wake-up descriptor does the work."""
