"""The worker of capacity 1: read an order, accept, serve, report, and read the next.

Nothing is polled. Between connections the worker sits in one blocking read of its channel, so nothing but an order or
the end of the channel ever wakes it. While the handler runs, the worker reads nothing: it has no room, so the parent
sends nothing (BC-ORDER-03), and it learns of a drain, or of its parent's death, when the handler has returned. A
handler that has to know sooner asks ``current_worker().draining``, which looks at the channel and takes nothing.

A handler that declares itself brief is served with before the answer, which tells of the connection and of its end in
one frame (BC-BUSY-05): one write less here, one read and one wake-up less in the parent.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Sequence
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any, Final

from backchannel import Violation, WorkerSide
from backchannel_server.accepting import attempt
from backchannel_server.clients import claim, close, stands_for, tell
from backchannel_server.context import is_brief, keep_from_children, leave_if_forked, tell_of_drain
from backchannel_server.worker_channel import read, write_outgoing

__all__ = ["BlockingHandler", "has_ended", "run", "serve_one"]

log = logging.getLogger("backchannel.worker")

BlockingHandler = Callable[[socket.socket], object]
"""Serves one connection; the worker closes it when this returns or raises."""

NO_ROOM_FOR: Final = 0.01
"""Seconds until another try, when the system has no room for a frame: on this channel it cannot be waited for."""

_UNRUN: Final = (AsyncGeneratorType, CoroutineType, GeneratorType)


def run(
    channel: socket.socket,
    listeners: Sequence[socket.socket],
    handler: BlockingHandler,
    *,
    quota: int = 0,
) -> int:
    """Work until the channel ends. Returns the exit status. ``quota``: retire after so many connections; 0: never."""
    side = WorkerSide(1, len(listeners))
    served = 0
    folds = is_brief(handler)
    tell_of_drain(lambda: side.draining or has_ended(channel))
    keep_from_children(channel, *listeners)
    channel.setblocking(True)
    side.hello()
    _flush(side, channel)
    while not side.draining:
        data = read(channel)
        if data is None:
            time.sleep(NO_ROOM_FOR)
            continue
        if not data:
            side.eof()
            break
        try:
            orders = side.receive(data)
        except Violation as violation:
            log.error("the parent broke the protocol (%s)", violation)
            break
        for order in orders:
            connections, reason = attempt(listeners, order)
            if folds:
                _serve_all(handler, connections)
                side.answer(order, len(connections), reason, ended=len(connections))
            else:
                side.answer(order, len(connections), reason)
                _flush(side, channel)
                _serve_all(handler, connections)
                side.ended(len(connections))
            served += len(connections)
            if quota and served >= quota:
                side.retire()
            _flush(side, channel)
    for listener in listeners:
        listener.close()
    return side.exit_status


def _serve_all(handler: BlockingHandler, connections: Sequence[tuple[socket.socket, Any]]) -> None:
    for connection, address in connections:
        serve_one(handler, connection, address)


def serve_one(handler: BlockingHandler, accepted: socket.socket, address: object) -> None:
    """Whatever the handler raises ends this connection and nothing else (BC-WORK-07): ``sys.exit()`` in a library is
    no reason to end a worker.
    """
    connection = claim(accepted)
    connection.setblocking(True)
    try:
        returned = handler(connection)
        if isinstance(returned, _UNRUN):
            # a decorator hides what kind of function is behind it; without a word, each connection would just end
            raise TypeError(f"the handler has returned {returned!r}, which nothing runs: it must be a plain function")
    except BaseException as error:
        tell(error, address, stands_for(connection))
    leave_if_forked()
    close(connection)


def has_ended(channel: socket.socket) -> bool:
    """Whether the parent has ended ``channel``, as far as can be seen without waiting or taking anything."""
    try:
        return not channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _flush(side: WorkerSide, channel: socket.socket) -> None:
    """The parent always reads, so this blocks for no longer than the parent is stopped."""
    while not write_outgoing(side, channel):
        time.sleep(NO_ROOM_FOR)
