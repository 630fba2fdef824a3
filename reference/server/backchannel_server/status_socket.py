"""The status socket: connect, read one JSON document, done.

The document's form is in the adapter contract (``spec/adapter``). A reader that is slow holds up nobody: what its
socket does not take at once is written when it can be. It has :data:`PATIENCE` seconds for all of it, whatever it takes
meanwhile, and only :data:`READERS` are waited for: the next one takes the place of the one that has been slow for
longest, so readers that take nothing cost little and keep nobody out. Nor does one for whom there is no descriptor hold
up anything: it waits, and the parent, who would find it waiting whenever it looks, does not look for a while.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .listeners import BACKLOG

__all__ = ["PATIENCE", "READERS", "REST", "StatusSocket", "claim"]

PATIENCE: Final = 5.0
"""Seconds that a reader has, from its connection to the last octet."""

READERS: Final = 16
"""Readers at once that have not taken everything yet."""

REST: Final = 1.0
"""Seconds without a look at who wants to read, after the system has refused to accept one."""


def claim(listener: socket.socket) -> None:
    """Let the system name this process to whoever connects to ``listener``: it remembers who called ``listen`` last,
    which was this process as root, or the parent that this one replaces.
    """
    listener.listen(BACKLOG)


@dataclass
class _Reader:
    """What a reader has not taken yet, and how long it has for that, on the monotonic clock."""

    rest: memoryview
    until: float


class StatusSocket:
    """Serves ``document()`` to whoever connects to ``listener``."""

    def __init__(
        self, listener: socket.socket, selector: selectors.BaseSelector, document: Callable[[], dict[str, object]]
    ) -> None:
        self._listener = listener
        self._selector = selector
        self._document = document
        self._waiting: dict[socket.socket, _Reader] = {}
        self._rests_until: float | None = None
        claim(listener)
        selector.register(listener, selectors.EVENT_READ, self._greet)

    @property
    def _readers(self) -> dict[socket.socket, _Reader]:
        """Those that are waited for, oldest first; whoever asks, none of them has been for too long."""
        self._let_late_ones_go(time.monotonic())
        return self._waiting

    def next_look(self) -> float | None:
        """When :meth:`look` is due, by the monotonic clock."""
        oldest = next(iter(self._waiting.values()), None)
        times = (self._rests_until, None if oldest is None else oldest.until)
        return min((when for when in times if when is not None), default=None)

    def look(self, now: float) -> None:
        """Look for readers again, if it is time, and let go of those that are too slow."""
        self._let_late_ones_go(now)
        if self._rests_until is not None and now >= self._rests_until:
            self._rests_until = None
            try:
                self._selector.register(self._listener, selectors.EVENT_READ, self._greet)
            except OSError:  # no room to watch it, as with epoll's limit for a user's watches
                self._rests_until = now + REST

    def stop(self) -> None:
        """Serve nobody any more, and close the socket."""
        for sock in (self._listener, *self._waiting):
            if sock in self._selector.get_map():
                self._selector.unregister(sock)
        self.forget()

    def forget(self) -> None:
        """In a worker: close what was inherited."""
        self._listener.close()
        for reader in self._waiting:
            reader.close()
        self._waiting.clear()

    def _greet(self, _mask: int) -> None:
        try:
            reader, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):  # it has gone
            return
        except OSError:
            self._selector.unregister(self._listener)
            self._rests_until = time.monotonic() + REST
            return
        reader.setblocking(False)
        if len(self._readers) == READERS:
            self._let_go(next(iter(self._waiting)))
        rest = memoryview(json.dumps(self._document()).encode() + b"\n")
        self._waiting[reader] = _Reader(rest, time.monotonic() + PATIENCE)
        self._write(reader)

    def _write(self, sock: socket.socket) -> None:
        reader = self._waiting.get(sock)
        if reader is None:
            return  # let go of earlier in this turn
        try:
            reader.rest = reader.rest[sock.send(reader.rest) :]
        except BlockingIOError:
            pass
        except OSError:
            reader.rest = reader.rest[:0]
        if not reader.rest:
            self._let_go(sock)
        elif sock not in self._selector.get_map():
            try:
                self._selector.register(sock, selectors.EVENT_WRITE, lambda _mask: self._write(sock))
            except OSError:  # no room to watch it: the reader is cut short, and may come again
                self._let_go(sock)

    def _let_late_ones_go(self, now: float) -> None:
        for sock, reader in list(self._waiting.items()):
            if now < reader.until:
                break
            self._let_go(sock)

    def _let_go(self, sock: socket.socket) -> None:
        del self._waiting[sock]
        if sock in self._selector.get_map():
            self._selector.unregister(sock)
        sock.close()
