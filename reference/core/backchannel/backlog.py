"""One listener's backlog: which of its pending connections have an order.

The pending count is what the shell counted last; in flight are the connections of orders that are neither answered
nor expired. An order never brings more in flight than are pending (BC-PEND-01), and the count is read after the last
report that lowered what is in flight (BC-PEND-02): each such report makes the backlog ``dirty``, and a dirty one is
counted before it is ordered from.

There is one exception, which saves a count at light load. Where each arrival makes an edge, and a count that was read
while nothing was in flight left nothing without an order, orders that were filled have taken all that was counted:
whatever is pending now came later, and its edge will tell. It does not hold for a count that was read while something
was in flight: a worker may have accepted by then and not yet have told, so what looked in flight was not.

``owed`` counts connections whose order expired. The worker may still take them, late, or may not, so they are
ordered again one at a time (BC-SILENT-03).
"""

from __future__ import annotations

from dataclasses import dataclass

from .deadlines import Deadline
from .slots import Order

__all__ = ["Backlog"]


@dataclass(slots=True)
class Backlog:
    """The orders of one listener, and the ``cool_down`` that it may be in."""

    cool_down: Deadline
    in_flight: int = 0
    left: int = 0
    """What the last count found beyond what is in flight, less what was ordered since."""
    sure: bool = False
    """Nothing was in flight when the pending were counted: all of them were there, and none was taken."""
    owed: int = 0
    retrying: bool = False
    """An order for an owed connection is under way."""
    dirty: bool = False
    """More may be pending, or less in flight, than when the pending were counted."""
    cooling: bool = False
    """Nothing is ordered for it: the system lacks what an ``accept`` takes (BC-SHORT-03)."""
    empty: bool = False
    """The last count found nothing pending."""

    @property
    def settled(self) -> bool:
        """All that was counted has an order of its own."""
        return self.sure and self.left <= 0 and not self.dirty

    def wanted(self, pending: int) -> tuple[int, bool]:
        """Connections that the next order may be for, of ``pending`` ones, and whether that is one that is owed."""
        unordered = pending - self.in_flight
        if unordered > self.owed:
            # those that are owed come last: a worker that wakes late may still take them (BC-SILENT-06)
            return unordered - self.owed, False
        if unordered > 0 and not self.retrying:
            return 1, True
        return 0, False

    def sent(self, order: Order) -> None:
        """``order`` has been sent."""
        self.in_flight += order.max
        self.left -= order.max
        if order.again:
            self.retrying = True
            self.owed -= order.max

    def ended(self, order: Order, *, filled: bool = False) -> None:
        """``order`` was answered, or its worker is gone. ``filled``: in time and whole, and arrivals make edges."""
        if order.expired:
            # its worker can take nothing unseen any more: what is still pending is ordered like everything else
            self.owed = max(0, self.owed - order.max)
        else:
            self._not_in_flight(order)
        if not (filled and self.settled):
            self.dirty = True

    def expired(self, order: Order) -> None:
        """``order`` has expired."""
        self._not_in_flight(order)
        self.owed += order.max
        self.dirty = True

    def counted(self, pending: int) -> None:
        """The pending count has just been read."""
        self.dirty = False
        self.empty = pending == 0
        self.left = pending - self.in_flight
        self.sure = not self.in_flight
        if self.empty:
            self.owed = 0  # workers have taken them, or their clients have left

    def _not_in_flight(self, order: Order) -> None:
        self.in_flight -= order.max
        if order.again:
            self.retrying = False
