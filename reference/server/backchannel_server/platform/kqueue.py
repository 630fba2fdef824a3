"""kqueue: FreeBSD, NetBSD, OpenBSD, macOS.

An EVFILT_READ event on a listener says in ``data`` how many connections wait, TCP and AF_UNIX alike. The figure is
that of the moment of the event and goes stale, so the listener is added with EV_ONESHOT to a spare kqueue to count:
if anything waits, the event comes at once, with the count, and is gone. If nothing waits, the event stays in the
kqueue and must be taken out again.

Only EV_ADD, EV_DELETE, EV_CLEAR and EV_ONESHOT are used: NetBSD has no more.

A kqueue is not inherited by a fork, but Python's object keeps its *number*, which soon belongs to something else: a
child must forget the object without closing it.
"""

from __future__ import annotations

import select
import socket
import sys
from typing import TYPE_CHECKING

assert not TYPE_CHECKING or sys.platform != "linux"

__all__ = ["Poller", "count", "forget"]


class Poller:
    """An edge-triggered kqueue."""

    def __init__(self) -> None:
        self._kqueue = select.kqueue()
        self.fileno = self._kqueue.fileno
        self.close = self._kqueue.close

    @property
    def closed(self) -> bool:
        """See :class:`~.watching.EdgePoller`."""
        return self._kqueue.closed

    def add(self, fd: int) -> None:
        """Watch ``fd``."""
        event = select.kevent(fd, select.KQ_FILTER_READ, select.KQ_EV_ADD | select.KQ_EV_CLEAR)
        self._kqueue.control([event], 0)

    def events(self, timeout: float = 0) -> list[int]:
        """See :class:`~.watching.EdgePoller`."""
        return [event.ident for event in self._kqueue.control(None, 64, timeout)]

    def forget(self) -> None:
        """In a worker: never close the number."""
        _forgotten.append(self._kqueue)


_forgotten: list[object] = []
_spare: list[select.kqueue] = []


def count(listener: socket.socket) -> int | None:
    """How many connections wait on ``listener``."""
    if not _spare:
        _spare.append(select.kqueue())
    flags = select.KQ_EV_ADD | select.KQ_EV_ONESHOT
    events = _spare[0].control([select.kevent(listener.fileno(), select.KQ_FILTER_READ, flags)], 1, 0)
    if events:
        return int(events[0].data)
    delete = select.kevent(listener.fileno(), select.KQ_FILTER_READ, select.KQ_EV_DELETE)
    _spare[0].control([delete], 0)
    return 0


def forget() -> None:
    """In a new worker: the spare kqueue's number is not ours to close."""
    _forgotten.extend(_spare)
    _spare.clear()
