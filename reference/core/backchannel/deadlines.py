"""Deadlines: a heap of (when, what, whom), most of which never come true.

Nearly every order is answered long before its deadline. Nothing is searched for or cancelled then: the entry stays, and
when it comes to the top, its owner says when it passes by now, or that it is meant no more. So a worker has one entry
for its orders, however many it is given before the first one's deadline.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

__all__ = ["Deadline", "Deadlines", "Kind"]


class Kind(Enum):
    """What a deadline is for."""

    ORDER = "order_deadline"
    SILENCE = "silence_deadline"
    START = "start_deadline"
    DRAIN = "drain_deadline"
    EXIT = "exit_deadline"
    REST = "rest"
    LISTENER_REST = "listener rest"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Deadline:
    """One deadline. ``subject`` is a slot or a listener, ``token`` a serial or an order: together they tell if it
    is meant still.
    """

    kind: Kind
    subject: int
    token: int


class Deadlines:
    """Deadlines in the order in which they pass, those of one moment by slot or listener. ``due(deadline, when)`` says
    when one that was added for ``when`` passes by now, later perhaps, or ``None``: it is taken out then.
    """

    def __init__(self, due: Callable[[Deadline, float], float | None]) -> None:
        self._due = due
        self._heap: list[tuple[float, int, int, Deadline]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, when: float, deadline: Deadline) -> None:
        """Let ``deadline`` pass at ``when``."""
        self._count += 1
        heapq.heappush(self._heap, (when, deadline.subject, self._count, deadline))

    def may_have_passed(self, now: float) -> bool:
        """``False`` if none has passed at ``now``: the cheap question, asked in each turn."""
        return bool(self._heap) and self._heap[0][0] <= now

    def next(self) -> float | None:
        """When the first one that is still meant passes."""
        heap = self._heap
        while heap:
            when, subject, count, deadline = heap[0]
            due = self._due(deadline, when)
            if due == when:
                return when
            if due is None:
                heapq.heappop(heap)
            else:
                heapq.heapreplace(heap, (due, subject, count, deadline))
        return None

    def passed(self, now: float) -> Iterator[Deadline]:
        """Take out those that have passed at ``now`` and are still meant, oldest first."""
        while (first := self.next()) is not None and first <= now:
            yield heapq.heappop(self._heap)[-1]

    def due(self, now: float) -> list[Deadline]:
        """Those that :meth:`passed` would take out, left where they are."""
        found: list[tuple[float, int, int, Deadline]] = []
        while (first := self.next()) is not None and first <= now:
            found.append(heapq.heappop(self._heap))
        for entry in found:
            heapq.heappush(self._heap, entry)
        return [entry[-1] for entry in found]
