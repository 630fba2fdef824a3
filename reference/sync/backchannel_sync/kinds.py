"""A worker that takes orders, of the kind that its handler asks for: event-based or blocking."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from backchannel_server.handlers import Handler, is_event_handler

from . import blocking, events

__all__ = ["run"]


def run(
    channel: socket.socket,
    listeners: Sequence[socket.socket],
    handler: Handler,
    *,
    capacity: int,
    drain_deadline: float,
    quota: int = 0,
    poller: str = "auto",
) -> int:
    """Work until told to end, or until ``quota`` connections were taken (0: no limit). Returns the exit status.

    ``drain_deadline`` (seconds) and ``poller`` are for event-based workers; a blocking one waits in a read.
    """
    if not is_event_handler(handler):
        return blocking.run(channel, listeners, handler, quota=quota)
    return events.run(
        channel,
        listeners,
        handler,
        capacity=capacity,
        drain_deadline=drain_deadline,
        quota=quota,
        poller=poller,
    )
