"""Deadlines: a heap of (when, what, whom), most of which never come true.

Nearly every order is answered long before its deadline. Nothing is searched for or cancelled then: the entry stays, and
when it comes to the top, its owner says that it is no longer meant.
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
    """Deadlines in the order in which they pass."""

    def __init__(self, meant: Callable[[Deadline], bool]) -> None:
        self._meant = meant
        self._heap: list[tuple[float, int, Deadline]] = []
        self._count = 0

    def add(self, when: float, deadline: Deadline) -> None:
        """Let ``deadline`` pass at ``when``."""
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, deadline))

    def next(self) -> float | None:
        """When the first one that is still meant passes."""
        while self._heap and not self._meant(self._heap[0][2]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def passed(self, now: float) -> Iterator[Deadline]:
        """Take out those that have passed at ``now`` and are still meant, oldest first."""
        while self._heap and self._heap[0][0] <= now:
            deadline = heapq.heappop(self._heap)[2]
            if self._meant(deadline):
                yield deadline

    def due(self, now: float) -> list[Deadline]:
        """Those that :meth:`passed` would take out, left where they are."""
        first = self.next()
        if first is None or first > now:
            return []
        return [item for when, _, item in self._heap if when <= now and self._meant(item)]
