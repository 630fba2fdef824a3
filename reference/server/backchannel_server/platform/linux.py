"""Linux: epoll, and how long a listener's queue is.

A listening TCP socket answers ``TCP_INFO`` with its queue's length in ``tcpi_unacked``: 0.8 µs. An AF_UNIX one has no
such option, but netlink's ``sock_diag`` tells (``UNIX_DIAG_RQLEN``): 8 µs, on a netlink socket that is opened once. A
sandbox may refuse netlink; then there is no count.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import sys
from typing import TYPE_CHECKING, Final

assert not TYPE_CHECKING or sys.platform == "linux"

__all__ = ["Poller", "count", "forget"]


class Poller:
    """An edge-triggered epoll set."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.fileno = self._epoll.fileno
        self.close = self._epoll.close
        self.forget = self._epoll.close
        """The set itself lives on in the parent: closing a descriptor of it changes nothing there."""

    @property
    def closed(self) -> bool:
        """See :class:`~.watching.EdgePoller`."""
        return self._epoll.closed

    def add(self, fd: int) -> None:
        """Watch ``fd``."""
        self._epoll.register(fd, select.EPOLLIN | select.EPOLLET)

    def events(self, timeout: float = 0) -> list[int]:
        """See :class:`~.watching.EdgePoller`."""
        return [fd for fd, _ in self._epoll.poll(timeout)]


# struct tcp_info: eight octets, then 32-bit words; tcpi_unacked is the fifth of these
_UNACKED: Final = struct.Struct("=I")
_UNACKED_AT: Final = 24


def count(listener: socket.socket) -> int | None:
    """How many connections wait on ``listener``; ``None`` where the system does not say."""
    if listener.family == socket.AF_UNIX:
        return _diag.count(listener)
    try:
        info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _UNACKED_AT + 4)
    except OSError:  # a listener of another protocol: inherited, perhaps
        return None
    waiting: int = _UNACKED.unpack_from(info, _UNACKED_AT)[0]
    return waiting


def forget() -> None:
    """In a new worker: close what counting opened in the parent."""
    _diag.close()


class _UnixDiag:
    """Asks netlink about one AF_UNIX socket, by its inode (``linux/unix_diag.h``)."""

    NETLINK_SOCK_DIAG = 4
    REQUEST = struct.Struct("=IHHII BBHIIIII")  # nlmsghdr, unix_diag_req
    SOCK_DIAG_BY_FAMILY = 20
    NLM_F_REQUEST = 1
    ANY_STATE = 0xFFFF_FFFF
    SHOW_RQLEN = 0x10
    NO_COOKIE = 0xFFFF_FFFF
    ATTRIBUTES_AT = 32  # after nlmsghdr and unix_diag_msg
    ATTRIBUTE = struct.Struct("=HH")
    RQLEN = 4

    def __init__(self) -> None:
        self._netlink: socket.socket | None = None
        self._refused = False

    def count(self, listener: socket.socket) -> int | None:
        if self._refused:
            return None
        try:
            if self._netlink is None:
                self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, self.NETLINK_SOCK_DIAG)
            inode = os.fstat(listener.fileno()).st_ino
            request = self.REQUEST.pack(
                self.REQUEST.size, self.SOCK_DIAG_BY_FAMILY, self.NLM_F_REQUEST, 0, 0,
                socket.AF_UNIX, 0, 0, self.ANY_STATE, inode, self.SHOW_RQLEN, self.NO_COOKIE, self.NO_COOKIE,
            )  # fmt: skip
            # the kernel answers before send returns, so nothing here waits
            self._netlink.sendto(request, (0, 0))
            answer = self._netlink.recv(8192, socket.MSG_DONTWAIT)
        except OSError:
            self._refused = True
            self.close()
            return None
        return self._length(answer)

    def _length(self, answer: bytes) -> int | None:
        length, kind = struct.unpack_from("=IH", answer)
        at = self.ATTRIBUTES_AT
        while kind == self.SOCK_DIAG_BY_FAMILY and at + 8 <= length:
            size, name = self.ATTRIBUTE.unpack_from(answer, at)
            if name == self.RQLEN:
                waiting: int = _UNACKED.unpack_from(answer, at + 4)[0]
                return waiting
            at += max(4, (size + 3) & ~3)
        return None

    def close(self) -> None:
        if self._netlink is not None:
            with contextlib.suppress(OSError):
                self._netlink.close()
            self._netlink = None


_diag = _UnixDiag()
