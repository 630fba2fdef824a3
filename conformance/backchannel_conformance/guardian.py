"""What a run leaves behind when it is killed, and who ends it.

Ports have sessions of their own, so no signal to the suite reaches them, and a port that forks off a daemon lets go of
even that. So each process of a run carries the run's mark in its environment, and a *guardian* waits for the end of the
suite, however it comes, and kills whoever still carries the mark. It knows of the end by its standard input: that is a
pipe, and nobody but the suite holds the other end.

Only Linux shows the environment of a process (``/proc/PID/environ``). Elsewhere there is no guardian. What a killed run
has left is ended by hand there: sessions whose leader is a command of the manifest (``ps -A -o pid,sess,args``).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["MARK", "guarded"]

MARK = "CONFORMANCE_RUN"
"""The variable that is the mark."""
PROC = Path("/proc")
LIMIT = 10.0
"""Seconds in which those who are killed must have gone."""


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """While this context lasts, a guardian waits for its end. A run within a run has the guardian of the outer one."""
    if MARK in os.environ or not (PROC / "self" / "environ").exists():
        yield
        return
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    command = [sys.executable, "-I", "-S", __file__, mark]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as guardian:
        os.environ[MARK] = mark
        try:
            yield
        finally:
            del os.environ[MARK]
            assert guardian.stdin
            guardian.stdin.close()


def marked(mark: str) -> list[int]:
    """Processes that carry the mark and are not dead."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for entry in PROC.iterdir():
        with contextlib.suppress(OSError, ValueError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def main() -> None:
    """Wait for the end of the run, and see that it is one."""
    # a terminal's Ctrl-C is not for it: it is in a session of its own
    sys.stdin.buffer.read()
    until = time.monotonic() + LIMIT
    while (left := marked(sys.argv[1])) and time.monotonic() < until:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


if __name__ == "__main__":
    main()
