"""What a server opens before its first fork, in the only order that works.

Bind while there are privileges to bind with, hand over what was made to the user that the pool will run as, drop the
privileges, and only then start workers (BC-FORK-10). What a supervisor passed is taken first: those listeners need no
binding at all.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass

from .listening import Listeners, OwnPath, bind_unix, name_of, passed
from .notifying import Notifier
from .privileges import Identity

__all__ = ["DEFAULT_ADDRESS", "Opened", "open_all"]

DEFAULT_ADDRESS = "127.0.0.1:8000"


@dataclass
class Opened:
    """Listeners, status socket and supervisor of one server."""

    listeners: Listeners
    status: socket.socket | None
    notifier: Notifier

    @property
    def names(self) -> list[str]:
        """Where it listens."""
        return [name_of(listener) for listener in self.listeners.sockets]

    def close(self) -> None:
        """Close it all, and remove what it left in the file system."""
        self.listeners.close()
        if self.status is not None:
            self.status.close()
        self.listeners.remove_paths()


def open_all(
    listen: Iterable[str | socket.socket],
    *,
    status: str | None = None,
    socket_mode: int | None = None,
    identity: Identity | None = None,
    ready_fd: int | None = None,
    environment: MutableMapping[str, str] = os.environ,
) -> Opened:
    """Open what the options name. ``listen`` may be empty where a supervisor passes listeners; where none does, it is
    :data:`DEFAULT_ADDRESS` then. ``socket_mode``: permissions of AF_UNIX listeners.

    Raises :class:`~backchannel_sync.errors.StartError`, with nothing left open or lying about.
    """
    if identity is not None:
        identity.check()
    notifier = Notifier(environment, ready_fd)
    inherited = passed(environment)
    opened = Opened(Listeners(inherited), None, notifier)
    try:
        wanted = list(listen)
        opened.listeners.open(wanted if wanted or inherited else [DEFAULT_ADDRESS], mode=socket_mode)
        if status is not None:
            # under the usual umask only its owner may connect
            opened.status = bind_unix(status, f"--status {status}")
            opened.listeners.paths.append(OwnPath.of(status))
        if identity is not None:
            opened.listeners.give(identity.uid, identity.gid)
            identity.assume()
    except BaseException:
        opened.close()
        raise
    return opened
