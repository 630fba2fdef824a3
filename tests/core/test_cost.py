"""What a decision costs, counted and not timed: calls made for one connection must not grow with the number of
workers.
"""

from __future__ import annotations

import gc
import sys
from types import FrameType
from typing import Any

import pytest
from backchannel import Scaling, Settings
from world import World


def calls_for_one_connection(workers: int, policy: str) -> int:
    """Calls of functions, Python's own included, from the arrival to the report of its end."""
    world = World(Settings(policy=policy), Scaling.fixed(workers))
    world.greet_all()
    count = 0

    def profile(_frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    # the first ones fill heaps and caches
    for _ in range(3):
        world.connect()
        world.answer(0)
        world.end(0)
    world.queue[0] += 1
    world.parent.readable(0)
    gc.collect()
    gc.disable()  # what other tests have left behind may not be counted
    sys.setprofile(profile)
    try:
        world.turn()
        world.answer(0)
        world.end(0)
    finally:
        sys.setprofile(None)
        gc.enable()
    return count


@pytest.mark.parametrize("policy", ["lowest", "least-loaded"])
def test_cost_does_not_grow_with_the_pool(policy: str) -> None:
    few, many = calls_for_one_connection(8, policy), calls_for_one_connection(4096, policy)
    assert many <= few * 1.2
