"""A successor's baton, where it ends at a moment when nobody may take anything over."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from backchannel import ParentState, Scaling, Settings
from backchannel_server.opening import Opened, open_all
from backchannel_sync.parent import Pool


@pytest.fixture
def opened() -> Iterator[tuple[Opened, socket.socket]]:
    """What a successor is given, and the old parent's end of the baton."""
    made = open_all(["127.0.0.1:0"], environment={})
    old, new = socket.socketpair()
    new.setblocking(False)
    made.baton = new
    yield made, old
    old.close()
    made.close()


def successor(opened: Opened) -> Pool:
    def nobody() -> object:
        raise AssertionError("a worker was started")

    return Pool(nobody, opened, Settings(), Scaling.fixed(1))  # type: ignore[arg-type]


def carry_out(pool: Pool) -> None:
    while actions := pool.driver.core.take_actions():
        for action in actions:
            pool.driver._do(action)


def test_successor_takes_over_when_the_baton_ends(opened: tuple[Opened, socket.socket]) -> None:
    made, old = opened
    pool = successor(made)
    pool.driver.handover.begin()
    try:
        old.close()
        pool.driver.handover._old_parent_speaks()
        assert pool.driver.core.state is ParentState.RUNNING
        assert pool.driver.arrivals.watch is not None
    finally:
        pool.driver.close()


def test_stopped_successor_takes_nothing_over(opened: tuple[Opened, socket.socket]) -> None:
    """It has closed its listeners, and waits for a worker to go, when the old parent dies."""
    made, old = opened
    pool = successor(made)
    pool.driver.handover.begin()
    try:
        pool.driver.core.stop(0.0)
        carry_out(pool)
        old.close()
        pool.driver.handover._old_parent_speaks()
        assert pool.driver.core.state is ParentState.DRAINING
        assert pool.driver.arrivals.watch is None
    finally:
        pool.driver.close()
