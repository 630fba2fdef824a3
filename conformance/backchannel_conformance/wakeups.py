"""Counting wake-ups from outside, in three ways.

A process that the kernel wakes and that goes back to sleep makes a voluntary context switch, whether or not its
program ever notices. Counting what the program sees instead proves nothing: a process woken in vain inside
``epoll_wait`` looks again within the kernel and sleeps on.

- :class:`Live` reads the switches of each running process from the system, where it tells (``/proc``, ``ps`` on BSD).
- :class:`Asked` lets each worker's test service tell its own, which wakes it, but each time alike.
- :class:`Portable` needs POSIX only: the switches of a whole tree of dead processes, as ``wait4`` adds them up. It runs
  the pool twice, with and without connections, and takes the difference.

The first two see each worker (:class:`Watcher`), the first and the last a whole pool (:class:`Observer`).
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from . import kernel, processes
from .errors import Failure
from .pool import Pool
from .waiting import until

__all__ = ["Asked", "Gains", "Live", "Observer", "Portable", "Watcher", "watcher"]

QUIET: Final = 0.5
"""Seconds over which the quiet rate is measured; nothing is concluded from having waited."""


@dataclass(frozen=True)
class Gains:
    """What a load made: the voluntary context switches of each worker, beyond those it makes in quiet."""

    workers: Mapping[int, float]
    parent: int | None
    """The parent's, where the system tells."""
    served: Counter[int]
    """How many connections each process served."""


class Watcher(Protocol):
    """Tells what each worker was woken for."""

    name: str

    def gains(self, pool: Pool, load: Callable[[], Counter[int]]) -> Gains:
        """Put ``load`` on ``pool``; it returns how many connections each process served."""


class Observer(Protocol):
    """Counts the switches that a load makes."""

    def per_connection(self, start: Callable[[], Pool], connections: int) -> float:
        """Voluntary context switches of the whole pool for each of ``connections``, served one after another."""


class Live:
    """Each process, while it runs."""

    name = "live"

    @staticmethod
    def read(pids: Iterable[int]) -> dict[int, int]:
        """Switches so far."""
        return {pid: kernel.switches(pid) for pid in pids}

    def gains(self, pool: Pool, load: Callable[[], Counter[int]]) -> Gains:
        """See :class:`Watcher`."""
        pool.settle()
        workers = pool.workers()
        first = self.read([pool.pid, *workers])
        time.sleep(QUIET)
        before = self.read([pool.pid, *workers])
        started = time.monotonic()
        served = load()
        took = time.monotonic() - started
        pool.settle()
        after = self.read([pool.pid, *workers])
        quiet = {pid: (before[pid] - first[pid]) / QUIET * took for pid in workers}
        gained = {pid: after[pid] - before[pid] - quiet[pid] for pid in workers}
        return Gains(gained, after[pool.pid] - before[pool.pid], served)

    def per_connection(self, start: Callable[[], Pool], connections: int) -> float:
        """See :class:`Observer`."""
        pool = start()
        pool.settle()
        pids = [pool.pid, *pool.workers()]
        before = self.read(pids)
        served = pool.client.serve(connections).total()
        pool.settle()
        after = self.read(pids)
        return sum(after[pid] - before[pid] for pid in pids) / served


class Asked:
    """Each worker, by what ``getrusage`` tells it: the answer on a connection that is held (``spec/adapter/service``).

    Only for workers that hold one connection at once: as many held ones as there are workers then reach each of them.
    """

    name = "asked"

    def gains(self, pool: Pool, load: Callable[[], Counter[int]]) -> Gains:
        """See :class:`Watcher`."""
        workers = pool.workers()
        self.ask(pool, workers)  # what is done for the first time may wait for memory
        first = self.ask(pool, workers)
        second = self.ask(pool, workers)
        time.sleep(QUIET)
        before, started = self.ask(pool, workers), time.monotonic()
        served = load()
        after, took = self.ask(pool, workers), time.monotonic() - started
        cost = max(second[pid] - first[pid] for pid in workers)
        quiet = {pid: max(0, before[pid] - second[pid] - cost) / QUIET * took for pid in workers}
        return Gains({pid: after[pid] - before[pid] - cost - quiet[pid] for pid in workers}, None, served)

    @staticmethod
    def ask(pool: Pool, workers: Iterable[int]) -> dict[int, int]:
        """One round: each worker's switches so far. Everybody is asleep at its begin, in its midst and at its end."""
        workers = list(workers)
        pool.settle()
        processes.send(pool.pid, signal.SIGSTOP)
        try:
            until(lambda: kernel.state(pool.pid) == "T", what="the parent to stop")
            held = [pool.client.send("hold") for _ in workers]
        finally:
            processes.send(pool.pid, signal.SIGCONT)
        said = {who.pid: who.switches for who in (connection.answer() for connection in held)}
        if set(said) != set(workers):
            raise Failure(f"{len(workers)} held connections reached {sorted(said)}, the workers are {sorted(workers)}")
        until(lambda: all(kernel.state(pid) == "S" for pid in workers), what="all workers to wait for their clients")
        for connection in held:
            connection.close()
        pool.settle()
        found = {pid: switches for pid, switches in said.items() if switches is not None}
        if len(found) < len(said):
            raise Failure("the answer to 'hold' has no third figure: see the test service")
        return found


def watcher() -> Watcher:
    """The one that sees most here."""
    return Live() if kernel.can("switches") else Asked()


class Portable:
    """The whole tree, after its end."""

    name = "portable"

    def per_connection(self, start: Callable[[], Pool], connections: int) -> float:
        """See :class:`Observer`."""
        totals, served = [], 0
        for count in (0, connections):
            pool = start()
            served = pool.client.serve(count).total()
            pool.stop()
            totals.append(pool.usage)
        return (totals[1] - totals[0]) / served
