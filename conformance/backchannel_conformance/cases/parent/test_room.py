"""How long a client waits for the parent when room returns."""

from __future__ import annotations

import time
from typing import Any

import pytest
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Parents
from backchannel_conformance.waiting import scale

TIMES = 50


@pytest.mark.parametrize("workers", [1, 16])
@pytest.mark.req("BC-WATCH-07", "BC-WATCH-03", "BC-WAIT-01")
def test_first_order_after_room_returns(parents: Parents, figures: dict[str, Any], workers: int) -> None:
    """All workers are full and clients wait; one reports room, and is ordered at once.

    The time is taken from before the report is asked of the stub until its order has been read and told: an upper
    bound, which holds two exchanges of the suite with its stub; the same two exchanges without the parent are taken
    for comparison.
    """
    parent = parents.pool(workers)
    for stub in parent.workers:
        parent.connect()
        stub.order("BC-WATCH-02")
        stub.take()
    took, own = [], []
    for _ in range(TIMES):
        parent.connect()
        stub = parent.workers[-1]
        began = time.monotonic()
        stub.waiting()
        stub.waiting()
        own.append(time.monotonic() - began)
        stub.call("finish")
        began = time.monotonic()
        stub.status(stub.open - 1)
        stub.order("BC-WATCH-07")
        took.append(time.monotonic() - began)
        stub.take()
    took.sort()
    own.sort()
    figures[f"ms from room to the first order, {workers} full workers: median, worst, of it the suite's own"] = (
        f"{took[TIMES // 2] * 1000:.3f}, {took[-1] * 1000:.3f}, {own[TIMES // 2] * 1000:.3f}"
    )
    check(
        took[TIMES // 2] < 0.1 * scale(), "BC-WATCH-07", f"half of the orders came later than {took[TIMES // 2]:.3f} s"
    )
