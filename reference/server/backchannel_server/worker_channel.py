"""A worker's end of the channel: one reading, and writing what the worker has to say, in every kind of worker alike.

No errno of the channel ends a worker, which holds connections. The system may have no room for a moment; whatever else
it says of a channel means that no process is at its other end (BC-CHAN-06).
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from backchannel import WorkerSide

__all__ = ["NO_ROOM", "read", "write_outgoing"]

NO_ROOM: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM})
"""What a channel that takes nothing, or gives nothing, now answers."""


def read(channel: socket.socket) -> bytes | None:
    """What has come; nothing at the end; ``None`` if there is nothing to be had now. Of a baton likewise."""
    try:
        return channel.recv(4096)
    except OSError as error:
        return None if error.errno in NO_ROOM else b""


def write_outgoing(side: WorkerSide, channel: socket.socket) -> bool:
    """Write what ``side`` has to say; ``False`` if the channel does not take it all now. What it does not take is made
    up anew when it does, so the parent is never told old figures (BC-CHAN-08).
    """
    while data := side.outgoing():
        try:
            sent = channel.send(data)
        except OSError as error:
            if error.errno in NO_ROOM:
                return False
            side.parent_gone()
            return True
        side.sent(sent)
        if sent == len(data):
            return True
    return True
