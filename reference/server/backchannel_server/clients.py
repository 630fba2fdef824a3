"""A client's connection: whose doing an error on it was, and its end.

Clients reset, vanish, fall silent and speak nonsense: that is no fault of the handler's, and one line at ``info`` says
it. A handler's fault is a traceback at ``error``. What tells them apart is where the error was raised, not its type
alone: it must be of a kind that the other side brings about, *and* come out of a call on the client's own connection.
A ``ConnectionResetError`` of a handler's database is a fault, though the client may have gone in the meantime.

A traceback shows such a call by a frame whose ``self`` is the connection. A method of a plain socket is C and leaves no
frame, so workers hand out a :class:`ClientSocket`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Final
from weakref import WeakKeyDictionary

from .context import leave_if_forked, slot_for_log

__all__ = ["ClientSocket", "claim", "close", "is_clients_doing", "name_of", "stands_for", "tell"]

log = logging.getLogger("backchannel.worker")

_ERRNOS: Final = frozenset(
    getattr(errno, name)
    for name in ("EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETUNREACH", "ENONET", "ENOTCONN", "EPROTO")
    if hasattr(errno, name)
)
"""What the network or the peer does to a connection, besides what ConnectionError and TimeoutError stand for."""

_TLS: WeakKeyDictionary[ClientSocket, socket.socket] = WeakKeyDictionary()
"""What :func:`ssl.SSLContext.wrap_socket` has made of a connection: it takes the descriptor over."""


class ClientSocket(socket.socket):
    """An accepted connection: a :class:`socket.socket` whose calls can be seen in a traceback."""

    __slots__ = ()

    def recv(self, *arguments: Any) -> bytes:
        """As of :class:`socket.socket`."""
        return super().recv(*arguments)

    def recv_into(self, *arguments: Any, **more: Any) -> int:
        """As of :class:`socket.socket`."""
        return super().recv_into(*arguments, **more)

    def recvfrom(self, *arguments: Any) -> tuple[bytes, Any]:
        """As of :class:`socket.socket`."""
        return super().recvfrom(*arguments)

    def recvfrom_into(self, *arguments: Any, **more: Any) -> tuple[int, Any]:
        """As of :class:`socket.socket`."""
        return super().recvfrom_into(*arguments, **more)

    def recvmsg(self, *arguments: Any) -> Any:
        """As of :class:`socket.socket`."""
        return super().recvmsg(*arguments)

    def recvmsg_into(self, *arguments: Any) -> Any:
        """As of :class:`socket.socket`."""
        return super().recvmsg_into(*arguments)

    def send(self, *arguments: Any) -> int:
        """As of :class:`socket.socket`."""
        return super().send(*arguments)

    def sendmsg(self, *arguments: Any) -> int:
        """As of :class:`socket.socket`."""
        return super().sendmsg(*arguments)

    def sendall(self, *arguments: Any) -> None:
        """As of :class:`socket.socket`."""
        super().sendall(*arguments)

    def shutdown(self, how: int) -> None:
        """As of :class:`socket.socket`."""
        super().shutdown(how)

    def getpeername(self) -> Any:
        """As of :class:`socket.socket`."""
        return super().getpeername()

    def detach(self) -> int:
        """As of :class:`socket.socket`. Who calls it has the connection from then on, and has to end it: the worker
        does not, unless it was TLS that took it.
        """
        caller = sys._getframe(1)
        if caller.f_globals.get("__name__") == "ssl" and "self" in caller.f_locals:
            _TLS[self] = caller.f_locals["self"]
        return super().detach()

    def __reduce__(self) -> tuple[Callable[..., socket.socket], tuple[Any, ...]]:
        """To a process of :mod:`multiprocessing`, as a plain socket goes."""
        from multiprocessing.reduction import DupFd  # not a module that every worker needs

        return _rebuilt, (self.family, self.type, self.proto, DupFd(self.fileno()))


def _rebuilt(family: int, kind: int, proto: int, copy: Any) -> socket.socket:
    return socket.socket(family, kind, proto, fileno=copy.detach())


def claim(connection: socket.socket) -> socket.socket:
    """``connection``, which was just accepted, as a :class:`ClientSocket`: the same object, at no system call.

    What a listener of a class of its own has accepted, as one with TLS, stays what it is.
    """
    if type(connection) is socket.socket:
        connection.__class__ = ClientSocket
    return connection


def stands_for(*parties: object) -> Callable[[object], bool]:
    """For :func:`tell`: is it one of ``parties``, or the TLS around one?"""
    tls = [_TLS[party] for party in parties if isinstance(party, ClientSocket) and party in _TLS]
    return lambda thing: any(thing is party for party in (*parties, *tls))


def close(connection: Any) -> None:
    """End a connection whose handler has returned, whoever else holds it.

    A process that the handler forked, a ``dup`` or a ``makefile`` that something still refers to would keep it open
    for the client: so it is shut down first. One that the handler has closed or detached itself is left alone.
    ``connection`` is a socket of the standard library's or of trio's.
    """
    tls = _TLS.pop(connection, None) if isinstance(connection, ClientSocket) else None
    for held in (connection, tls):
        if held is not None and held.fileno() >= 0:
            with contextlib.suppress(OSError):  # the client was faster
                held.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):  # the handler has closed its descriptor, past it
                held.close()


def tell(error: BaseException, address: object, is_connection: Callable[[object], bool]) -> None:
    """Log what ended a handler, as one entry. In a process that the handler has forked, leave: it is not a worker.

    ``address`` is the client's, as ``accept`` gave it; ``is_connection`` tells the objects that stand for its
    connection from all others.
    """
    leave_if_forked(error)
    log.disabled = False  # by logging's configuration, as a rule: it disables all that it does not name
    who, slot = name_of(address), slot_for_log()
    extra = {"slot": slot, "client": who}
    try:
        if is_clients_doing(error, is_connection):
            text = "slot %s: client %s has gone, or failed (%s)"
            log.info(text, slot, who, _kind(error), extra={"event": "client gone", **extra})
        else:
            text = "slot %s: a handler failed; the connection of client %s is closed, the worker goes on"
            log.error(text, slot, who, exc_info=error, extra={"event": "handler failed", **extra})
    except BaseException:
        # an exception that cannot even be shown, or no memory to show it: the other connections go on all the same
        with contextlib.suppress(BaseException):
            log.error("slot %s: a handler failed, by a %s that cannot be shown", slot, _kind(error), extra=extra)


def is_clients_doing(error: BaseException, is_connection: Callable[[object], bool]) -> bool:
    """Whether ``error``, or what it was raised from, is what a client does to its connection.

    Of a group, all must be.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(is_clients_doing(one, is_connection) for one in error.exceptions)
    late = isinstance(error, TimeoutError)
    for link in _chain(error):
        # a time limit around a call ends it by a cancellation, which is no Exception
        if (_is_an_end(link) or (late and not isinstance(link, Exception))) and any(
            is_connection(owner) for owner in _owners(link.__traceback__)
        ):
            return True
    return False


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__


def _owners(traceback: TracebackType | None) -> Iterator[object]:
    while traceback is not None:
        yield traceback.tb_frame.f_locals.get("self")
        traceback = traceback.tb_next


def _is_an_end(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError | EOFError):
        return True
    ssl = sys.modules.get("ssl")
    if ssl is not None and isinstance(error, ssl.SSLError):
        return not isinstance(error, ssl.SSLWantReadError | ssl.SSLWantWriteError)
    return isinstance(error, OSError) and error.errno in _ERRNOS


def _kind(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return type(error).__name__


def name_of(address: object) -> str:
    """A client for people: ``192.0.2.1:50000``, ``[2001:db8::1]:50000``, or ``local`` on an AF_UNIX listener."""
    match address:
        case (str(host), int(port), *_):
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        case _:
            return os.fsdecode(address) if isinstance(address, str | bytes) and address else "local"
