"""What every server serves with: one line in, one line out, then the server closes.

The line says what the service costs: ``n`` nothing, ``b MICROSECONDS`` so much processor time, ``s SECONDS`` a worker
that is stuck (it holds its thread and does nothing), ``t`` a walk over 20 MB of the process's own, ``h`` a connection
that stays. The answer is the worker's process id, by which the load tells who served.

The same lines in the three forms that a worker can have, so that a comparison compares placement and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from backchannel_sync import brief

if TYPE_CHECKING:
    import socket

    import trio
    from backchannel_sync import Connection, Waiting

__all__ = ["blocking", "brief_blocking", "brief_events", "events", "on_trio"]

TOUCHED = 20_000_000
PAGE = 4096

_answers: dict[int, bytes] = {}
_memory = bytearray()


def act(line: bytes) -> bytes:
    """Do what ``line`` says; return the answer."""
    command = line[:1]
    if command == b"b":
        until = time.thread_time_ns() + int(line[2:]) * 1000
        while time.thread_time_ns() < until:
            pass
    elif command == b"s":
        time.sleep(float(line[2:]))
    elif command == b"t":
        touch()
    pid = os.getpid()
    if pid not in _answers:
        _answers[pid] = b"%d\n" % pid
    return _answers[pid]


def touch() -> None:
    """Write to each page of this process's own 20 MB."""
    if not _memory:
        _memory.extend(bytes(TOUCHED))
    pages = len(range(0, TOUCHED, PAGE))
    _memory[::PAGE] = bytes(pages)


def blocking(connection: socket.socket) -> None:
    """For a worker that serves one connection at a time."""
    line = connection.recv(256)
    if line:
        connection.sendall(act(line))
        if line[:1] == b"h":
            with contextlib.suppress(ConnectionResetError):
                connection.recv(1)


def events(connection: Connection) -> Waiting:
    """For an event-based worker."""
    line = yield from connection.recv(256)
    if line:
        yield from connection.sendall(act(line))
        if line[:1] == b"h":
            with contextlib.suppress(ConnectionResetError):
                yield from connection.recv(1)


@brief
def brief_blocking(connection: socket.socket) -> None:
    """The same, and its worker tells of a connection and its end at once."""
    blocking(connection)


@brief
def brief_events(connection: Connection) -> Waiting:
    """The same for an event-based worker."""
    return (yield from events(connection))


async def on_trio(stream: trio.SocketStream) -> None:
    """For a trio worker."""
    line = await stream.receive_some(256)
    if line:
        await stream.send_all(act(line))
        if line[:1] == b"h":
            await stream.receive_some(1)
