"""Waiting for what the kernel or a pool will show sooner or later.

:func:`until` is for liveness only: that something comes true. It never shows that something did *not* happen; for
that, a case makes an exchange that comes after it, or reads a counter.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import IO, TypeVar

from .port_output import printable

__all__ = ["TimedOut", "deadline_in", "line_of", "no_longer_than", "scale", "until"]

T = TypeVar("T")

_scale = 1.0


class TimedOut(Exception):
    """Something that was waited for did not come."""

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


def scale(factor: float | None = None) -> float:
    """The factor on all time limits (``--time-scale``), for slow machines; sets it when given."""
    global _scale
    if factor is not None:
        _scale = factor
    return _scale


def deadline_in(seconds: float) -> float:
    """The monotonic time ``seconds`` from now, scaled."""
    return time.monotonic() + seconds * _scale


def until(ask: Callable[[], T], seconds: float = 10.0, *, what: str) -> T:
    """The first true answer of ``ask``. Raises :class:`TimedOut`, which names ``what``, after ``seconds`` (scaled)."""
    deadline = deadline_in(seconds)
    pause = 0.001
    while not (answer := ask()):
        if time.monotonic() > deadline:
            raise TimedOut(f"waited {seconds * _scale:g} s for {what}, in vain")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    return answer


@contextlib.contextmanager
def no_longer_than(seconds: float, what: str) -> Iterator[None]:
    """Raise :class:`TimedOut`, from wherever the main thread is, if this context lasts longer than ``seconds``.

    A call that blocks is interrupted: a port may have cleared O_NONBLOCK of what it shares with the suite.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals go to the main thread alone
        return

    outer, _ = signal.getitimer(signal.ITIMER_REAL)
    if 0.0 < outer <= seconds:
        yield  # there is one timer: the limit that ends first is the one that is kept
        return

    def late(_number: int, frame: FrameType | None) -> None:
        where = f", in line {frame.f_lineno} of {frame.f_code.co_filename}" if frame else ""
        raise TimedOut(f"{what} after {seconds:g} s{where}")

    began = time.monotonic()
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if outer:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, outer - (time.monotonic() - began)))


def line_of(stream: IO[bytes], seconds: float, longest: int = 4096) -> bytes:
    """The next line of a pipe, without its end; or what there was of it at the end or after ``seconds`` (scaled). It is
    read octet by octet: what is read beyond the line could not be waited for.
    """
    deadline = deadline_in(seconds)
    data = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while not data.endswith(b"\n") and len(data) < longest:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                break
            if not (part := os.read(stream.fileno(), 1)):
                break
            data += part
    return data.rstrip(b"\n")
