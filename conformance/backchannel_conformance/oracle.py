"""The suite's own idea of which worker a connection belongs to, written from the specification.

It knows loads and capacities, and nothing of how a pool finds its answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

Loads = Mapping[int, tuple[int, int]]
"""Slot to (open, capacity)."""


def lowest(loads: Loads) -> int | None:
    """BC-PICK-01: the lowest slot that has room; None when nobody has any."""
    return min((slot for slot, (held, capacity) in loads.items() if held < capacity), default=None)


def least_loaded(loads: Loads) -> int | None:
    """BC-PICK-02: the smallest share of its capacity in use, compared exactly; ties to the lowest slot."""
    shares = [
        (Fraction(held, capacity), slot)
        for slot, (held, capacity) in loads.items()
        if held < capacity
    ]
    return min(shares)[1] if shares else None


POLICIES: dict[str, Callable[[Loads], int | None]] = {
    "lowest": lowest,
    "least-loaded": least_loaded,
}
