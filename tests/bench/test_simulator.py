"""The simulator: what can be calculated without it, and what a real pool does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import load_generator
import servers_under_test
import simulator


def alone(count: int) -> simulator.Arrivals:
    """Connections so far apart that each is served before the next one comes."""
    return iter([(1.0, 0.001)] * count)


def test_the_lowest_worker_serves_alone_what_comes_alone() -> None:
    found = simulator.serve("lowest", 8, 1, alone(50))
    assert found.served == [50] + [0] * 7
    assert found.latencies == pytest.approx([0.001 + simulator.HOP] * 50)


def test_lifo_serves_alone_what_comes_alone_and_hash_does_not() -> None:
    assert simulator.serve("LIFO", 8, 0, alone(50)).touched == 1
    assert simulator.serve("hash", 8, 0, alone(50)).touched == 8


def test_nothing_is_lost_at_full_load() -> None:
    for how in (*simulator.POLICIES, *simulator.KERNEL):
        found = simulator.serve(how, 4, 1, simulator.heavy_tail(20_000, 2000))
        assert len(found.latencies) == sum(found.served) == 2000, how


def test_hash_makes_light_ones_wait_behind_heavy_ones() -> None:
    def light(how: str, capacity: int) -> float:
        return simulator.serve(how, 16, capacity, simulator.heavy_tail(15_000, 6000)).quantile(0.9)

    assert light("least-loaded", 64) < 0.2 * light("hash", 0)


@pytest.mark.skipif(sys.platform != "linux", reason="figures of processes come from /proc")
def test_a_real_pool_holds_what_the_simulated_one_holds() -> None:
    simulated = simulator.serve("least-loaded", 8, 64, simulator.hold(5000, 200))
    # a machine that is full of work is no silent worker
    server = servers_under_test.sync(64, 8, "--order-deadline", "60").start()
    load = load_generator.LoadGenerator()
    try:
        real = load.run(server.address, load_generator.hold(200, 0, at_once=1))
    finally:
        load.close()
        server.stop()
    assert real["errors"] == 0
    assert (real["spread"], real["workers"]) == (simulated.spread, 8) == (0, 8)
