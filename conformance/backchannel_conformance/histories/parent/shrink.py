"""Makes a scenario that deviates as short as it can be: it is played again and again, each time with less of it, each
time on a fresh parent (delta debugging).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ...waiting import deadline_in
from .play import Deviation
from .scenario import Line, Scenario

__all__ = ["shrink"]

SECONDS = 40.0
"""That it may take."""


def shrink(scenario: Scenario, play: Callable[[Scenario], Deviation | None]) -> Deviation | None:
    """The deviation of a scenario with as few of the steps as were found to do. ``play`` plays one on a fresh parent,
    and returns how it deviates. ``None``: it does not deviate again, not even as a whole.
    """
    deadline = deadline_in(SECONDS)
    best: Deviation | None = None

    def deviates(steps: Sequence[Line]) -> bool:
        nonlocal best
        found = play(scenario.but(steps))
        if found is not None:
            best = found
        return found is not None

    # the end of it, as a rule, is enough: what was played before on the same parent had come to rest
    steps, part = scenario.steps, 8
    while part < len(steps) and not deviates(steps[-part:]):
        part *= 2
    if best is None and not deviates(steps):
        return None
    parts = 2
    while best is not None and time.monotonic() < deadline:
        steps = best.player.done
        if not steps:
            break
        size = -(-len(steps) // parts)
        for at in range(0, len(steps), size):
            if time.monotonic() > deadline:
                break
            if deviates([*steps[:at], *steps[at + size :]]):
                parts = max(2, parts - 1)
                break
        else:
            if size == 1:
                break
            parts = min(len(steps), 2 * parts)
    return best
