"""The exec binding as the suite carries it out: the channel at descriptor 3, the listeners after it, and no more."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["start", "variables"]


def variables(slot: int, capacity: int, listeners: int, drain_deadline: float) -> dict[str, str]:
    """What a worker finds in its environment (BC-EXEC-02)."""
    return {
        "BACKCHANNEL_SLOT": str(slot),
        "BACKCHANNEL_CAPACITY": str(capacity),
        "BACKCHANNEL_LISTENERS": str(listeners),
        "BACKCHANNEL_DRAIN_DEADLINE": f"{drain_deadline:.6f}".rstrip("0").rstrip("."),
        "BACKCHANNEL_VERSIONS": "1.0",
    }


def start(command: Sequence[str], sockets: Sequence[socket.socket], environment: Mapping[str, str], log: Path) -> int:
    """Start ``command`` with ``sockets`` from descriptor 3 on, leader of a process group; return its process id."""
    above = 3 + len(sockets)
    copies: list[int] = []
    try:
        for sock in sockets:
            copies.append(fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, above))
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        actions += [(os.POSIX_SPAWN_DUP2, copy, 3 + at) for at, copy in enumerate(copies)]
        # what the suite itself has inherited
        actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in _passed_on() if fd >= above]
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("BACKCHANNEL_")}
        return os.posix_spawnp(
            command[0],
            list(command),
            {**inherited, **environment},
            file_actions=actions,
            setpgroup=0,
            setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
            setsigmask=(),
        )
    finally:
        for copy in copies:
            os.close(copy)


def _passed_on() -> list[int]:
    found = []
    for fd in range(3, 256):
        try:
            if os.get_inheritable(fd):
                found.append(fd)
        except OSError:
            continue
    return found
