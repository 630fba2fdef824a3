"""The test service of the adapter contract, as handlers of the sync reference.

``blocking`` is for capacity 1, ``events`` for more. Both read one line, do what it says, and answer with a *who*.
"""

from __future__ import annotations

import socket

from backchannel_sync import Connection, Waiting
from commands import act, holding


def blocking(connection: socket.socket) -> None:
    """Capacity 1."""
    buffer = b""
    while b"\n" not in buffer:
        data = connection.recv(4096)
        if not data:
            return
        buffer += data
    line, _, rest = buffer.partition(b"\n")
    if line != b"hold":
        connection.sendall(act(line) or b"")
        return
    connection.sendall(holding() * (1 + rest.count(b"\n")))
    while data := connection.recv(4096):
        connection.sendall(holding() * data.count(b"\n"))


def events(connection: Connection) -> Waiting:
    """Capacity above 1."""
    buffer = b""
    while b"\n" not in buffer:
        data = yield from connection.recv(4096)
        if not data:
            return
        buffer += data
    line, _, rest = buffer.partition(b"\n")
    if line != b"hold":
        yield from connection.sendall(act(line) or b"")
        return
    yield from connection.sendall(holding() * (1 + rest.count(b"\n")))
    while data := (yield from connection.recv(4096)):
        yield from connection.sendall(holding() * data.count(b"\n"))
