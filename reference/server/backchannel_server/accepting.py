"""Carrying out an order: up to ``max`` attempts to accept, and what became of them (BC-WORK-02, -10, -11)."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Any, Final

from backchannel import Accept, Reason

__all__ = ["attempt", "reason_for"]

_REASONS: Final[dict[Reason, tuple[str, ...]]] = {
    Reason.EMPTY: ("EAGAIN", "EWOULDBLOCK"),
    Reason.PEER: (
        "ECONNABORTED",
        "ECONNRESET",
        "EPROTO",
        "EPERM",
        "ENETDOWN",
        "ENOPROTOOPT",
        "EHOSTDOWN",
        "ENONET",
        "EHOSTUNREACH",
        "ENETUNREACH",
        "ETIMEDOUT",
    ),
    Reason.WORKER: ("EMFILE",),
    Reason.SYSTEM: ("ENFILE", "ENOBUFS", "ENOMEM"),
}

_BY_ERRNO: Final = {
    getattr(errno, name): reason for reason, names in _REASONS.items() for name in names if hasattr(errno, name)
}


def reason_for(number: int | None) -> Reason:
    """The reason that an errno of ``accept`` becomes (BC-ERRNO-01, -06). EINTR never gets here: Python tries again."""
    return _BY_ERRNO.get(number or 0, Reason.UNUSABLE)


def attempt(listeners: Sequence[socket.socket], order: Accept) -> tuple[list[tuple[socket.socket, Any]], Reason]:
    """The connections taken for ``order``, each with its client's address, and the reason if they are fewer than
    ``order.max``. Once a client has reset its connection, the system no longer tells who it was.

    The listeners do not block (BC-FORK-01), so neither does this.
    """
    taken: list[tuple[socket.socket, Any]] = []
    failed = Reason.FILLED
    for _ in range(order.max):
        try:
            accepted = listeners[order.listener].accept()
        except OSError as error:
            failed = reason_for(error.errno)
            if failed is not Reason.PEER:
                break
        else:
            taken.append(accepted)
    return taken, Reason.FILLED if len(taken) == order.max else failed
