"""The exec binding, parent's side: start a worker that is a program of its own (BC-EXEC-01, -02, -04, -16).

``posix_spawn`` does the work: no code of the parent runs in the new process, so there is nothing to undo, and it may be
called where forking Python is forbidden (inside a running event loop, say). Everything that Python opens is closed on
exec; what the parent itself was started with, and would pass on by accident, is closed by name.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable, Sequence

from backchannel import ExecStart, Settings
from backchannel.exec_binding import CHANNEL_FD, PREFIX, variables

from .errors import StartError
from .place import Place

__all__ = ["Launcher", "starter"]


class Launcher:
    """Starts workers by ``command``, a program and its arguments.

    Make it before the pool opens anything. ``place``: where it starts them; without one, where this process is then.
    Raises :class:`StartError` when there is no such program.
    """

    def __init__(self, command: Sequence[str], place: Place | None = None) -> None:
        if not command:
            raise StartError(2, "--worker is empty: give a program and its arguments")
        import shutil  # not a module, with all its compressors, that a parent needs whose workers are forked

        if shutil.which(command[0]) is None:
            raise StartError(2, f"--worker: there is no program {command[0]!r}; give its path, or fix PATH")
        self._place = place
        self._command = list(command)
        self._passed_on = [fd for fd in _open_descriptors() if fd > 2 and os.get_inheritable(fd)]

    def start(self, start: ExecStart, channel: socket.socket, listeners: Sequence[socket.socket]) -> int:
        """Start a worker that holds ``channel`` and ``listeners``; return its process id. Raises ``OSError``.

        ``start.listeners`` is how many there are.
        """
        program = self._command[0]
        if self._place is not None:
            self._place.enter()
            program = self._place.renewed(program)
        first_free = CHANNEL_FD + 1 + len(listeners)
        copies: list[int] = []
        try:
            for sock in (channel, *listeners):
                # out of the way of the numbers they are going to get
                copies.append(fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, first_free))
            actions: list[tuple[int, int, int] | tuple[int, int]] = [
                (os.POSIX_SPAWN_DUP2, copy, CHANNEL_FD + at) for at, copy in enumerate(copies)
            ]
            actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in self._passed_on if fd >= first_free]
            inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
            return os.posix_spawnp(
                program,
                [program, *self._command[1:]],
                {**inherited, **variables(start)},
                file_actions=actions,
                setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
                setsigmask=(),
            )
        finally:
            for copy in copies:
                os.close(copy)


def starter(
    launcher: Launcher, settings: Settings, listeners: Sequence[socket.socket]
) -> Callable[[int, socket.socket, socket.socket], int]:
    """What a :class:`~backchannel_server.driver.Driver` starts workers with that are programs."""

    def start(slot: int, _ours: socket.socket, theirs: socket.socket) -> int:
        what = ExecStart(slot, settings.capacity, len(listeners), settings.drain_deadline)
        return launcher.start(what, theirs, listeners)

    return start


def _open_descriptors() -> list[int]:
    """The descriptors that are open now."""
    numbers: Iterable[int] = range(os.sysconf("SC_OPEN_MAX"))
    if sys.platform in ("linux", "darwin"):  # elsewhere /dev/fd may show the standard ones only
        with contextlib.suppress(OSError):  # it is not there, in a bare chroot
            numbers = [int(name) for name in os.listdir("/dev/fd")]
    return [fd for fd in numbers if _is_open(fd)]


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
