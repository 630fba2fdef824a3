"""How the parent hears of arrivals, and counts who waits.

The watch says that a listener has news, the counts say how many wait there; both differ between systems
(:mod:`.platform`). A pass asks for counts once, after it has read everything else (BC-PASS-01, BC-PEND-02).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence

from backchannel import Parent

from . import platform
from .loops import Loop

__all__ = ["Arrivals"]


class Arrivals:
    """The watch on ``listeners``, and their counts, for ``core``. Not watched before :meth:`start`.

    ``edges``: use an edge-triggered poller, which the loop then must be able to watch.
    """

    def __init__(self, core: Parent, loop: Loop, listeners: Sequence[socket.socket], *, edges: bool = True) -> None:
        self._core = core
        self._loop = loop
        self._listeners = listeners
        self._edges = edges
        self._counts = platform.Counts(listeners)
        self._news: set[int] = set()
        self.watch: platform.ListenerWatch | None = None

    @property
    def news(self) -> bool:
        """Whether a listener has had news since the last :meth:`pending`."""
        return bool(self._news)

    def start(self) -> None:
        """Watch them from now on: they are this parent's. Raises ``OSError``."""
        if not self._core.watches:
            self._listeners[0].setblocking(True)  # workers of a traditional pool are to sleep in accept
            return
        self.watch = platform.listener_watch(self._loop, edges=self._edges)
        self.watch.start(self._listeners, self._news.add)
        self._core.edges = self.watch.edges and self._counts.exact

    def stop(self) -> None:
        """Watch them no more."""
        if self.watch is not None:
            self.watch.close()
            self.watch = None

    def forget(self) -> None:
        """In a worker: let go of the watch without changing it (BC-FORK-03)."""
        if self.watch is not None:
            self.watch.forget()

    def look(self, now: float) -> None:
        """Look again at what no event tells of, if it is time to."""
        if self.watch is not None:
            self.watch.look(now)

    def next_look(self) -> float | None:
        """When :meth:`look` has something to do."""
        return self.watch.next_look() if self.watch is not None else None

    def pending(self) -> dict[int, int]:
        """The pending count of each listener whose count the core wants, after it has been told which have news."""
        core, news = self._core, self._news
        for listener in news:
            core.readable(listener)
        counts = {index: self._counts.pending(index, index in news) for index in core.to_count()}
        # a system that was seen to count wrongly is asked no more: then an edge may stand for several arrivals
        core.edges = core.edges and self._counts.exact
        news.clear()
        return counts

    def rearm(self, now: float) -> None:
        """After a pass: watch what is of use, and nothing else (BC-WATCH-01, BC-WATCH-06)."""
        if self.watch is not None:
            self.watch.rearm(self._core.watching, self._core.unseen, now)
