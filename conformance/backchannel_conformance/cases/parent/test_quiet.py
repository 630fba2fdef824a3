"""A parent that can do nothing does nothing, whatever state its workers are in."""

from __future__ import annotations

import signal
import time

import pytest
from backchannel_conformance import kernel
from backchannel_conformance.errors import check
from backchannel_conformance.fixtures import Parents
from backchannel_conformance.parent_under_test import ParentUnderTest
from backchannel_conformance.waiting import scale

WAKEUPS = 20
LOOKS = 25


def quiet(parent: ParentUnderTest, what: str) -> None:
    """The parent does next to nothing for half a second. One that spins can always run, however busy the machine is."""
    pid = parent.process.pid
    time.sleep(0.1)  # what it was just told of is done
    before, began = kernel.switches(pid), time.monotonic()
    runs = 0
    for _ in range(LOOKS):
        time.sleep(0.02)
        runs += kernel.state(pid) == "R"
    woken, took = kernel.switches(pid) - before, time.monotonic() - began
    check(runs <= LOOKS // 2, "BC-WAIT-03", f"{what}, the parent was running {runs} times of {LOOKS}")
    check(woken <= WAKEUPS * max(1.0, took), "BC-WAIT-03", f"{what}, the parent woke {woken} times in {took:.2f} s")


@pytest.mark.kernel("switches", "state")
@pytest.mark.needs("order_deadline")
@pytest.mark.req("BC-WAIT-03", "BC-WATCH-01", "BC-WATCH-06")
def test_parent_sleeps_in_every_state(parents: Parents) -> None:
    """Workers are STARTING, SUSPECT, DRAINING and LOST while a client waits; then the pool stops."""
    parent = parents(
        start=4,
        min=4,
        max=4,
        order_deadline=0.05 * scale(),
        silence_deadline=60,
        start_deadline=60,
        exit_deadline=60,
        drain_deadline=60,
        stop_deadline=60,
    )
    suspect, draining, lost, _starting = sorted((parent.stub() for _ in range(4)), key=lambda stub: stub.slot)
    suspect.greet()
    quiet(parent, "with one worker READY and three STARTING")
    parent.connect()
    suspect.order("BC-PICK-01")
    quiet(parent, "with one worker SUSPECT, three STARTING, and a client that waits")
    draining.greet()
    draining.order("BC-SILENT-01")
    draining.take()
    draining.status(1, capacity=0)
    draining.drained("BC-CAP-03")
    parent.connect()
    quiet(parent, "with one worker DRAINING, and a client that waits")
    lost.greet()
    lost.order("BC-WATCH-02")
    lost.take()
    lost.call("close")
    parent.connect()
    quiet(parent, "with one worker LOST, and a client that waits")
    parent.signal(signal.SIGTERM)
    quiet(parent, "STOPPING, with a client that waits")
