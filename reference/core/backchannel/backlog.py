"""One listener's backlog: which of its pending connections have an order.

P is what the shell counted last, R (``covered``) the connections covered by orders that are neither answered nor
void. R never exceeds P when an order is sent (BC-PEND-01), and P is read after the last report that lowered R
(BC-PEND-02): each such report makes the backlog ``dirty``, and a dirty one is counted before it is ordered from.

There is one exception, which saves a count at light load. Where each arrival makes an edge, and a count that was read
while R was 0 left nothing without an order, orders that were filled have taken all that was counted: whatever is
pending now came later, and its edge will tell. It does not hold for a count that was read while R was above 0: a
worker may have accepted by then and not yet have told, so what looked covered was not.

``owed`` counts connections whose order became void. The worker may still take them, late, or may not, so they are
ordered again one at a time (BC-SILENT-03).
"""

from __future__ import annotations

from dataclasses import dataclass

from .deadlines import Deadline
from .slots import Order

__all__ = ["Backlog"]


@dataclass(slots=True)
class Backlog:
    """The orders of one listener, and the ``rest`` that it may have to take."""

    rest: Deadline
    covered: int = 0
    left: int = 0
    """What the last count found beyond R, less what was ordered since."""
    sure: bool = False
    """R was 0 when P was counted: all of P was pending and none of it taken."""
    owed: int = 0
    retrying: bool = False
    """An order for an owed connection is under way."""
    dirty: bool = False
    """P may have changed, or R has fallen, since P was counted."""
    resting: bool = False
    """Nothing is ordered for it: the system lacks what an ``accept`` takes (BC-SHORT-03)."""
    empty: bool = False
    """The last count found nothing pending."""

    @property
    def settled(self) -> bool:
        """All that was counted has an order of its own."""
        return self.sure and self.left <= 0 and not self.dirty

    def wanted(self, pending: int) -> tuple[int, bool]:
        """Connections that the next order may cover, ``pending`` being P, and whether that is one that is owed."""
        uncovered = pending - self.covered
        if uncovered > self.owed:
            # those that are owed come last: a worker that wakes late may still take them (BC-SILENT-06)
            return uncovered - self.owed, False
        if uncovered > 0 and not self.retrying:
            return 1, True
        return 0, False

    def sent(self, order: Order) -> None:
        """``order`` has been sent."""
        self.covered += order.max
        self.left -= order.max
        if order.again:
            self.retrying = True
            self.owed -= order.max

    def ended(self, order: Order, *, filled: bool = False) -> None:
        """``order`` was answered, or its worker is gone. ``filled``: in time and whole, and arrivals make edges."""
        if order.void:
            # its worker can take nothing unseen any more: what is still pending is ordered like everything else
            self.owed = max(0, self.owed - order.max)
        else:
            self._uncover(order)
        if not (filled and self.settled):
            self.dirty = True

    def voided(self, order: Order) -> None:
        """``order`` has become void."""
        self._uncover(order)
        self.owed += order.max
        self.dirty = True

    def counted(self, pending: int) -> None:
        """P has just been read."""
        self.dirty = False
        self.empty = pending == 0
        self.left = pending - self.covered
        self.sure = not self.covered
        if self.empty:
            self.owed = 0  # somebody has taken them, or their clients have left

    def _uncover(self, order: Order) -> None:
        self.covered -= order.max
        if order.again:
            self.retrying = False
