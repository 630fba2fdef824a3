"""The exec binding, worker's side: a program that a parent has started, and what the parent has left for it.

The channel is descriptor 3, the listeners follow, the rest is in the environment (BC-EXEC-01, BC-EXEC-02).
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Callable, Sequence

from backchannel import CONFIGURATION, ExecStart, SettingError, read_variables
from backchannel.exec_binding import CHANNEL_FD, PREFIX

from .context import WorkerInfo, enter, retires_after
from .errors import StartError
from .leaving import end_within
from .logs import FORMATS, configure
from .signals import leave_to_the_parent
from .standard import flush, say

__all__ = ["inherit", "main"]

Work = Callable[[str, ExecStart, socket.socket, Sequence[socket.socket], int], int]
"""``work(handler, start, channel, listeners, quota)`` works until told to end, and returns the exit status."""


def main(module: str, what: str, handler: str, work: Work, arguments: Sequence[str] | None = None) -> int:
    """Be a worker, as the program ``module``; return the exit status. ``what`` and ``handler`` say for people what kind
    of worker it is, and of what kind its handler.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=f"{what} that a parent starts by the exec binding. It is of no use without one.",
    )
    parser.add_argument("handler", metavar="MODULE:HANDLER", help=handler)
    parser.add_argument(
        "--quota", type=int, default=0, metavar="N", help="retire after N to 2N connections, by the slot (0: never)"
    )
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    parser.add_argument("--log-format", default="text", choices=FORMATS, help="json: one object a line")
    options = parser.parse_args(arguments)
    leave_to_the_parent()
    configure(options.log_level, options.log_format)
    inherited: list[socket.socket] = []
    try:
        start, channel, listeners = inherit()
        inherited += channel, *listeners
        enter(WorkerInfo(start.slot, start.capacity))
        status = work(options.handler, start, channel, listeners, retires_after(options.quota, start.slot))
        end_within(start.drain_deadline, status)  # exit functions, and threads that are not daemons
        return status
    except StartError as error:
        say(f"{module}: {error}")
        return CONFIGURATION
    finally:
        for sock in inherited:
            sock.close()
        flush(last=True)


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
