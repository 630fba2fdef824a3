"""The TCP sockets of this system: from netlink's ``sock_diag``, or from ``/proc/net/tcp`` where a sandbox refuses it.

After some loads a hundred thousand sockets are in TIME_WAIT, which nobody holds. Netlink leaves them out in the kernel.
The file has a line for each, and takes a third of a second to read.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["LISTEN", "OPEN", "Row", "rows"]

ESTABLISHED: Final = 1
TIME_WAIT: Final = 6
CLOSE_WAIT: Final = 8
LISTEN: Final = 10
OPEN: Final = (ESTABLISHED, CLOSE_WAIT)
"""Established, or the client has closed."""

NETLINK_SOCK_DIAG: Final = 4
REQUEST: Final = struct.Struct("=IHHII BBBxI 48x")  # nlmsghdr, inet_diag_req_v2 for any address
SOCK_DIAG_BY_FAMILY: Final = 20
NLM_F_REQUEST_DUMP: Final = 0x301
HEADER: Final = struct.Struct("=IHHII")
NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
PORTS: Final = struct.Struct("!HH")
STATE_AT, PORTS_AT, INODE_AT = 16 + 1, 16 + 4, 16 + 68  # after nlmsghdr, in inet_diag_msg


class Row(NamedTuple):
    """One socket that is not in TIME_WAIT."""

    state: int
    port: int
    """Of this end."""
    peer: int
    """The other end's port."""
    inode: int
    """0 when no process holds it."""


def rows(proc: Path) -> list[Row]:
    """All of them. ``proc`` is where the ``/proc`` of this system is."""
    try:
        return [*_asked(socket.AF_INET), *_asked(socket.AF_INET6)]
    except OSError:  # no netlink here, or no inet_diag in this kernel
        return list(_read(proc))


def _asked(family: int) -> Iterator[Row]:
    if sys.platform != "linux":  # an emulation of Linux may have the files
        raise OSError(errno.EAFNOSUPPORT, "no netlink")
    wanted = 0xFFFF_FFFF & ~(1 << TIME_WAIT)
    request = REQUEST.pack(
        REQUEST.size, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, 0, 0, family, socket.IPPROTO_TCP, 0, wanted
    )
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_SOCK_DIAG) as netlink:
        netlink.sendto(request, (0, 0))
        while True:
            answer = netlink.recv(1 << 20, socket.MSG_DONTWAIT)  # the kernel answers before send or recv returns
            at = 0
            while at < len(answer):
                length, kind, *_ = HEADER.unpack_from(answer, at)
                if kind == NLMSG_DONE:
                    return
                if kind == NLMSG_ERROR:
                    number = -struct.unpack_from("=i", answer, at + HEADER.size)[0]
                    raise OSError(number, os.strerror(number))
                port, peer = PORTS.unpack_from(answer, at + PORTS_AT)
                yield Row(answer[at + STATE_AT], port, peer, struct.unpack_from("=I", answer, at + INODE_AT)[0])
                at += (length + 3) & ~3


def _read(proc: Path) -> Iterator[Row]:
    """From the files. Another process reads them: here each of thousands of reads would have to win the interpreter
    back from the threads of a load, which takes seconds, and clients of a worker that is stopped meanwhile give up.
    """
    paths = [path for name in ("tcp", "tcp6") if (path := proc / "net" / name).exists()]
    with tempfile.TemporaryFile("w+") as copy:
        subprocess.run(["cat", *paths], stdout=copy, check=True)
        copy.seek(0)
        for line in copy.read().splitlines():
            words = line.split()
            if words[0] != "sl" and words[3] != "06":
                yield Row(int(words[3], 16), _port(words[1]), _port(words[2]), int(words[9]))


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)
