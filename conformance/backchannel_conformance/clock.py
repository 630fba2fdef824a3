"""Waiting, in one place: every wait of the suite has a deadline on the monotonic clock, and none of them proves anything.

``until`` is for liveness only: "this comes about". It must never be used to show that something does *not* happen; for
that a case makes a further exchange with the pool, or measures kernel counters over an ``interval``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_scale = 1.0


def set_scale(factor: float) -> None:
    """Stretch every deadline of the suite (not those it gives to the pool) by this factor."""
    global _scale
    _scale = factor


def scaled(seconds: float) -> float:
    return seconds * _scale


def until(predicate: Callable[[], T], seconds: float) -> T:
    """Ask until the answer is true or the deadline has passed; return the last answer, true or not.

    The caller decides what a wait in vain means: a broken requirement, or an error of the run.
    """
    deadline = time.monotonic() + scaled(seconds)
    pause = 0.001
    while True:
        answer = predicate()
        if answer or time.monotonic() >= deadline:
            return answer
        time.sleep(pause)
        pause = min(pause * 1.5, 0.025)


def interval(seconds: float) -> float:
    """Let a stated time go by while kernel counters are measured, and return how long it really was."""
    begin = time.monotonic()
    time.sleep(seconds)
    return time.monotonic() - begin
