"""A successor's baton, where it ends at a moment when nobody may take anything over."""

from __future__ import annotations

import socket

import pytest
import trio
from backchannel import PoolState, Scaling, Settings
from backchannel_server.opening import open_all
from backchannel_trio.parent import Pool

pytestmark = pytest.mark.trio


async def test_stopped_successor_takes_nothing_over() -> None:
    """It has closed its listeners, and waits for a worker to go, when the old parent dies."""
    opened = open_all(["127.0.0.1:0"], environment={})
    old, opened.baton = socket.socketpair()
    opened.baton.setblocking(False)
    try:
        pool = Pool(None, opened, Settings(), Scaling.fixed(1))  # type: ignore[arg-type]
        pool.core.stop(trio.current_time())
        for action in pool.core.take_actions():
            pool._do(action)
        old.close()
        await pool._await_baton(opened.baton)
        assert pool.core.state is PoolState.DRAINING
        assert pool._poller is None
    finally:
        opened.close()
