"""The status socket: connect, read one JSON document, done.

The document's form is in the adapter contract (``spec/adapter``). A reader that is slow holds up nobody: what its
socket does not take at once is written when it can be. Nor does one for whom there is no descriptor: it waits, and the
parent, who would find it waiting whenever it looks, does not look for a while.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Callable
from typing import Final

__all__ = ["StatusSocket"]

REST: Final = 1.0
"""Seconds without a look at who wants to read, after the system has refused to accept one."""


class StatusSocket:
    """Serves ``document()`` to whoever connects to ``listener``."""

    def __init__(
        self, listener: socket.socket, selector: selectors.BaseSelector, document: Callable[[], dict[str, object]]
    ) -> None:
        self._listener = listener
        self._selector = selector
        self._document = document
        self._readers: dict[socket.socket, memoryview] = {}
        self._rests_until: float | None = None
        selector.register(listener, selectors.EVENT_READ, self._greet)

    def next_look(self) -> float | None:
        """When :meth:`look` is due, by the monotonic clock."""
        return self._rests_until

    def look(self, now: float) -> None:
        """Look for readers again, if it is time."""
        if self._rests_until is not None and now >= self._rests_until:
            self._rests_until = None
            self._selector.register(self._listener, selectors.EVENT_READ, self._greet)

    def stop(self) -> None:
        """Serve nobody any more, and close the socket."""
        for sock in (self._listener, *self._readers):
            if sock in self._selector.get_map():
                self._selector.unregister(sock)
        self.forget()

    def forget(self) -> None:
        """In a worker: close what was inherited."""
        self._listener.close()
        for reader in self._readers:
            reader.close()
        self._readers.clear()

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
        self._readers[reader] = memoryview(json.dumps(self._document()).encode() + b"\n")
        self._write(reader)

    def _write(self, reader: socket.socket) -> None:
        rest = self._readers[reader]
        try:
            rest = rest[reader.send(rest) :]
        except BlockingIOError:
            pass
        except OSError:
            rest = rest[:0]
        registered = reader in self._selector.get_map()
        if rest:
            self._readers[reader] = rest
            if not registered:
                self._selector.register(reader, selectors.EVENT_WRITE, lambda _mask: self._write(reader))
            return
        if registered:
            self._selector.unregister(reader)
        del self._readers[reader]
        reader.close()
