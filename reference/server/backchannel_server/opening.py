"""What a server opens before its first fork, in the only order that works.

Bind while there are privileges to bind with, make what has a path for the user that the pool will run as, drop the
privileges, and only then start workers (BC-FORK-10). What a supervisor passed is taken first: those listeners need no
binding at all. A successor binds nothing: everything was opened by its predecessor.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field

from .errors import starting
from .listeners import Listeners, OwnPath, name_of, passed
from .privileges import Identity
from .successor import Inheritance
from .systemd import Notifier

__all__ = ["DEFAULT_ADDRESS", "STATUS_MODE", "Opened", "open_all"]

DEFAULT_ADDRESS = "127.0.0.1:8000"

STATUS_MODE = 0o600
"""Permissions of the status socket: its owner's alone, whatever the umask."""


@dataclass
class Opened:
    """Listeners, status socket and supervisor of one server."""

    listeners: Listeners
    status: socket.socket | None
    notifier: Notifier
    baton: socket.socket | None = None
    """Of a successor: the listeners are another parent's until this ends."""
    workers: int = 0
    """Of a successor: how many workers its predecessor has."""
    paths: list[OwnPath] = field(default_factory=list)
    """Of a successor: what it will have to remove at its end, once it has taken over."""

    def take_over(self) -> None:
        """The baton has ended."""
        if self.baton is not None:
            self.baton.close()
            self.baton = None
        self.listeners.paths, self.paths = self.paths, []

    def hand_over(self) -> None:
        """What is in the file system is a successor's from now on, and so are the listeners."""
        self.listeners.paths.clear()
        self.listeners.own = False

    def close_listeners(self, *, shut_down: bool = True) -> None:
        """Close them. ``shut_down``: for every process that holds them, if they are this pool's."""
        if shut_down and self.baton is None:
            self.listeners.end()
        else:
            self.listeners.close()

    @property
    def names(self) -> list[str]:
        """Where it listens."""
        return [name_of(listener) for listener in self.listeners.sockets]

    def close(self) -> None:
        """Close it all, and remove what it left in the file system."""
        self.listeners.close()
        for other in (self.status, self.baton):
            if other is not None:
                other.close()
        self.listeners.remove_paths()


@starting()
def open_all(
    listen: Iterable[str | socket.socket] | str,
    *,
    status: str | None = None,
    socket_mode: int | None = None,
    status_mode: int = STATUS_MODE,
    user: str | None = None,
    group: str | None = None,
    ready_fd: int | None = None,
    environment: MutableMapping[str, str] = os.environ,
) -> Opened:
    """Open what the options name. ``listen`` may be empty where a supervisor passes listeners; where none does, it is
    :data:`DEFAULT_ADDRESS` then. ``socket_mode``: permissions of AF_UNIX listeners; ``status_mode``: of the status
    socket. ``user``, ``group``: what to become when all is bound.

    Raises :class:`~backchannel_server.errors.StartError`, with nothing left open or lying about.
    """
    identity = None if user is None else Identity.find(user, group)
    if identity is not None:
        identity.check()
    notifier = Notifier(environment, ready_fd)
    inheritance = Inheritance.take(environment)
    if inheritance is not None:
        if identity is not None:
            identity.assume()
        opened = Opened(inheritance.listeners, inheritance.status, notifier, inheritance.baton, inheritance.workers)
        opened.paths, opened.listeners.paths = opened.listeners.paths, []
        return opened
    inherited = passed(environment)
    opened = Opened(Listeners(inherited, identity=identity), None, notifier)
    try:
        wanted = [listen] if isinstance(listen, str) else list(listen)
        opened.listeners.own = not inherited and all(isinstance(address, str) for address in wanted)
        opened.listeners.open(wanted if wanted or inherited else [DEFAULT_ADDRESS], mode=socket_mode)
        if status is not None:
            opened.status = opened.listeners.open_path(status, f"--status {status}", mode=status_mode)
        if identity is not None:
            identity.assume()
    except BaseException:
        opened.close()
        raise
    return opened
