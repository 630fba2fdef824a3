"""The census: after every case nothing of the pool runs any more, and the suite holds no descriptor more than before.

What is left over is an *error* of that case, found where it arose, and is killed so that the next case starts clean.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from backchannel_conformance import procfs
from backchannel_conformance.clock import until
from backchannel_conformance.errors import HarnessError
from backchannel_conformance.pool import STOP_SECONDS, Pool

LAST_SECONDS = 5.0


def own_descriptors() -> dict[int, str]:
    """What the suite itself has open, as far as the system tells."""
    for directory in (Path("/proc/self/fd"), Path("/dev/fd")):
        if directory.is_dir():
            found = {}
            for entry in list(directory.iterdir()):
                try:
                    found[int(entry.name)] = os.readlink(entry)
                except OSError:
                    # The one that listed the directory, or a system that has no links there.
                    continue
            return found
    return {}


def running(pool: Pool) -> list[int]:
    """What still runs of the pool; on a system without /proc, its number alone stands for the group."""
    if procfs.available():
        return procfs.session_members(pool.pid)
    try:
        os.killpg(pool.pid, 0)
    except (ProcessLookupError, PermissionError):
        return []
    return [pool.pid]


def end(pool: Pool) -> str | None:
    """Stop a pool and say what was left of it, or None."""
    for connection in pool.connections:
        connection.close()
    remains = None
    try:
        if not pool.reap():
            # A worker that a case has stopped would sit out a kind request, but not this one.
            pool.signal(signal.SIGINT)
            if pool.wait(STOP_SECONDS) is None:
                remains = f"the pool did not end {STOP_SECONDS:.0f} s after SIGINT"
        if remains is None and not until(lambda: not running(pool), LAST_SECONDS):
            remains = f"processes were left behind: {running(pool)}"
    finally:
        pool.kill_all()
        pool.wait(LAST_SECONDS)
        pool.close()
    return remains


class Census:
    """Taken before a case begins, compared after it has ended."""

    def __init__(self) -> None:
        self._before = own_descriptors()

    def compare(self, remains: list[str]) -> None:
        after = own_descriptors()
        leaked = [f"{n} {t}" for n, t in after.items() if self._before.get(n) != t]
        if leaked:
            remains = [*remains, f"the suite itself has leaked descriptors: {', '.join(leaked)}"]
        if remains:
            raise HarnessError("census: " + "; ".join(remains))
