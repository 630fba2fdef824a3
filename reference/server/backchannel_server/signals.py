"""Signals as bytes: a handler does nothing but make the loop turn (BC-PASS-03).

Python's own handler, in C, writes the number of each signal to the wake-up descriptor; the loop reads them there, at
the one place in its turn where they may have an effect. Until then they are held back, by the system: a signal that
comes while the server starts is neither lost nor the end of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Final

from .early import PARENTS

__all__ = ["INTERRUPTED", "PARENTS", "Interrupted", "WakeUp", "heard", "held", "interruptible", "leave_to_the_parent"]

INTERRUPTED: Final = 130
"""Exit status after SIGINT."""


@contextlib.contextmanager
def held() -> Iterator[None]:
    """While this lasts, the pool's signals are held back, but for where they are :func:`heard`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, PARENTS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def heard(numbers: Sequence[int] = PARENTS) -> Iterator[None]:
    """While this lasts, ``numbers`` arrive, those first that were held back. Their handlers must be there.

    A process that is started with signals blocked keeps them so. A parent in which that goes for SIGCHLD, because of
    a supervisor that waits for it by other means, would never learn that a worker has died.
    """
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Interrupted(BaseException):
    """SIGTERM or SIGINT has come while something ran that may take long: ``number`` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """While this lasts, SIGTERM and SIGINT raise :class:`Interrupted`: for code of others, which may never return.
    To be used within :func:`held`. If that code has caught the exception, the signal is held back again.
    """
    came: list[int] = []

    def interrupt(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        raise Interrupted(number)

    numbers = (signal.SIGTERM, signal.SIGINT)
    handlers = {number: signal.signal(number, interrupt) for number in numbers}
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    try:
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    for caught in came:
        signal.raise_signal(caught)


class WakeUp:
    """A descriptor that becomes readable when a signal has come. ``reader`` is for the selector.

    It is a pipe, which holds many thousands of signals that come in one turn; a socket is full after some hundreds, and
    a SIGTERM after those would be lost.
    """

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        for end in (self.reader, self._writer):
            os.set_blocking(end, False)

    @contextlib.contextmanager
    def catching(self, numbers: Sequence[int]) -> Iterator[None]:
        """While this lasts, ``numbers`` arrive here and have no other effect."""
        before = {number: signal.signal(number, _nothing) for number in numbers}
        old = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        try:
            with heard(numbers):
                yield
        finally:
            signal.set_wakeup_fd(old)
            for number, handler in before.items():
                signal.signal(number, handler)

    def take(self) -> bytes:
        """The numbers of the signals that have come."""
        try:
            return os.read(self.reader, 4096)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Close both ends; in a worker, forget them."""
        os.close(self.reader)
        os.close(self._writer)


def leave_to_the_parent() -> None:
    """In a worker: what is sent to the whole process group has its effect by what the parent makes of it.

    A worker that it ended would take its connections with it, at a stop or a reload that promises to lose none. A
    handler that does nothing is not inherited by programs that a worker starts, as ignoring would be.
    """
    for number in PARENTS:
        signal.signal(number, _nothing)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, PARENTS)


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """The wake-up descriptor does the work."""
