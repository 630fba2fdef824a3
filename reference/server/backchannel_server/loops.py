"""What a :class:`~backchannel_server.driver.Driver` needs of a loop: to watch a descriptor, to cease to, and the time.

Whatever is made of these three calls is made once, for every loop: channels, arrivals, the baton, the status socket.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

__all__ = ["Loop"]


class Loop(Protocol):
    """A loop, as a driver sees it."""

    def watch(self, what: socket.socket | int, ready: Callable[[], object], *, writing: bool = False) -> None:
        """From now on call ``ready``, and make a turn after it, whenever ``what`` can be read (or, if ``writing``,
        written). Nothing is watched twice at once.

        The call may come late, even after :meth:`unwatch`, and then does nothing. Raises ``OSError`` when the system
        has no room to watch it; a loop that learns of that later calls ``ready`` now and then instead.
        """

    def unwatch(self, what: socket.socket | int) -> None:
        """Watch it no more: it is open still, and about to be closed as a rule."""

    def time(self) -> float:
        """Now, in seconds, by a monotonic clock (BC-FORK-09)."""
