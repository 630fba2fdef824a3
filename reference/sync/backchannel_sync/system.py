"""What differs between operating systems, and nothing else.

**Watching a listener.** The parent wants to be told once of each arrival, and never again for a connection that it has
already ordered somebody to take. Edge-triggered polling does that (EPOLLET on Linux, EV_CLEAR on kqueue), but
``selectors`` has no word for it. So :class:`EdgeWatch` puts the listeners into an inner epoll or kqueue of their own,
and the inner one's descriptor goes into the ordinary selector. It must be emptied at each wake-up, else the outer one
stays readable. Where there is neither, :class:`LevelWatch` puts listeners into the selector itself and takes them out
while their news would be of no use.

**Counting what is pending.** Linux answers ``TCP_INFO`` on a listening TCP socket with the length of its queue.
kqueue says it in the ``data`` of an event, which goes stale, so it is read anew by adding the listener to a spare
kqueue with EV_ONESHOT. Where no count is to be had the answer is 1 if the listener is readable and 0 if not
(BC-PEND-03).

**After a fork.** An epoll set is shared with the parent: the child closes its descriptor and must not change the set.
A kqueue is not inherited, only Python's object with its number is, and closing it would close whatever got that
number since (:func:`forget`).
"""

from __future__ import annotations

import os
import select
import selectors
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Protocol

__all__ = [
    "EdgeWatch",
    "LevelWatch",
    "ListenerWatch",
    "forget",
    "listener_watch",
    "pending",
    "usable_cpus",
]


class ListenerWatch(Protocol):
    """How the parent hears of arrivals."""

    def rearm(self, wanted: Callable[[int], bool]) -> None:
        """Called after each turn: which listeners' news would be of use now."""

    def close(self) -> None:
        """Watch no more."""

    def forget(self) -> None:
        """In a worker: let go of what was inherited, without changing it."""


class EdgeWatch:
    """All listeners in one inner edge-triggered poller."""

    def __init__(
        self,
        outer: selectors.BaseSelector,
        listeners: Sequence[socket.socket],
        news: Callable[[int], None],
    ) -> None:
        self._outer = outer
        self._news = news
        self._index = {listener.fileno(): at for at, listener in enumerate(listeners)}
        self._poller = _edge_poller()
        for fd in self._index:
            self._poller.add(fd)
        outer.register(self._poller.fileno(), selectors.EVENT_READ, self._drain)

    def _drain(self, _mask: int) -> None:
        for fd in self._poller.events():
            self._news(self._index[fd])

    def rearm(self, wanted: Callable[[int], bool]) -> None:
        """Nothing to do: an edge comes once."""

    def close(self) -> None:
        """Watch no more."""
        self._outer.unregister(self._poller.fileno())
        self._poller.close()

    def forget(self) -> None:
        """In a worker: let go of the inner poller."""
        self._poller.forget()


class LevelWatch:
    """Each listener in the ordinary selector, but only while its news is of use (BC-WATCH-05)."""

    def __init__(
        self,
        outer: selectors.BaseSelector,
        listeners: Sequence[socket.socket],
        news: Callable[[int], None],
    ) -> None:
        self._outer = outer
        self._news = news
        self._listeners = list(listeners)
        self._armed: set[int] = set()

    def rearm(self, wanted: Callable[[int], bool]) -> None:
        """Take in and out what changed."""
        for index, listener in enumerate(self._listeners):
            if wanted(index) and index not in self._armed:
                self._armed.add(index)
                self._outer.register(listener, selectors.EVENT_READ, lambda _mask, at=index: self._news(at))
            elif index in self._armed and not wanted(index):
                self._armed.discard(index)
                self._outer.unregister(listener)

    def close(self) -> None:
        """Watch no more."""
        self.rearm(lambda _index: False)

    def forget(self) -> None:
        """In a worker: nothing of its own to let go of."""


def listener_watch(
    outer: selectors.BaseSelector, listeners: Sequence[socket.socket], news: Callable[[int], None]
) -> ListenerWatch:
    """The best watch that goes with ``outer``; ``news`` is called with the index of a listener."""
    fits = hasattr(select, "epoll") or hasattr(select, "kqueue")
    return (EdgeWatch if fits else LevelWatch)(outer, listeners, news)


class _EdgePoller(Protocol):
    def add(self, fd: int) -> None: ...
    def events(self) -> list[int]: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...
    def forget(self) -> None: ...


if sys.platform == "linux":

    class _Epoll:
        def __init__(self) -> None:
            self._epoll = select.epoll()
            self.fileno = self._epoll.fileno
            self.close = self._epoll.close
            self.forget = self._epoll.close

        def add(self, fd: int) -> None:
            self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)

        def events(self) -> list[int]:
            return [fd for fd, _ in self._epoll.poll(0)]

    def _edge_poller() -> _EdgePoller:
        return _Epoll()

    # struct tcp_info: eight octets, then 32-bit words; tcpi_unacked is the fifth of these
    _UNACKED = struct.Struct("=I")
    _UNACKED_AT = 24

    def _count(listener: socket.socket) -> int | None:
        if listener.family == socket.AF_UNIX:
            return None
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED_AT + 4)
        count: int = _UNACKED.unpack_from(info, _UNACKED_AT)[0]
        return count

elif sys.platform != "win32":

    class _Kqueue:
        def __init__(self) -> None:
            self._kqueue = select.kqueue()
            self.fileno = self._kqueue.fileno
            self.close = self._kqueue.close

        def add(self, fd: int) -> None:
            event = select.kevent(fd, select.KQ_FILTER_READ, select.KQ_EV_ADD | select.KQ_EV_CLEAR)
            self._kqueue.control([event], 0)

        def events(self) -> list[int]:
            return [event.ident for event in self._kqueue.control(None, 64, 0)]

        def forget(self) -> None:
            _forgotten.append(self._kqueue)

    def _edge_poller() -> _EdgePoller:
        return _Kqueue()

    _spare: list[select.kqueue] = []

    def _count(listener: socket.socket) -> int | None:
        if not _spare:
            _spare.append(select.kqueue())
        flags = select.KQ_EV_ADD | select.KQ_EV_ONESHOT
        event = select.kevent(listener.fileno(), select.KQ_FILTER_READ, flags)
        events = _spare[0].control([event], 1, 0)
        if events:
            return int(events[0].data)
        delete = select.kevent(listener.fileno(), select.KQ_FILTER_READ, select.KQ_EV_DELETE)
        _spare[0].control([delete], 0)
        return 0


_forgotten: list[object] = []
"""Kqueues whose numbers may belong to something else by now: kept, so that nothing ever closes them."""


def forget(selector: selectors.BaseSelector) -> None:
    """In a new worker: let go of the parent's ``selector`` without changing it (BC-FORK-03)."""
    if type(selector).__name__ == "KqueueSelector":
        _forgotten.append(selector)
    else:
        selector.close()
    if sys.platform != "linux" and sys.platform != "win32":
        _forgotten.extend(_spare)
        _spare.clear()


def pending(listener: socket.socket, news: bool) -> int:
    """How many connections wait on ``listener`` (P).

    ``news``: its watch has just said that it is readable. Then a count of 0 is checked against that (BC-PEND-04).
    """
    count = _count(listener)
    if count or (count == 0 and not news):
        return count
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    return 1 if poller.poll(0) else 0


def usable_cpus() -> int:
    """Processors that this process may use; at least 1."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
