"""Standard output and error, for a process that must never wait for them nor fail because of them.

Whoever reads a log may stop, die, or have a full disk; none of it is a reason to serve nobody. So what is written here
is written only where it is taken at once, and is given up otherwise.

A pipe is shared by the parent, its workers and whoever else was started with it, and so is ``O_NONBLOCK``: setting it
would surprise the others. Instead the descriptor is asked before each piece, and a piece is no longer than a pipe
takes whole (``PIPE_BUF``). Between the question and the write another process may fill the pipe; that such a write
waits, until the reader goes on, is what remains.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import sys

__all__ = ["flush", "say", "takes", "write"]

ERROR = 2


def takes(number: int) -> bool:
    """Whether a write to descriptor ``number`` ends at once, well or not."""
    poll = select.poll()
    poll.register(number, select.POLLOUT)
    return bool(poll.poll(0))


def write(number: int, data: bytes) -> bool:
    """Write ``data`` to descriptor ``number``, as far as it takes it at once. ``False`` when something was left."""
    try:
        is_socket = stat.S_ISSOCK(os.fstat(number).st_mode)
        while data:
            if not takes(number):
                return False
            piece = data[: select.PIPE_BUF]
            data = data[_send(number, piece) if is_socket else os.write(number, piece) :]
    except OSError:
        return False
    return True


def _send(number: int, data: bytes) -> int:
    """A socket that has room for a part would make a write wait for the rest; this does not."""
    sock = socket.socket(fileno=number)
    try:
        return sock.send(data, socket.MSG_DONTWAIT)
    finally:
        sock.detach()


def say(text: str) -> bool:
    """Write a line to standard error; ``False`` if nobody took it."""
    return write(ERROR, f"{text.rstrip()}\n".encode(errors="backslashreplace"))


def flush(*, last: bool = False) -> None:
    """Write what Python has kept for standard output and error, if it is taken at once.

    ``last``: the process is about to exit. What is not taken then is thrown away: Python would wait for it, or make it
    the exit status.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if takes(stream.fileno()):
                stream.flush()
                continue
        except (OSError, ValueError, AttributeError):  # it fails, is closed, or is none
            pass
        if last:
            with contextlib.suppress(OSError, ValueError, AttributeError):
                _discard(stream.fileno())


def _discard(number: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)
