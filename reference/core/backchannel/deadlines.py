"""Deadlines, most of which never come true.

Nearly every order is answered long before its deadline. So nothing is searched for or taken out of the heap when a
deadline is cancelled or put off: the :class:`Deadline` itself says when it passes, and its entry is thrown away, or
moved to where it belongs by now, when it comes to the top. All orders of a worker share one deadline, and one entry.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["Deadline", "Deadlines", "Kind"]


class Kind(Enum):
    """What a deadline is for."""

    ORDER = "the answer to an order"
    STATE = "the state of a worker"
    COOL_DOWN = "the cool-down of a worker"
    LISTENER_COOL_DOWN = "the cool-down of a listener"
    STOP = "the stop of the pool"


_OF_NO_WORKER: Final = frozenset({Kind.LISTENER_COOL_DOWN, Kind.STOP})


@dataclass(slots=True, eq=False)
class Deadline:
    """One deadline, kept by what it is about. ``subject`` is a slot, or a listener, or nothing."""

    kind: Kind
    subject: int = 0
    when: float | None = None
    """When it passes; ``None``: it is not meant, or not any more. Set that to cancel it."""
    entry: float | None = None
    """Where its one valid entry in the heap stands; ``None`` while it has none."""


class Deadlines:
    """Deadlines in the order in which they pass, those of one moment by slot or listener."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, int, Deadline]] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._heap)

    def set(self, deadline: Deadline, when: float) -> None:
        """Let ``deadline`` pass at ``when``, and not at another time that was set before."""
        deadline.when = when
        # an entry that stands earlier is moved when it comes to the top: most orders push nothing
        if deadline.entry is None or when < deadline.entry:
            deadline.entry = when
            self._count += 1
            heapq.heappush(self._heap, (when, deadline.subject, self._count, deadline))

    def may_have_passed(self, now: float) -> bool:
        """``False`` if none has passed at ``now``: the cheap question, asked in each pass."""
        return bool(self._heap) and self._heap[0][0] <= now

    def next(self) -> float | None:
        """When the first one that is still meant passes."""
        heap = self._heap
        while heap:
            entry, subject, count, deadline = heap[0]
            when = deadline.when
            if entry != deadline.entry:
                heapq.heappop(heap)  # it was set to an earlier time since, which has an entry of its own
            elif when == entry:
                return when
            elif when is None:
                heapq.heappop(heap)
                deadline.entry = None
            else:
                heapq.heapreplace(heap, (when, subject, count, deadline))
                deadline.entry = when
        return None

    def passed(self, now: float) -> Iterator[Deadline]:
        """Take out those that have passed at ``now`` and are still meant, oldest first. What is done for one may cancel
        those that would follow.
        """
        while (first := self.next()) is not None and first <= now:
            deadline = heapq.heappop(self._heap)[-1]
            deadline.when = deadline.entry = None
            yield deadline

    def overdue(self, now: float) -> frozenset[int]:
        """Slots of the workers whose deadlines :meth:`passed` would take out; they are left where they are."""
        if not self.may_have_passed(now):
            return frozenset()
        found: list[tuple[float, int, int, Deadline]] = []
        while (first := self.next()) is not None and first <= now:
            found.append(heapq.heappop(self._heap))
        for entry in found:
            heapq.heappush(self._heap, entry)
        return frozenset(deadline.subject for *_, deadline in found if deadline.kind not in _OF_NO_WORKER)
