"""The status socket: connect, read one JSON document, done.

The document's form is in the adapter contract (``spec/adapter``). A reader that is slow holds up nobody: what its
socket does not take at once is written when it can be. It has :data:`TIMEOUT` seconds for all of it, whatever it takes
meanwhile, and only :data:`READERS` are waited for: the next one takes the place of the one that has been slow for
longest, so readers that take nothing cost little and keep nobody out. Nor does one for whom there is no descriptor hold
up anything: it waits, and the parent, who would find it waiting whenever it looks, does not look for a while.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .listeners import BACKLOG
from .loops import Loop

__all__ = ["COOL_DOWN", "READERS", "TIMEOUT", "StatusSocket"]

TIMEOUT: Final = 5.0
"""Seconds that a reader has, from its connection to the last octet."""

READERS: Final = 16
"""Readers at once that have not taken everything yet."""

COOL_DOWN: Final = 1.0
"""Seconds without a look at who wants to read, after the system has refused to accept one."""


@dataclass
class _Reader:
    """What a reader has not taken yet, and how long it has for that, by the loop's clock."""

    rest: memoryview
    until: float
    watched: bool = False


class StatusSocket:
    """Serves ``document()`` to whoever connects to ``listener``."""

    def __init__(self, listener: socket.socket, loop: Loop, document: Callable[[], dict[str, object]]) -> None:
        self._listener = listener
        self._loop = loop
        self._document = document
        self._waiting: dict[socket.socket, _Reader] = {}
        self._cools_until: float | None = None
        # the system names to whoever connects the process that called listen last, which was this one as root, or
        # the parent that this one replaces: now it is this one
        listener.listen(BACKLOG)
        loop.watch(listener, self._greet)

    @property
    def _readers(self) -> dict[socket.socket, _Reader]:
        """Those that are waited for, oldest first; whoever asks, none of them has been for too long."""
        self._let_late_ones_go(self._loop.time())
        return self._waiting

    def next_look(self) -> float | None:
        """When :meth:`look` is due, by the loop's clock."""
        oldest = next(iter(self._waiting.values()), None)
        times = (self._cools_until, None if oldest is None else oldest.until)
        return min((when for when in times if when is not None), default=None)

    def look(self, now: float) -> None:
        """Look for readers again, if it is time, and let go of those that are too slow."""
        self._let_late_ones_go(now)
        if self._cools_until is not None and now >= self._cools_until:
            self._cools_until = None
            try:
                self._loop.watch(self._listener, self._greet)
            except OSError:  # no room to watch it, as with epoll's limit for a user's watches
                self._cools_until = now + COOL_DOWN

    def stop(self) -> None:
        """Serve nobody any more, and close the socket."""
        if self._cools_until is None:
            self._loop.unwatch(self._listener)
        for sock, reader in self._waiting.items():
            if reader.watched:
                self._loop.unwatch(sock)
        self.forget()

    def forget(self) -> None:
        """In a worker: close what was inherited."""
        self._listener.close()
        for reader in self._waiting:
            reader.close()
        self._waiting.clear()

    def _greet(self) -> None:
        if self._cools_until is not None or self._listener.fileno() == -1:
            return  # since earlier in this turn
        try:
            reader, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):  # it has gone
            return
        except OSError:
            self._loop.unwatch(self._listener)
            self._cools_until = self._loop.time() + COOL_DOWN
            return
        reader.setblocking(False)
        if len(self._readers) == READERS:
            self._let_go(next(iter(self._waiting)))
        rest = memoryview(json.dumps(self._document()).encode() + b"\n")
        self._waiting[reader] = _Reader(rest, self._loop.time() + TIMEOUT)
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
        elif not reader.watched:
            try:
                self._loop.watch(sock, lambda: self._write(sock), writing=True)
                reader.watched = True
            except OSError:  # no room to watch it: the reader is cut short, and may come again
                self._let_go(sock)

    def _let_late_ones_go(self, now: float) -> None:
        for sock, reader in list(self._waiting.items()):
            if now < reader.until:
                break
            self._let_go(sock)

    def _let_go(self, sock: socket.socket) -> None:
        if self._waiting.pop(sock).watched:
            self._loop.unwatch(sock)
        sock.close()
