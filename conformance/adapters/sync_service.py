"""The test service of the adapter contract, as handlers of the sync reference.

``blocking`` is for capacity 1, ``events`` for more. Both read one line, do what it says, and answer with a *who*.
"""

from __future__ import annotations

import os
import resource
import socket
import time

from backchannel_sync import Connection, Waiting, current_worker


class Raised(Exception):
    """What ``raise`` raises, and nothing catches."""


def _who(*more: int) -> bytes:
    figures = (os.getpid(), current_worker().slot, *more)
    return " ".join(map(str, figures)).encode() + b"\n"


def _act(line: bytes) -> bytes | None:
    """Carry out a command that ends with its answer; ``None`` for what has none."""
    match line.split():
        case [b"who"]:
            return _who()
        case [b"burn", milliseconds]:
            until = time.process_time() + int(milliseconds) / 1000
            while time.process_time() < until:
                pass
            return _who()
        case [b"usage"]:
            return _who(resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw)
        case [b"raise"]:
            raise Raised("asked to by the suite")
        case [b"exit", status]:
            os._exit(int(status))
        case _:
            return None


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
        connection.sendall(_act(line) or b"")
        return
    connection.sendall(_who() * (1 + rest.count(b"\n")))
    while data := connection.recv(4096):
        connection.sendall(_who() * data.count(b"\n"))


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
        yield from connection.sendall(_act(line) or b"")
        return
    yield from connection.sendall(_who() * (1 + rest.count(b"\n")))
    while data := (yield from connection.recv(4096)):
        yield from connection.sendall(_who() * data.count(b"\n"))
