"""Histories that chance has made up, each frame and each connection compared with the model of a worker."""

from __future__ import annotations

from functools import partial

import pytest
from backchannel_conformance.fixtures import Workers
from backchannel_conformance.histories.worker_generate import generate
from backchannel_conformance.histories.worker_play import Player
from backchannel_conformance.histories.worker_scenario import Setting
from backchannel_conformance.worker_under_test import WorkerUnderTest

event = pytest.mark.classes("event")


def start(workers: Workers, setting: Setting) -> WorkerUnderTest:
    """A worker of this setting, which nobody has greeted."""
    return workers(
        capacity=setting.capacity,
        listeners=setting.listeners - setting.useless,
        useless=setting.useless,
        quota=setting.quota,
        drain_deadline=setting.drain_deadline,
    )


@pytest.mark.parametrize("capacity", [1, pytest.param(4, marks=event)])
@pytest.mark.req("BC-BUSY-01")
def test_worker_histories(workers: Workers, capacity: int) -> None:
    """Orders, clients, faults and ends, as they come: the worker does what the specification says, and nothing else."""
    Player(partial(start, workers)).play(generate(1, 100 if capacity == 1 else 200, (capacity,)))
