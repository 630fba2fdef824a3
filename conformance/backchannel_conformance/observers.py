"""Counting wake-ups from outside: two observers behind one interface.

A woken process that goes back to sleep without an event leaves no trace in user space, but the kernel counts a voluntary
context switch. ``live`` reads that count of each worker while the pool runs (Linux). ``portable`` reads one figure on
any POSIX system: the total of the pool's process tree when its parent has been waited for, as the difference between
a run with connections and one without.
"""

from __future__ import annotations

import math
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from backchannel_conformance import procfs
from backchannel_conformance.client import one_after_another
from backchannel_conformance.clock import interval
from backchannel_conformance.errors import HarnessError
from backchannel_conformance.pool import Pool
from backchannel_conformance.status import Status

QUIET_SECONDS = 0.3
QUIET_TRIES = 10

StartPool = Callable[[], Pool]


@dataclass(frozen=True)
class Reading:
    """What one load did to a pool."""

    connections: int
    served: Counter[int]
    """Connections by the process that served them, as the answers say."""
    total: int
    """Voluntary context switches above quiet: of all workers (live), or of the whole tree (portable)."""
    parent: int | None = None
    gains: dict[int, int] | None = None
    """By worker, above its quiet rate."""
    before: Status | None = None
    after: Status | None = None

    @property
    def idle_gain(self) -> int | None:
        """The largest gain of a worker that served nothing; None when no worker served nothing."""
        if self.gains is None:
            return None
        return max((gain for pid, gain in self.gains.items() if not self.served[pid]), default=None)

    def counted(self, counter: str) -> int:
        if self.before is None or self.after is None:
            raise HarnessError("this pool has no status document")
        return self.after[counter] - self.before[counter]


class Observer(Protocol):
    """Serves ``connections`` one after another by a pool that ``start`` starts, and counts what that woke."""

    name: str

    def measure(self, start: StartPool, connections: int) -> Reading: ...


class Live:
    name = "live"

    def measure(self, start: StartPool, connections: int) -> Reading:
        pool = start()
        pool.settle()
        workers = pool.workers()
        rates = self._quiet_rates(workers)
        before = pool.status() if pool.has_status else None
        taken = before["accepted"] + before["late"] if before else 0
        first = {pid: procfs.voluntary_switches(pid) for pid in [pool.pid, *workers]}
        with _Elapsed() as elapsed:
            served = one_after_another(pool.address, connections)
            # The parent's figure is read before anything else wakes it: a status request does.
            parent = procfs.voluntary_switches(pool.pid) - first[pool.pid]
            pool.settle(served=taken + connections)
        last = {pid: procfs.voluntary_switches(pid) for pid in workers}
        after = pool.status() if pool.has_status else None
        gains = {}
        for pid in workers:
            # A worker that sleeps soundly has rate 0 and is allowed nothing. One with a timer of its own is
            # allowed what its timer did while nobody connected, and the tick that an interval may cut.
            quiet = math.ceil(rates[pid] * elapsed.seconds) + 1 if rates[pid] else 0
            gains[pid] = max(last[pid] - first[pid] - quiet, 0)
        strangers = set(served) - set(workers)
        if strangers:
            raise HarnessError(f"processes {sorted(strangers)} served, and are no workers of the pool")
        total = sum(gains.values())
        return Reading(connections, served, total, parent, gains, before, after)

    def _quiet_rates(self, workers: list[int]) -> dict[int, float]:
        """Switches a second while nothing is asked of the pool.

        Measured again until an interval passes without any, for on a busy machine a worker may still be on its way
        to its first sleep; one that never sleeps through has a timer, and its rate is taken as it is.
        """
        rates: dict[int, float] = {}
        for _ in range(QUIET_TRIES):
            first = {pid: procfs.voluntary_switches(pid) for pid in workers}
            seconds = interval(QUIET_SECONDS)
            gained = {pid: procfs.voluntary_switches(pid) - first[pid] for pid in workers}
            rates = {pid: gain / seconds for pid, gain in gained.items()}
            if not any(gained.values()):
                break
        return rates


class _Elapsed:
    seconds = 0.0

    def __enter__(self) -> _Elapsed:
        import time

        self._begin = time.monotonic()
        self._now = time.monotonic
        return self

    def __exit__(self, *exc: object) -> None:
        self.seconds = self._now() - self._begin


class Portable:
    name = "portable"

    def measure(self, start: StartPool, connections: int) -> Reading:
        quiet, _ = self._run(start, 0)
        busy, served = self._run(start, connections)
        return Reading(connections, served, max(busy - quiet, 0))

    def _run(self, start: StartPool, connections: int) -> tuple[int, Counter[int]]:
        pool = start()
        served = one_after_another(pool.address, connections)
        # A kind stop: the total holds only what the parent has waited for.
        pool.signal(signal.SIGTERM)
        if pool.wait() is None or pool.tree_switches is None:
            raise HarnessError("the pool did not end after SIGTERM, so its total cannot be read")
        return pool.tree_switches, served


LIVE = Live()
PORTABLE = Portable()
