"""The exec binding, worker's side: what the parent has left for a program that it has started (BC-EXEC-01, -02)."""

from __future__ import annotations

import os
import socket

from backchannel import CONFIGURATION, ExecStart, SettingError, read_variables
from backchannel.exec_binding import CHANNEL_FD, PREFIX

from .errors import StartError

__all__ = ["inherit"]


def inherit() -> tuple[ExecStart, socket.socket, list[socket.socket]]:
    """What the parent has left for this process: settings, channel, listeners.

    Takes the variables out of the environment and keeps the descriptors from what this process starts itself
    (BC-EXEC-05). Raises :class:`StartError` with status 78 if anything is missing or senseless (BC-EXEC-03, -13).
    """
    found: list[socket.socket] = []
    try:
        start = read_variables(os.environ)
        found.append(_socket(CHANNEL_FD, "the channel"))
        for at in range(start.listeners):
            found.append(_socket(CHANNEL_FD + 1 + at, f"listener {at}"))
    except SettingError as error:
        for sock in found:
            sock.close()
        raise StartError(CONFIGURATION, str(error)) from None
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        del os.environ[name]
    return start, found[0], found[1:]


def _socket(fd: int, what: str) -> socket.socket:
    try:
        found = socket.socket(fileno=fd)
    except OSError as error:
        raise SettingError(f"descriptor {fd} is to be {what}: {error.strerror}") from None
    found.set_inheritable(False)
    return found
