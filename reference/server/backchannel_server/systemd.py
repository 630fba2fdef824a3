"""Telling whoever asked how it goes: a descriptor, a supervisor, the log.

The descriptor gets one line, ``READY`` and the addresses, once. A supervisor that set NOTIFY_SOCKET gets the
datagrams of ``sd_notify``, which are lines of ``NAME=value``. What cannot be sent to it is lost: a supervisor that has
gone must not take the server with it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import MutableMapping, Sequence

from backchannel.printing import printable

from . import standard
from .errors import StartError
from .platform import unix_address

__all__ = ["Notifier"]

log = logging.getLogger("backchannel")

VARIABLE = "NOTIFY_SOCKET"

MOST = 1 << 20
"""Characters of the line READY at most."""


class Notifier:
    """Tells readiness, reloads and the end.

    Takes NOTIFY_SOCKET out of ``environment``, so that no worker speaks in the server's name. Raises
    :class:`StartError` if ``ready_fd`` is not open.
    """

    def __init__(self, environment: MutableMapping[str, str], ready_fd: int | None = None) -> None:
        self.path = environment.pop(VARIABLE, "")
        self.given_fd = self.ready_fd = ready_fd
        if ready_fd is not None:
            try:
                self._what = _what(ready_fd)
            except (OSError, OverflowError) as error:
                why = getattr(error, "strerror", "no descriptor has such a number")
                raise StartError(
                    2, f"--ready-fd {ready_fd}: {why}; give a descriptor that is open for writing"
                ) from None

    def ready(self, addresses: Sequence[str]) -> None:
        """The service is up, or a reload is over."""
        self._send("READY=1", f"STATUS=serving {' '.join(addresses)}")
        log.info("ready on %s", ", ".join(addresses))
        if self.ready_fd is not None:
            line = printable(f"READY {' '.join(addresses)}", MOST).encode() + b"\n"
            if not standard.write(self.ready_fd, line):
                log.warning("no process reads READY from --ready-fd %d", self.ready_fd)
            self.ready_fd = None

    def forget(self) -> None:
        """In a worker: close the descriptor, so that who reads it sees the end of the server, not of its last worker.
        The standard ones are everybody's.
        """
        if self.given_fd is not None and self.given_fd > 2:
            with contextlib.suppress(OSError):
                if _what(self.given_fd) == self._what:  # its owner may have closed it, and the number be another's
                    os.close(self.given_fd)

    def reloading(self) -> None:
        """A reload has begun; :meth:`reloaded` ends it."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def reloaded(self, status: str) -> None:
        """A reload is over, well or not; ``status`` says which."""
        self._send("READY=1", f"STATUS={status}")

    def stopping(self) -> None:
        """The service goes."""
        self._send("STOPPING=1")

    def main_pid(self, pid: int) -> None:
        """Another process is the service from now on."""
        self._send(f"MAINPID={pid}")

    def _send(self, *lines: str) -> None:
        if not self.path:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            sender.sendto("\n".join(map(printable, lines)).encode(), unix_address(self.path))


def _what(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino
