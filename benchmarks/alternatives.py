"""The alternatives, as programs: ``python alternatives.py KIND LISTEN WORKERS``.

``blocking``: every worker blocks in ``accept``, and the kernel wakes them in turn. ``herd``: event-based workers that
all watch one listener. ``exclusive``: the same by EPOLLEXCLUSIVE. ``reuseport``: the same, each with a listener of
its own. Listening and forking are those of the suite's controls, the handlers those of :mod:`handlers`; the event
loop is as small as one can be, so that the alternatives are shown at their best.

``round-robin`` is no alternative but the back-channel with a policy that only this comparison needs: whoever has
waited longest.
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Generator
from functools import partial

import handlers
from backchannel_sync import Connection
from backchannel_sync.events import READ, Wait
from service import listen, run_pool

__all__ = ["main"]

WATCH = {"herd": select.EPOLLIN, "exclusive": select.EPOLLIN | select.EPOLLEXCLUSIVE, "reuseport": select.EPOLLIN}


def block(listener: socket.socket) -> None:
    """Accept, serve, and again."""
    while True:
        connection, _ = listener.accept()
        with connection:
            handlers.blocking(connection)


def watch(listener: socket.socket, kind: str) -> None:
    """Watch the listener and the connections, and take one connection for each event, as most servers do."""
    epoll = select.epoll()
    epoll.register(listener, WATCH[kind])
    listening = listener.fileno()
    tasks: dict[int, tuple[Connection, Generator[Wait, None, object]]] = {}
    while True:
        for fd, _ in epoll.poll():
            if fd == listening:
                try:
                    accepted, _ = listener.accept()
                except BlockingIOError:
                    continue
                accepted.setblocking(False)
                connection = Connection(accepted)
                steps: Generator[Wait, None, object] = handlers.events(connection)
            else:
                connection, steps = tasks[fd]
            try:
                wait = next(steps)
            except (StopIteration, OSError):
                if fd in tasks:
                    epoll.unregister(fd)
                    del tasks[fd]
                connection.socket.close()
            else:
                if fd not in tasks:
                    fd = connection.socket.fileno()
                    tasks[fd] = connection, steps
                    epoll.register(fd, select.EPOLLIN if wait.events & READ else select.EPOLLOUT)


def round_robin(address: str, workers: int) -> int:
    """The back-channel, and the worker that has waited longest."""
    from itertools import count

    from backchannel import Scaling, Settings, candidates, settings
    from backchannel_sync import serve

    turn = count()
    candidates.KEYS["round-robin"] = lambda _worker: next(turn)
    settings.POLICIES += ("round-robin",)  # type: ignore[assignment]
    scaling = Scaling.fixed(workers)
    return serve("handlers:blocking", address, settings=Settings(policy="round-robin"), scaling=scaling, ready_fd=1)


def main(kind: str, address: str, workers: int) -> None:
    """Serve until SIGTERM."""
    if kind == "round-robin":
        raise SystemExit(round_robin(address, workers))
    alone = kind == "reuseport"
    first = listen(address, reuseport=alone)
    if kind == "blocking":
        first.setblocking(True)
        run_pool([first], [partial(block, first)] * workers)
        return
    address = "{}:{}".format(*first.getsockname())
    own = [first, *(listen(address, reuseport=True) for _ in range(workers - 1))] if alone else [first] * workers
    run_pool([first], [partial(watch, listener, kind) for listener in own])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
