"""Who may be chosen, best first.

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

from .table import Worker

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
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def refresh(self, worker: Worker) -> None:
        """``worker`` has changed: put it where it belongs now, or take it out."""
        if worker.ticket:
            worker.ticket = 0
            self._count -= 1
        if worker.may_be_chosen:
            self._tickets += 1
            worker.ticket = self._tickets
            self._count += 1
            heapq.heappush(self._heap, (self._key(worker), worker.slot, self._tickets))
            if len(self._heap) > 2 * len(self._workers) + 64:
                self._heap = [entry for entry in self._heap if self._valid(entry)]
                heapq.heapify(self._heap)

    def best(self, listener: int) -> Worker | None:
        """The best worker for ``listener``; ``None`` when nobody may be chosen.

        Workers that were passed over for the listener come last: only when all have been are they forgiven
        (BC-SHORT-01).
        """
        aside: list[tuple[int, int, int]] = []
        found: Worker | None = None
        while self._heap:
            entry = self._heap[0]
            if not self._valid(entry):
                heapq.heappop(self._heap)
                continue
            worker = self._workers[entry[1]]
            if listener not in worker.passed_over:
                found = worker
                break
            aside.append(heapq.heappop(self._heap))
        if found is None and aside:
            for entry in aside:
                self._workers[entry[1]].passed_over.discard(listener)
            found = self._workers[aside[0][1]]
        for entry in aside:
            heapq.heappush(self._heap, entry)
        return found

    def _valid(self, entry: tuple[int, int, int]) -> bool:
        worker = self._workers.get(entry[1])
        return worker is not None and worker.ticket == entry[2]
