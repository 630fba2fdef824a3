"""Which worker a parent picks, compared with the suite's own idea of the policies; and which listener."""

from __future__ import annotations

import random

import pytest
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Parents
from backchannel_conformance.model import picking
from backchannel_conformance.parent_under_test import ParentUnderTest

event = pytest.mark.classes("event")
CAPACITIES = (2, 3, 1, 5)


def follow(parent: ParentUnderTest, policy: str, steps: int, clause: str) -> None:
    """Clients come and connections end as dice say; each order must go where the oracle says."""
    dice = random.Random(20070611)
    capacities = {stub.slot: stub.capacity for stub in parent.workers}
    for step in range(steps):
        held = {stub.slot: stub.open for stub in parent.workers}
        busy = [stub for stub in parent.workers if stub.open]
        wanted = picking.pick(policy, held, capacities)
        if wanted is None or (busy and dice.random() < 0.45):
            dice.choice(busy).finish()
            parent.barrier()
            continue
        parent.connect()
        stub, _ = parent.ordered(parent.workers, clause)
        seen = f"step {step}: with {held} held of {capacities}, slot {stub.slot} was ordered, not {wanted}"
        check(stub.slot == wanted, clause, seen)
        stub.take()


@event
@pytest.mark.needs("policy")
@pytest.mark.parametrize(("policy", "clause"), [("lowest", "BC-PICK-01"), ("least-loaded", "BC-PICK-02")])
@pytest.mark.req("BC-PICK-01", "BC-PICK-02", "BC-RULE-01")
def test_policy_with_unequal_workers(parents: Parents, policy: str, clause: str) -> None:
    """Four workers of capacities 2, 3, 1 and 5."""
    parent = parents.pool(4, capacity=CAPACITIES, policy=policy)
    follow(parent, policy, 24, clause)


@event
@pytest.mark.classes(
    "counted"
)  # where the pending count is taken as 1 the second client waits for the first one's answer
@pytest.mark.needs("policy")
@pytest.mark.req("BC-PICK-02", "BC-ROOM-01")
def test_reserved_room_is_load(parents: Parents) -> None:
    """Policy least-loaded: an order that is not answered counts as load, so each of three workers gets one."""
    parent = parents.pool(3, capacity=4, policy="least-loaded")
    for stub in parent.workers:
        parent.connect()
        stub.order("BC-PICK-02")


@pytest.mark.classes("listeners", "event")
@pytest.mark.req("BC-PICK-04", "BC-ACCEPT-02")
def test_orders_rotate_over_listeners(parents: Parents) -> None:
    """Three clients wait on each of two listeners: orders go to one and the other in turn."""
    parent = parents(start=2, min=2, max=2, capacity=8, listen="127.0.0.1:0,127.0.0.1:0")
    stub, parent.witness = parent.stub(), parent.stub()
    for listener in (0, 1):
        parent.connect(3, listener)
    stub.greet(8)
    turns = []
    for _ in range(6):
        turns.append(stub.order("BC-PICK-04").listener)
        stub.take()
    check(turns in ([0, 1] * 3, [1, 0] * 3), "BC-PICK-04", f"the orders were for listeners {turns}")
