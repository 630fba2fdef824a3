"""A failing list of steps, made as short as it can be: what is left is all needed (delta debugging).

It is played again and again, each time with less of it, each time on something fresh. Of a long list the end is tried
first: as a rule, what was played before had come to rest. Then halves are left out, then quarters, down to single
steps; then each step is replaced by simpler ones. Any list will do whose parts are playable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from ..waiting import deadline_in

__all__ = ["SECONDS", "shrink"]

Step = TypeVar("Step")
Failure = TypeVar("Failure")

SECONDS = 40.0
"""That it may take; stretched as all limits are."""
TAIL = 8
"""Steps at the end that are tried first."""


def shrink(
    steps: Sequence[Step],
    play: Callable[[Sequence[Step]], tuple[Sequence[Step], Failure] | None],
    simpler: Callable[[Step], Sequence[Step]] = lambda step: [],
) -> tuple[list[Step], Failure] | None:
    """The shortest list found that still fails, and how it fails; ``None``: ``steps`` do not fail again as a whole.

    ``play`` plays a list on something fresh. It returns ``None`` if nothing is wrong, else what it has played when
    something was, and what that was.
    """
    deadline = deadline_in(SECONDS)
    best: tuple[list[Step], Failure] | None = None

    def fails(candidate: Sequence[Step]) -> bool:
        nonlocal best
        if best is not None and time.monotonic() > deadline:
            return False
        if (found := play(candidate)) is None:
            return False
        best = list(found[0]), found[1]
        return True

    part = TAIL
    while part < len(steps) and not fails(steps[-part:]):
        part *= 2
    if best is None and not fails(steps):
        return None
    assert best is not None
    size = max(1, len(best[0]) // 2)
    while True:
        before, at = len(best[0]), 0
        while at < len(best[0]):
            if not fails([*best[0][:at], *best[0][at + size :]]):
                at += size
        if size > 1:
            size //= 2
        elif len(best[0]) == before or time.monotonic() > deadline:
            break
    at = 0
    while at < len(best[0]):
        now = best[0]
        if not any(fails([*now[:at], step, *now[at + 1 :]]) for step in simpler(now[at])):
            at += 1
    return best
