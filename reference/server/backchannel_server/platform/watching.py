"""How the parent hears of arrivals: at the edge where the system can, by level where it cannot."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

from ..loops import Loop

__all__ = ["EdgePoller", "EdgeWatch", "LevelWatch", "ListenerWatch", "News", "Wanted"]

News = Callable[[int], None]
"""Called with the index of a listener that has news."""
Wanted = Callable[[int], bool]
"""Whether news from the listener of this index would be of use now."""


class EdgePoller(Protocol):
    """An edge-triggered poller of its own, readable itself while it has events."""

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""

    def add(self, fd: int) -> None:
        """Watch ``fd``."""

    def events(self, timeout: float = 0) -> list[int]:
        """The descriptors with news since the last call; waits for some for at most ``timeout`` seconds."""

    def fileno(self) -> int:
        """What to watch."""

    def close(self) -> None:
        """Watch no more."""

    def forget(self) -> None:
        """In a worker: let go of what was inherited, without changing it."""


class ListenerWatch(Protocol):
    """How the parent hears of arrivals."""

    edges: bool
    """Whether each arrival makes an event, even while there are others."""

    def start(self, listeners: Sequence[socket.socket], news: News) -> None:
        """Begin: from now on ``news`` hears of arrivals on ``listeners``."""

    def sleep(self, seconds: float) -> None:
        """Wait for arrivals alone, for at most so long. Only where :attr:`edges` is true."""

    def rearm(self, wanted: Wanted, unseen: Wanted, now: float) -> None:
        """Called after each turn: which listeners' news would be of use, and which would be but for an unanswered
        order.
        """

    def next_look(self) -> float | None:
        """When to look again at what no event will tell of; ``None``: never."""

    def look(self, now: float) -> None:
        """Look again, if it is time to."""

    def close(self) -> None:
        """Watch no more."""

    def forget(self) -> None:
        """In a worker: let go of what was inherited, without changing it."""


class EdgeWatch:
    """All listeners in one inner edge-triggered poller: an edge comes once, so there is never anything to disarm."""

    edges = True

    def __init__(self, loop: Loop, poller: EdgePoller) -> None:
        self._loop = loop
        self._poller = poller
        self._index: dict[int, int] = {}
        self._news: News = lambda _index: None

    def start(self, listeners: Sequence[socket.socket], news: News) -> None:
        """See :class:`ListenerWatch`."""
        self._news = news
        self._index = {listener.fileno(): at for at, listener in enumerate(listeners)}
        for fd in self._index:
            self._poller.add(fd)
        self._loop.watch(self._poller.fileno(), self._take)

    def _take(self) -> None:
        if not self._poller.closed:  # earlier in this turn
            self.sleep(0)

    def sleep(self, seconds: float) -> None:
        """See :class:`ListenerWatch`."""
        for fd in self._poller.events(seconds):
            self._news(self._index[fd])

    def rearm(self, wanted: Wanted, unseen: Wanted, now: float) -> None:
        """Nothing to do."""

    def next_look(self) -> float | None:
        """Every arrival makes an edge."""
        return None

    def look(self, now: float) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """See :class:`ListenerWatch`."""
        if self._index:
            self._loop.unwatch(self._poller.fileno())
        self._poller.close()

    def forget(self) -> None:
        """See :class:`ListenerWatch`."""
        self._poller.forget()


FIRST_LOOK: Final = 0.01
LAST_LOOK: Final = 0.32


class LevelWatch:
    """Each listener in the loop itself, but only while its news is of use (BC-WATCH-05).

    While an order is unanswered its connection may still be pending, and then the listener stays readable: armed, it
    would wake the parent without end. Disarmed, it hides what arrives meanwhile, which matters only if the answer is
    slow. So a disarmed listener is looked at again after 10 ms and then at twice the distance each time, up to 320 ms
    (BC-WATCH-02); an answer in time makes no look come true.
    """

    edges = False

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._news: News = lambda _index: None
        self._listeners: Sequence[socket.socket] = ()
        self._armed: set[int] = set()
        self._distance = 0.0
        self._next_look: float | None = None

    def start(self, listeners: Sequence[socket.socket], news: News) -> None:
        """See :class:`ListenerWatch`."""
        self._news = news
        self._listeners = listeners

    def sleep(self, seconds: float) -> None:
        """Never called."""
        raise NotImplementedError

    def rearm(self, wanted: Wanted, unseen: Wanted, now: float) -> None:
        """Take in and out what changed."""
        for index, listener in enumerate(self._listeners):
            if wanted(index) and index not in self._armed:
                self._armed.add(index)
                self._loop.watch(listener, partial(self._news, index))
            elif index in self._armed and not wanted(index):
                self._armed.discard(index)
                self._loop.unwatch(listener)
        if not any(map(unseen, range(len(self._listeners)))):
            self._next_look = None
        elif self._next_look is None:
            self._distance = FIRST_LOOK
            self._next_look = now + self._distance

    def next_look(self) -> float | None:
        """See :class:`ListenerWatch`."""
        return self._next_look

    def look(self, now: float) -> None:
        """See :class:`ListenerWatch`."""
        if self._next_look is not None and now >= self._next_look:
            for index in range(len(self._listeners)):
                if index not in self._armed:
                    self._news(index)
            self._distance = min(2 * self._distance, LAST_LOOK)
            self._next_look = now + self._distance

    def close(self) -> None:
        """See :class:`ListenerWatch`."""
        for index in self._armed:
            self._loop.unwatch(self._listeners[index])
        self._armed.clear()
        self._next_look = None

    def forget(self) -> None:
        """Nothing of its own to let go of."""
