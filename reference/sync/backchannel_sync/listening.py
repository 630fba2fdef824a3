"""Listeners: from an address as people write it to a bound socket that does not block."""

from __future__ import annotations

import errno
import os
import socket

from .errors import StartError

__all__ = ["bind", "name_of"]

BACKLOG = 4096
"""Asked for; the system cuts it to what it allows (128 on some)."""


def bind(address: str) -> socket.socket:
    """A listening socket for ``HOST:PORT`` or ``[HOST]:PORT``; port 0 lets the system choose.

    Raises :class:`StartError`, which says what is wrong with the address or with binding it.
    """
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise StartError(2, f"--listen {address}: write HOST:PORT, with a port from 0 to 65535, as in 127.0.0.1:8000")
    host = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise StartError(2, f"--listen {address}: cannot resolve {host!r}: {error.strerror}") from None
    family, kind, protocol, _, where = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        # without this a restart has to wait for the old connections to time out, on some systems
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(os.EX_OSERR, f"--listen {address}: {_explain(error)}") from None
    listener.setblocking(False)
    return listener


def _explain(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the address is in use: stop what listens there, or choose another port"
        case errno.EACCES:
            return "permission denied: ports below 1024 need privileges; start as root or choose a higher port"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address: choose one it has, or 0.0.0.0 or [::] for all"
        case _:
            return error.strerror or str(error)


def name_of(listener: socket.socket) -> str:
    """The address of ``listener`` as :func:`bind` would take it; the path for an AF_UNIX one."""
    name = listener.getsockname()
    if isinstance(name, tuple):
        host = f"[{name[0]}]" if listener.family == socket.AF_INET6 else name[0]
        return f"{host}:{name[1]}"
    return os.fsdecode(name)
