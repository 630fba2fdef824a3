"""Histories that chance has made up, each frame and each connection compared with the model of a worker."""

from __future__ import annotations

from functools import partial

import pytest
from backchannel_conformance.fixtures import Workers
from backchannel_conformance.histories.plan import plan
from backchannel_conformance.histories.worker.generate import generate
from backchannel_conformance.histories.worker.play import Player
from backchannel_conformance.histories.worker.scenario import Setting
from backchannel_conformance.manifest import Manifest
from backchannel_conformance.worker_under_test import WorkerUnderTest

event = pytest.mark.classes("event")
CHUNK = 50
"""Histories of one case: the workers that it starts serve for many of them."""


def chunks(share: float) -> list[int]:
    """The seeds of so many cases as play this share of the histories."""
    count = max(1, round(plan().histories * share / CHUNK))
    return list(range(plan().seed, plan().seed + count))


def start(workers: Workers, setting: Setting) -> WorkerUnderTest:
    """A worker of this setting, which nobody has greeted."""
    return workers(
        capacity=setting.capacity,
        listeners=setting.listeners - setting.useless,
        useless=setting.useless,
        quota=setting.quota,
        drain_deadline=setting.drain_deadline,
    )


@pytest.mark.histories
@pytest.mark.parametrize(
    ("capacity", "seed"),
    [
        *((1, seed) for seed in chunks(1 / 3)),
        *(pytest.param(4, seed, marks=event) for seed in chunks(2 / 3)),
    ],
)
@pytest.mark.req("BC-WORK-01", "BC-WORK-02")
def test_histories_of_a_worker(workers: Workers, manifest: Manifest, capacity: int, seed: int) -> None:
    """Orders, clients, faults and ends, as they come: the worker does what the specification says, and nothing else."""
    listeners = 3 if "listeners" in manifest.classes else 1
    quota = "quota" in manifest.roles["worker"].placeholders
    made_up = generate(seed, min(CHUNK, plan().histories), capacity, listeners=listeners, quota=quota)
    Player(partial(start, workers)).play(made_up)
