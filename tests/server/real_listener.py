"""A listener of this system, for tests whose other listeners stand in for those of another one."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator

from backchannel_server.listeners import bind

__all__ = ["listening"]


@contextlib.contextmanager
def listening() -> Iterator[tuple[socket.socket, Callable[[], socket.socket]]]:
    """A listener, and what connects to it."""
    with bind("127.0.0.1:0") as made, contextlib.ExitStack() as clients:

        def arrive() -> socket.socket:
            return clients.enter_context(socket.create_connection(made.getsockname()))

        yield made, arrive
