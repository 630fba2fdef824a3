"""What differs between operating systems, and nothing else.

**Watching a listener.** The parent wants to be told once of each arrival, and never again for a connection that it has
already ordered somebody to take. Edge-triggered polling does that (EPOLLET on Linux, EV_CLEAR on kqueue), but
no loop has a word for it. So :class:`EdgeWatch` puts the listeners into an inner epoll or kqueue of their own, and the
loop watches the inner one's descriptor. It must be emptied at each wake-up, else it stays readable. Where there is
neither, :class:`LevelWatch` has the loop watch the listeners themselves, but not while their news would be of no use.

**Counting what is pending.** Linux answers ``TCP_INFO`` on a listening TCP socket with the length of its queue, and
netlink for AF_UNIX ones (:mod:`.linux`). kqueue says it in the ``data`` of an event, which goes stale, so it is read
anew (:mod:`.kqueue`). Where no count is to be had the answer is 1 if the listener is readable and 0 if not
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
import sys
import time
from collections.abc import Sequence
from typing import Final

from ..loops import Loop
from .watching import EdgePoller, EdgeWatch, LevelWatch, ListenerWatch

if sys.platform == "linux":
    from . import linux as native
elif sys.platform != "win32":
    from . import kqueue as native

__all__ = [
    "LONGEST",
    "POLLERS",
    "Counts",
    "EdgePoller",
    "EdgeWatch",
    "LevelWatch",
    "ListenerWatch",
    "edge_poller",
    "forget",
    "has_edges",
    "listener_watch",
    "seconds_until",
    "selector_class",
    "unix_address",
    "usable_cpus",
]

POLLERS: Final = tuple(
    name for name in ("epoll", "kqueue", "poll", "select") if hasattr(selectors, f"{name.capitalize()}Selector")
)
"""The pollers of this system, best first."""


LONGEST: Final = 86400.0
"""Seconds of one wait at most. Pollers refuse what does not fit into their numbers: epoll and poll 25 days."""


def seconds_until(when: float) -> float:
    """How long to wait until ``when``, by the monotonic clock; whoever has to wait longer then waits again."""
    return min(max(0.0, when - time.monotonic()), LONGEST)


def selector_class(poller: str) -> type[selectors.BaseSelector]:
    """The selector class for one of :data:`POLLERS`; for ``auto``, the system's best."""
    if poller == "auto":
        return selectors.DefaultSelector
    found: type[selectors.BaseSelector] = getattr(selectors, f"{poller.capitalize()}Selector")
    return found


def edge_poller() -> EdgePoller:
    """A new, empty edge-triggered poller. Only where :data:`POLLERS` has epoll or kqueue."""
    return native.Poller()


def has_edges(selector: selectors.BaseSelector) -> bool:
    """Whether ``selector`` can watch an :func:`edge_poller`: unless it is poll or select."""
    return type(selector).__name__ in ("EpollSelector", "KqueueSelector", "DevpollSelector")


def listener_watch(loop: Loop, *, edges: bool) -> ListenerWatch:
    """A watch by ``loop``, edge-triggered or not."""
    return EdgeWatch(loop, edge_poller()) if edges else LevelWatch(loop)


def forget(selector: selectors.BaseSelector) -> None:
    """In a new worker: let go of the parent's ``selector``, and of what counting opened, without changing either
    (BC-FORK-03).
    """
    if type(selector).__name__ == "KqueueSelector":
        _forgotten.append(selector)
    else:
        selector.close()
    native.forget()


_forgotten: list[object] = []
"""Selectors whose numbers may belong to something else by now: kept, so that nothing ever closes them."""


class Counts:
    """How many connections are pending on each of ``listeners``, by index.

    A system that does not count, that ceases to, or that was seen to count wrongly is not asked again about that
    listener: then the count is 1 while the listener is readable.
    """

    def __init__(self, listeners: Sequence[socket.socket]) -> None:
        self._listeners = listeners
        self._blind = {index for index, listener in enumerate(listeners) if native.count(listener) is None}

    @property
    def exact(self) -> bool:
        """Whether :meth:`pending` counts on every listener, rather than telling some from none."""
        return not self._blind

    def pending(self, index: int, news: bool) -> int:
        """The pending count of a listener. ``news``: its watch has just said that it is readable. Then a count of 0 is
        checked against that (BC-PEND-04).
        """
        listener = self._listeners[index]
        if index not in self._blind:
            count = native.count(listener)
            if count or (count == 0 and not (news and _readable(listener))):
                return count
            if count == 0 and (count := native.count(listener)):
                return count  # it came between the two questions
            if count is None or _readable(listener):
                self._blind.add(index)
        return 1 if _readable(listener) else 0


def _readable(listener: socket.socket) -> bool:
    if hasattr(select, "poll"):
        poller = select.poll()
        poller.register(listener, select.POLLIN)
        return bool(poller.poll(0))
    return bool(select.select([listener], [], [], 0)[0])


def unix_address(name: str) -> str:
    """The address of the AF_UNIX socket ``name``. On Linux ``@`` stands for the zero octet before a name that is no
    path; elsewhere every name is a path.
    """
    return "\0" + name[1:] if sys.platform == "linux" and name.startswith("@") else name


def usable_cpus() -> int:
    """Processors that this process may use; at least 1."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
