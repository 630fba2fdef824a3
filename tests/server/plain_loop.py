"""A loop that has nothing but what a driver asks for, a clock that a test sets, and a system that may refuse."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Callable


class PlainLoop:
    """The three calls, on a selector of ``poller``, and what a test does with it besides."""

    def __init__(self, poller: type[selectors.BaseSelector] = selectors.DefaultSelector) -> None:
        self.now = time.monotonic()
        self.refusals = 0
        """How often the system has no room to watch anything, as by epoll's limit for a user's watches."""
        self._selector = poller()

    def watch(self, what: socket.socket | int, ready: Callable[[], object], *, writing: bool = False) -> None:
        """Call ``ready`` when it can be read, or written."""
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._selector.register(what, selectors.EVENT_WRITE if writing else selectors.EVENT_READ, ready)

    def unwatch(self, what: socket.socket | int) -> None:
        """Watch it no more."""
        self._selector.unregister(what)

    def time(self) -> float:
        """As the test has set it."""
        return self.now

    def watched(self) -> int:
        """How much is watched."""
        return len(self._selector.get_map() or ())

    def turn(self, timeout: float = 0) -> list[object]:
        """Call back whom the news concerns; returns what has had some."""
        events = self._selector.select(timeout)
        for key, _ in events:
            key.data()
        return [key.fileobj for key, _ in events]

    def close(self) -> None:
        """Close the selector."""
        self._selector.close()
