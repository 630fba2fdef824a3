"""The suite's own idea of dispatch, written from the specification and not from any implementation."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

__all__ = ["growth", "least_loaded", "lowest", "pick"]


def lowest(held: Mapping[int, int], capacity: int) -> int | None:
    """BC-PICK-01: the lowest slot with room. ``held`` maps slots to connections; ``None``: nobody has room."""
    return min((slot for slot, count in held.items() if count < capacity), default=None)


def least_loaded(held: Mapping[int, int], capacity: int) -> int | None:
    """BC-PICK-02: the smallest share of its capacity, ties to the lowest slot."""
    free = [slot for slot, count in held.items() if count < capacity]
    return min(free, key=lambda slot: (Fraction(held[slot], capacity), slot), default=None)


def pick(policy: str, held: Mapping[int, int], capacities: Mapping[int, int]) -> int | None:
    """BC-PICK-01 and BC-PICK-02 for workers of different capacities."""
    free = [slot for slot in held if held[slot] < capacities[slot]]
    if policy == "lowest":
        return min(free, default=None)
    return min(free, key=lambda slot: (Fraction(held[slot], capacities[slot]), slot), default=None)


def growth(start: int, most: int, min_spare: int, capacity: int) -> list[int]:
    """BC-SCALE-04 and BC-SCALE-05: the sizes of a pool whose workers all stay STARTING, pass by pass."""
    sizes, rate = [start], 1
    while (spare := sizes[-1] * capacity) < min_spare and sizes[-1] < most:
        lacking = -((spare - min_spare) // capacity)
        sizes.append(sizes[-1] + min(rate, lacking, most - sizes[-1]))
        rate = min(2 * rate, 32)
    return sizes
