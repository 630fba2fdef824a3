"""Counting wake-ups from outside, in two ways.

A process that the kernel wakes and that goes back to sleep makes a voluntary context switch, whether or not its
program ever notices. Counting what the program sees instead proves nothing: a process woken in vain inside
``epoll_wait`` looks again within the kernel and sleeps on.

- :class:`Live` reads the switches of each running process from ``/proc``.
- :class:`Portable` needs POSIX only: the switches of a whole tree of dead processes, as ``wait4`` adds them up. It runs
  the pool twice, with and without connections, and takes the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from . import kernel
from .pool import Pool

__all__ = ["Live", "Observer", "Portable"]


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
