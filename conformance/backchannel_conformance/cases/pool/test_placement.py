"""Which worker gets a connection, exactly as the policy says."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import pytest
from backchannel_conformance.client import Held
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Pools
from backchannel_conformance.model import picking

pytestmark = pytest.mark.needs("status")


def follow(
    pools: Pools, policy: str, capacity: int, choose: Callable[[Mapping[int, int], int], int | None], requirement: str
) -> None:
    """Open and close connections in an order that a seed fixes; each one must go where the oracle says."""
    workers = 6
    pool = pools(workers, capacity=capacity, policy=policy)
    dice = random.Random(20070611)
    held: list[tuple[Held, int]] = []
    load = dict.fromkeys(range(workers), 0)
    for step in range(150):
        if held and (len(held) == workers * capacity or dice.random() < 0.45):
            connection, slot = held.pop(dice.randrange(len(held)))
            connection.close()
            load[slot] -= 1
        else:
            wanted = choose(load, capacity)
            connection, who = pool.client.hold()
            check(
                who.slot == wanted,
                requirement,
                f"step {step}: with {load} held, the next connection went to slot {who.slot}, not {wanted}",
            )
            assert wanted is not None
            load[wanted] += 1
            held.append((connection, wanted))
        # the next choice may rely on this one only once the parent has read the reports about it
        pool.until(f"the reports of {load}", lambda s: {w["slot"]: w["open"] for w in s.workers} == load)


@pytest.mark.req("BC-PICK-01", "BC-ORDER-02", "BC-RULE-01")
def test_lowest_slot(pools: Pools) -> None:
    """Policy ``lowest`` at capacity 1: the lowest slot with room, over 150 openings and closings."""
    follow(pools, "lowest", 1, picking.lowest, "BC-PICK-01")


@pytest.mark.classes("event")
@pytest.mark.req("BC-PICK-01", "BC-ORDER-02", "BC-ROOM-01")
def test_lowest_slot_at_capacity_3(pools: Pools) -> None:
    """Policy ``lowest`` at capacity 3: a worker is filled before the next one is used."""
    follow(pools, "lowest", 3, picking.lowest, "BC-PICK-01")


@pytest.mark.classes("event")
@pytest.mark.req("BC-PICK-02", "BC-ORDER-02", "BC-RULE-01")
def test_least_loaded(pools: Pools) -> None:
    """Policy ``least-loaded`` at capacity 4: the smallest share, ties to the lowest slot."""
    follow(pools, "least-loaded", 4, picking.least_loaded, "BC-PICK-02")


@pytest.mark.req("BC-PICK-01", "BC-STATUS-05", "BC-MSG-01")
def test_one_after_another_stay_on_few(pools: Pools) -> None:
    """Connections that do not overlap stay on the lowest slot: a worker reports its room when it has closed."""
    pool = pools(4)
    slots = []
    for _ in range(50):
        slots.append(pool.client.ask().slot)
        pool.until("a quiet pool", lambda s: s.quiet)
    check(
        set(slots) == {0}, "BC-PICK-01", f"50 connections one after another went to slots {sorted(set(slots), key=str)}"
    )
