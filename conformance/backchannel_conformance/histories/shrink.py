"""A failing list of steps, made as short as it can be: what is left is all needed.

Halves are left out first, then quarters, down to single steps; then each step is replaced by simpler ones. Any list
will do whose parts are playable, and any question that a part answers with "it still fails".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

__all__ = ["shrink"]

T = TypeVar("T")


def shrink(
    steps: Sequence[T],
    fails: Callable[[Sequence[T]], bool],
    simpler: Callable[[T], Sequence[T]] = lambda step: [],
    seconds: float = 30.0,
) -> list[T]:
    """The shortest list found within ``seconds`` that ``fails``; ``steps`` itself is known to."""
    give_up = time.monotonic() + seconds
    best = list(steps)
    size = max(1, len(best) // 2)
    while True:
        before, at = len(best), 0
        while at < len(best):
            if time.monotonic() > give_up:
                return best
            candidate = best[:at] + best[at + size :]
            if candidate and fails(candidate):
                best = candidate
            else:
                at += size
        if size > 1:
            size //= 2
        elif len(best) == before:
            break
    return _simplified(best, fails, simpler, give_up)


def _simplified(
    best: list[T], fails: Callable[[Sequence[T]], bool], simpler: Callable[[T], Sequence[T]], give_up: float
) -> list[T]:
    at = 0
    while at < len(best):
        for step in simpler(best[at]):
            if time.monotonic() > give_up:
                return best
            candidate = [*best[:at], step, *best[at + 1 :]]
            if fails(candidate):
                best = candidate
                break
        else:
            at += 1
    return best
