"""The status socket: connect, read one JSON document, done.

The document's form is in the adapter contract (``spec/adapter``). A reader that is slow holds up nobody: what its
socket does not take at once is written when it can be.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
from collections.abc import Callable

from .errors import StartError

__all__ = ["StatusSocket"]


class StatusSocket:
    """Serves ``document()`` to whoever connects to ``path``."""

    def __init__(self, path: str, selector: selectors.BaseSelector, document: Callable[[], dict[str, object]]) -> None:
        self._path = path
        self._selector = selector
        self._document = document
        self._readers: dict[socket.socket, memoryview] = {}
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._listener.bind(path)
        except OSError as error:
            self._listener.close()
            text = (
                f"--status {path}: {error.strerror}; give a path that does not exist, in a directory you may write to"
            )
            raise StartError(os.EX_OSERR, text) from None
        self._listener.listen(16)
        self._listener.setblocking(False)
        selector.register(self._listener, selectors.EVENT_READ, self._greet)

    def close(self) -> None:
        """Stop serving and remove the path."""
        self.forget()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    def forget(self) -> None:
        """In a worker: close what was inherited, and leave the path alone."""
        self._listener.close()
        for reader in self._readers:
            reader.close()

    def _greet(self, _mask: int) -> None:
        try:
            reader, _ = self._listener.accept()
        except OSError:
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
