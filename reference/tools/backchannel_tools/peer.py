"""Whose socket is this? What the system says of the process behind a connected AF_UNIX socket.

Linux and the BSDs keep the process that called ``listen``; macOS the one that used the socket last. A document can
name any process; this cannot be chosen by who answers.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from typing import Final

__all__ = ["pid_of"]

_WHERE: Final[dict[str, tuple[int, int, str, int]]] = {
    # level, option, what it answers, which figure of that is the process id
    "linux": (socket.SOL_SOCKET, getattr(socket, "SO_PEERCRED", 17), "iII", 0),  # pid, uid, gid
    "openbsd": (socket.SOL_SOCKET, 0x1022, "IIi", 2),  # SO_PEERCRED: uid, gid, pid
    "netbsd": (0, 3, "iII", 0),  # LOCAL_PEEREID: pid, euid, egid
    "freebsd": (0, 1, "IIh16I4xi4x", -1),  # LOCAL_PEERCRED: version, uid, number of groups, groups, pid
    "darwin": (0, 2, "i", 0),  # LOCAL_PEERPID
}


def pid_of(connected: socket.socket) -> int | None:
    """The process that listens at the other end, as this process would name it; ``None`` where the system cannot
    tell, or where it is in a process namespace that cannot be seen from here.
    """
    for system, (level, option, form, place) in _WHERE.items():
        if sys.platform.startswith(system):
            with contextlib.suppress(OSError, struct.error):
                pid = struct.unpack(form, connected.getsockopt(level, option, struct.calcsize(form)))[place]
                return pid if pid > 0 else None
    return None
