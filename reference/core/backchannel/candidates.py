"""The workers that may be chosen, best first.

A heap of (key, slot) for the workers that may be given an order. Entries are never searched for: when a worker
changes, its old entry becomes stale, because the worker's ticket names another one, and is thrown away when it comes
to the top. So a change and a choice both cost O(log n) (the stale ones are swept out when they outnumber the
workers).

The key of ``least-loaded`` must compare (open + reserved) / capacity exactly (BC-PICK-02). For fractions with
denominators below 2**32, multiplying by 2**64 and rounding down keeps every difference and every tie, so the key is
one integer.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from typing import Final

from .slots import Worker

__all__ = ["Candidates"]


def _lowest(worker: Worker) -> int:
    return worker.slot


def _least_loaded(worker: Worker) -> int:
    return (worker.open << 64) // worker.capacity


KEYS: Final[dict[str, Callable[[Worker], int]]] = {
    "lowest": _lowest,
    "least-loaded": _least_loaded,
}


class Candidates:
    """The workers that may be chosen now, in the order of the policy."""

    def __init__(self, policy: str, workers: Mapping[int, Worker]) -> None:
        self._key = KEYS[policy]
        self._workers = workers
        self._heap: list[tuple[int, int, int]] = []
        self._tickets = 0
        self.count = 0
        """How many there are."""

    def refresh(self, worker: Worker) -> None:
        """``worker`` has changed: put it where it belongs now, or take it out."""
        if not worker.may_be_chosen:
            if worker.ticket:
                worker.ticket = 0
                self.count -= 1
            return
        key = self._key(worker)
        if worker.ticket:
            if key == worker.key:
                return  # its entry stands where it should
        else:
            self.count += 1
        self._tickets += 1
        worker.ticket, worker.key = self._tickets, key
        heapq.heappush(self._heap, (key, worker.slot, self._tickets))
        if len(self._heap) > 2 * len(self._workers) + 64:
            self._heap = [entry for entry in self._heap if self._valid(entry)]
            heapq.heapify(self._heap)

    def best(self, listener: int) -> Worker | None:
        """The best worker for ``listener``; ``None`` when no worker may be chosen.

        Workers that were passed over for the listener come last: they may be chosen only when all have been
        (BC-SHORT-01).
        """
        heap, workers = self._heap, self._workers
        aside: list[tuple[int, int, int]] = []
        found: Worker | None = None
        while heap:
            entry = heap[0]
            worker = workers.get(entry[1])
            if worker is None or worker.ticket != entry[2]:
                heapq.heappop(heap)  # stale: the worker has changed since, or has exited
            elif listener not in worker.passed_over:
                found = worker
                break
            else:
                aside.append(heapq.heappop(heap))
        if found is None and aside:
            # all that could take it fell short of late: none is to be preferred, and one of them has to try
            for entry in aside:
                workers[entry[1]].passed_over.discard(listener)
            found = workers[aside[0][1]]
        for entry in aside:
            heapq.heappush(heap, entry)
        return found

    def _valid(self, entry: tuple[int, int, int]) -> bool:
        worker = self._workers.get(entry[1])
        return worker is not None and worker.ticket == entry[2]
