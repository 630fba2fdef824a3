"""What a :class:`~backchannel_server.driver.Driver` needs of a loop: to watch a descriptor, to cease to, and the time;
and when the loop may call the driver.

Whatever is made of these three calls is made once, for every loop: channels, arrivals, the baton, the status socket.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from enum import Enum
from typing import Protocol

__all__ = ["Loop", "Phase"]


class Loop(Protocol):
    """A loop, as a driver sees it."""

    def watch(self, what: socket.socket | int, ready: Callable[[], object], *, writing: bool = False) -> None:
        """From now on call ``ready``, and make a turn after it, whenever ``what`` can be read (or, if ``writing``,
        written). Nothing is watched twice at once.

        The call may come late, even after :meth:`unwatch`, and then does nothing. Raises ``OSError`` when the system
        has no room to watch it; a loop that learns of that later calls ``ready`` now and then instead.
        """

    def unwatch(self, what: socket.socket | int) -> None:
        """Watch it no more, and leave it open: whoever has opened it closes it, as a rule at once after this."""

    def time(self) -> float:
        """Now, in seconds, by a monotonic clock (BC-FORK-09)."""


class Phase(Enum):
    """What a driver is doing, in the words for a loop that calls it at the wrong time."""

    NEW = "before begin()"
    BEGUN = "after begin()"
    TURN = "within a turn: a callback or a signal handler must only wake the loop, and the loop must have one thread"
    CLOSED = "after close(): make a new Driver, with what open_all() opens anew"

    def refuses(self, call: str) -> RuntimeError:
        """The error of a loop that makes ``call`` in this phase."""
        return RuntimeError(f"Driver.{call}() was called {self.value}")
