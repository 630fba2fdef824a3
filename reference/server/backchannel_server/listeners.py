"""Listeners: from an address as people write it to a bound socket that does not block.

An address is ``HOST:PORT``, ``[HOST]:PORT`` or ``unix:PATH``. A name stands for the first address it resolves to, so
one address makes one listener. Listeners may also be inherited by the LISTEN_FDS convention, as a socket-activating
supervisor passes them: those come first.

An AF_UNIX listener leaves a name in the file system, which is another thing than the socket: it outlives a server
that is killed. A name on which nobody answers any more is replaced, and a name is removed at the end only if it is
still the one that was made here.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass, field

from .errors import StartError
from .privileges import Identity

__all__ = ["Listeners", "bind", "bind_unix", "name_of", "passed"]

log = logging.getLogger("backchannel")

BACKLOG = 4096
"""Asked for; the system cuts it to what it allows (128 on some)."""

FIRST_PASSED = 3


@dataclass(frozen=True)
class OwnPath:
    """A name in the file system that was made here, known by its inode and, for those are used again, its time."""

    path: str
    device: int
    inode: int
    made: int

    @classmethod
    def of(cls, path: str) -> OwnPath:
        """The name as it is now."""
        found = os.lstat(path)
        return cls(os.path.abspath(path), found.st_dev, found.st_ino, found.st_mtime_ns)

    def remove(self) -> None:
        """Remove it, unless somebody else has replaced it; leave it where that is not permitted."""
        with contextlib.suppress(OSError):
            if OwnPath.of(self.path) == self:
                os.unlink(self.path)


@dataclass
class Listeners:
    """What a pool listens on, and what it has to remove at its end."""

    sockets: list[socket.socket] = field(default_factory=list)
    paths: list[OwnPath] = field(default_factory=list)
    own: bool = False
    """Whether nobody but this pool holds them: no supervisor passed them, and no caller."""
    identity: Identity | None = None
    """What the pool will become: the paths are made, and removed, for it."""

    def open(self, addresses: Iterable[str | socket.socket], *, mode: int | None = None) -> None:
        """Bind each address, or take over each socket. Raises :class:`StartError`, having closed and removed what was
        opened before.
        """
        try:
            for address in addresses:
                if isinstance(address, str) and address.startswith("unix:"):
                    path = address.removeprefix("unix:")
                    self.sockets.append(self.open_path(path, f"--listen {address}", mode=mode))
                    continue
                listener = bind(address) if isinstance(address, str) else address
                self.sockets.append(listener)
                listener.setblocking(False)
        except BaseException:
            self.close()
            self.remove_paths()
            raise

    def open_path(self, path: str, option: str, *, mode: int | None) -> socket.socket:
        """:func:`bind_unix` for the user that the pool will be, who owns the path then; it is removed at the end."""
        with _rights(path, self.identity) as own:
            listener = bind_unix(path, option, mode=mode)
            try:
                if self.identity is not None and not own and not os.geteuid():
                    # nobody but root can have changed what the path leads to
                    os.chown(path, self.identity.uid, self.identity.gid, follow_symlinks=False)
                self.paths.append(OwnPath.of(path))
            except OSError as error:
                listener.close()
                raise StartError(os.EX_OSERR, f"{option}: {error.strerror}, right after it was made") from None
        return listener

    def close(self) -> None:
        """Close the sockets."""
        for listener in self.sockets:
            listener.close()

    def end(self) -> None:
        """Close them for good: who comes from now on is refused, though a worker that is busy has not closed its own
        descriptor yet, and nobody would ever take what the system would let in. Not on every system can that be done,
        and not with what is not the pool's own.
        """
        for listener in self.sockets:
            if self.own:
                with contextlib.suppress(OSError):
                    listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def remove_paths(self) -> None:
        """Remove the names in the file system that are still ours."""
        for own in self.paths:
            with _rights(own.path, self.identity):
                own.remove()
        self.paths.clear()


@contextlib.contextmanager
def _rights(path: str, identity: Identity | None) -> Iterator[bool]:
    """While this lasts, root does at ``path`` what it may, or what ``identity`` may if that is who can replace the
    path: it could lead root to another file between two steps. Whether it is ``identity``'s rights.
    """
    own = identity is not None and not os.geteuid() and identity.may_replace(os.path.dirname(os.path.abspath(path)))
    with identity.acting() if identity is not None and own else contextlib.nullcontext():
        yield own


def bind(address: str, *, mode: int | None = None) -> socket.socket:
    """A listening socket for ``HOST:PORT``, ``[HOST]:PORT`` (port 0 lets the system choose) or ``unix:PATH``, whose
    permissions are ``mode`` then (default: what the umask leaves).

    Raises :class:`StartError`, which says what is wrong with the address or with binding it.
    """
    if address.startswith("unix:"):
        return bind_unix(address.removeprefix("unix:"), f"--listen {address}", mode=mode)
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        text = f"--listen {address}: write HOST:PORT, with a port from 0 to 65535, as in 127.0.0.1:8000, or unix:PATH"
        raise StartError(2, text)
    host = host.removeprefix("[").removesuffix("]")
    try:
        found = socket.getaddrinfo(host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        why = getattr(error, "strerror", "a part of a name has from 1 to 63 characters")
        raise StartError(2, f"--listen {address}: cannot resolve {host!r}: {why}") from None
    family, kind, protocol, _, where = found[0]
    try:
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(os.EX_OSERR, f"--listen {address}: {_explain(error)}") from None
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


def bind_unix(path: str, option: str, *, mode: int | None = None) -> socket.socket:
    """A listening AF_UNIX socket at ``path``; ``option`` is what the user wrote, for the message of a
    :class:`StartError`.

    Nobody who may not may connect, not even for a moment: ``mode`` is there from the start. (Some systems do not look
    at a socket's permissions at all; there the directory's count.)
    """
    if not path:
        raise StartError(2, f"{option}: there is no path; write it as in unix:/run/app.sock")
    _clear_stale(path, option)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = None if mode is None else os.umask(~mode & 0o777)
    try:
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno is None:  # Python itself has measured it
            raise StartError(2, f"{option}: the path is too long for a socket (about 100 octets)") from None
        text = f"{error.strerror}; give a path in a directory that exists and that you may write to"
        raise StartError(os.EX_OSERR, f"{option}: {text}") from None
    finally:
        if mask is not None:
            os.umask(mask)
    listener.setblocking(False)
    return listener


def _clear_stale(path: str, option: str) -> None:
    """Remove a name that a dead server left at ``path``.

    Dead is who refuses a connection. On the BSDs a server whose backlog is full refuses as well.
    """
    try:
        found = os.lstat(path)
    except OSError:
        return  # nothing is there, or bind will say what is wrong
    if not stat.S_ISSOCK(found.st_mode):
        raise StartError(
            os.EX_OSERR, f"{option}: a file that is not a socket is there; remove it, or give another path"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            with contextlib.suppress(OSError):
                os.unlink(path)
            return
        except OSError:
            pass
    raise StartError(os.EX_OSERR, f"{option}: the path is in use; stop what listens there, or give another path")


def passed(environment: MutableMapping[str, str]) -> list[socket.socket]:
    """The listeners that a supervisor passed by the LISTEN_FDS convention; none when it passed none to this process.
    If it passed them to another, that is logged: whoever connects to them would wait for nobody.

    Takes the variables out of ``environment``: they are for this process, not for those it starts. Raises
    :class:`StartError` for a descriptor that is not a listening stream socket.
    """
    pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()):
        if count not in ("", "0"):
            _not_taken(pid, count)
        return []
    if not count.isdecimal():
        raise StartError(
            2, f"LISTEN_FDS={count}: that is not a number of sockets; have the supervisor set it, or take it out"
        )
    found: list[socket.socket] = []
    for number in range(FIRST_PASSED, FIRST_PASSED + int(count)):
        try:
            found.append(adopt(number))
        except OSError as error:
            text = f"LISTEN_FDS={count}: descriptor {number} is not a listening stream socket ({error.strerror})"
            raise StartError(2, f"{text}; fix the socket unit (Accept=no, ListenStream=)") from None
    return found


def _not_taken(pid: str, count: str) -> None:
    """Say that sockets were passed, and to somebody else: a wrapper that runs the server as its child, as a rule."""
    whose = f"LISTEN_PID={pid}" if pid else "LISTEN_PID is not set"
    log.warning(
        "LISTEN_FDS=%s and %s, but this is process %d: the sockets that were passed are not taken; "
        "start the server without a wrapper, or let the wrapper become it (in a shell script: exec python -m ...)",
        count,
        whose,
        os.getpid(),
        extra={"event": "sockets not taken", "listen_pid": pid, "listen_fds": count},
    )


def adopt(number: int) -> socket.socket:
    """The listening stream socket that is open at descriptor ``number``; it does not block, and is closed on exec.

    Raises ``OSError`` if it is none.
    """
    os.set_inheritable(number, False)
    listener = socket.socket(fileno=number)
    try:
        if listener.type != socket.SOCK_STREAM:
            raise OSError(errno.EPROTOTYPE, "it is of another type")
        if not _listens(listener):
            raise OSError(errno.EINVAL, "it does not listen")
        listener.setblocking(False)
    except BaseException:
        listener.detach()
        raise
    return listener


def _listens(listener: socket.socket) -> bool:
    try:
        return bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return True  # this system does not tell


def _explain(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "the address is in use: stop what listens there, or choose another port"
        case errno.EACCES:
            return "permission denied: ports below 1024 need privileges; start as root or choose a higher port"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address: choose one it has, or 0.0.0.0 or [::] for all"
        case errno.EAFNOSUPPORT:
            return "this machine has no addresses of this family: choose an IPv4 address"
        case _:
            return error.strerror or str(error)


def name_of(listener: socket.socket) -> str:
    """The address of ``listener`` as :func:`bind` would take it."""
    name = listener.getsockname()
    if isinstance(name, tuple):
        host = f"[{name[0]}]" if listener.family == socket.AF_INET6 else name[0]
        return f"{host}:{name[1]}"
    return f"unix:{os.fsdecode(name)}"
