"""Any octets, from either end: no crash, no hang, and nobody suffers but who wrote them.

This is the short form. ``nox -s fuzz`` gives the same targets a million inputs, and a fuzzer that looks at coverage.
"""

from __future__ import annotations

import random
import tracemalloc

import hostile
import pytest
from backchannel import (
    VERSION,
    Busy,
    Features,
    Gone,
    Hello,
    Idle,
    Parent,
    Scaling,
    Settings,
    WorkerSide,
    decode,
    encode,
)
from backchannel.slots import Worker
from effort import at_least
from hypothesis import given
from hypothesis import strategies as st

TARGETS = {"parent": hostile.parent, "worker": hostile.worker}


@pytest.mark.parametrize("target", TARGETS)
def test_any_octets(target: str) -> None:
    @at_least(500)
    @given(st.binary(max_size=400))
    def run(octets: bytes) -> None:
        TARGETS[target](octets)

    run()


def many(target: str) -> None:
    """Long random histories, always the same."""
    chance = random.Random(20)
    for _ in range(500):
        TARGETS[target](chance.randbytes(chance.randrange(2000)))


@pytest.mark.parametrize("target", TARGETS)
def test_long_histories(target: str) -> None:
    many(target)


def test_the_targets_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent that applies whatever a report says, and a worker that speaks on after a violation, are found."""

    right = Worker.report

    def report(worker: Worker, raw: bytes, ceiling: int) -> Busy | Gone | Idle:
        frame = decode(raw)
        if not isinstance(frame, Gone):
            return right(worker, raw, ceiling)
        worker.open = frame.open
        return frame

    monkeypatch.setattr(Worker, "report", report)
    with pytest.raises(AssertionError, match="ever ordered to take"):
        many("parent")
    monkeypatch.setattr(WorkerSide, "outgoing", lambda side: b"spoken")
    with pytest.raises(AssertionError, match="writes after a violation"):
        many("worker")


def test_memory_of_a_parent_whose_worker_never_stops_writing() -> None:
    """A worker writes a million octets that are refused from the first frame on: nothing of them is kept."""
    core = Parent(Settings(), Scaling.fixed(1))
    core.start(0.0)
    core.received(0, encode(Idle(1, Hello(VERSION, VERSION, Features.NONE))), 0.0)
    core.take_actions()
    tracemalloc.start()
    try:
        for _ in range(15_000):
            core.received(0, b"\x10" * 67, 0.0)
        current, _peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert current < 8192, current
