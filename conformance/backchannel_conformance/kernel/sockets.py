"""What a socket of the suite's own tells of its other end: Linux says it of a descriptor, with no look at a process."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Final

NEEDS: Final = "no Linux"
_UNACKED: Final = 24
"""Where ``tcpi_unacked`` is in ``struct tcp_info``: of a listener, the connections that wait to be accepted."""


def can(_question: str) -> bool:
    return sys.platform == "linux"


def pending(listener: socket.socket) -> int:
    if sys.platform != "linux":
        raise NotImplementedError(NEEDS)
    told = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    found: int = struct.unpack_from("=I", told, _UNACKED)[0]
    return found
