"""Counting wake-ups from outside, in three ways.

A process that the kernel wakes and that goes back to sleep makes a voluntary context switch, whether or not its
program ever notices. Counting what the program sees proves nothing: a process woken in vain inside ``epoll_wait`` looks
again within the kernel and goes back to sleep there.

- :class:`LiveCounter` asks the system for the switches of each running process (``/proc``; ``ps`` on BSD).
- :class:`AskedCounter` has each worker's test service tell its own. That wakes the worker, but each time alike.
- :class:`PortableCounter` needs POSIX only: when a whole tree of processes has ended, ``wait4`` tells its switches.
  It runs the pool twice, with and without connections, and takes the difference.

The first two see each worker (:class:`WorkerCounter`); the first and the last see a whole pool (:class:`PoolCounter`).
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from . import kernel, processes
from .errors import ContractError
from .pool_under_test import PoolUnderTest
from .waiting import until

__all__ = ["AskedCounter", "Gains", "LiveCounter", "PoolCounter", "PortableCounter", "WorkerCounter", "worker_counter"]

QUIET: Final = 0.5
"""Seconds over which the quiet rate is measured; nothing is concluded from having waited."""


@dataclass(frozen=True)
class Gains:
    """The voluntary context switches that a load has caused, beyond those that each process makes without one."""

    workers: Mapping[int, float]
    parent: int | None
    """The parent's, where the system tells."""
    served: Counter[int]
    """How many connections each process served."""


class WorkerCounter(Protocol):
    """Counts how often each worker is woken."""

    name: str

    def gains(self, pool: PoolUnderTest, load: Callable[[], Counter[int]]) -> Gains:
        """Put ``load`` on ``pool``; it returns how many connections each process served."""


class PoolCounter(Protocol):
    """Counts how often a whole pool is woken."""

    name: str

    def per_connection(self, start: Callable[[], PoolUnderTest], connections: int) -> float:
        """Voluntary context switches of the whole pool for each of ``connections``, served one after another."""


class LiveCounter:
    """Each process, while it runs."""

    name = "live"

    @staticmethod
    def read(pids: Iterable[int]) -> dict[int, int]:
        """Switches so far."""
        return {pid: kernel.switches(pid) for pid in pids}

    def gains(self, pool: PoolUnderTest, load: Callable[[], Counter[int]]) -> Gains:
        """See :class:`WorkerCounter`."""
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

    def per_connection(self, start: Callable[[], PoolUnderTest], connections: int) -> float:
        """See :class:`PoolCounter`."""
        pool = start()
        pool.settle()
        pids = [pool.pid, *pool.workers()]
        before = self.read(pids)
        served = pool.client.serve(connections).total()
        pool.settle()
        after = self.read(pids)
        return sum(after[pid] - before[pid] for pid in pids) / served


class AskedCounter:
    """Each worker, by what ``getrusage`` tells it: the answer on a connection that is held (``spec/adapter/service``).

    Only for workers that hold one connection at once: as many held ones as there are workers then reach each of them.
    """

    name = "asked"

    def gains(self, pool: PoolUnderTest, load: Callable[[], Counter[int]]) -> Gains:
        """See :class:`WorkerCounter`."""
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
    def ask(pool: PoolUnderTest, workers: Iterable[int]) -> dict[int, int]:
        """One round: each worker's switches so far. All are asleep when it begins, while it lasts and when it ends."""
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
            raise ContractError(
                f"{len(workers)} held connections reached {sorted(said)}, the workers are {sorted(workers)}"
            )
        until(lambda: all(kernel.state(pid) == "S" for pid in workers), what="all workers to wait for their clients")
        for connection in held:
            connection.close()
        pool.settle()
        found = {pid: switches for pid, switches in said.items() if switches is not None}
        if len(found) < len(said):
            raise ContractError("the answer to 'hold' has no third figure: see the test service")
        return found


def worker_counter() -> WorkerCounter:
    """The better one of those that work here."""
    return LiveCounter() if kernel.can("switches") else AskedCounter()


class PortableCounter:
    """The whole tree, after its end."""

    name = "portable"

    def per_connection(self, start: Callable[[], PoolUnderTest], connections: int) -> float:
        """See :class:`PoolCounter`."""
        totals, served = [], 0
        for count in (0, connections):
            pool = start()
            served = pool.client.serve(count).total()
            pool.stop()
            totals.append(pool.usage)
        return (totals[1] - totals[0]) / served
