"""The suite's own idea of dispatch, written from the specification and not from any implementation."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

__all__ = ["least_loaded", "lowest"]


def lowest(held: Mapping[int, int], capacity: int) -> int | None:
    """BC-PICK-01: the lowest slot with room. ``held`` maps slots to connections; ``None``: nobody has room."""
    return min((slot for slot, count in held.items() if count < capacity), default=None)


def least_loaded(held: Mapping[int, int], capacity: int) -> int | None:
    """BC-PICK-02: the smallest share of its capacity, ties to the lowest slot."""
    free = [slot for slot, count in held.items() if count < capacity]
    return min(free, key=lambda slot: (Fraction(held[slot], capacity), slot), default=None)
