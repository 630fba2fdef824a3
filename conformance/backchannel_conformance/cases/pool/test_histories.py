"""Histories that chance has made up: clients come and go, workers are killed and stopped, the pool is reloaded."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from backchannel_conformance.errors import RequirementViolated
from backchannel_conformance.fixtures import Pools
from backchannel_conformance.histories.plan import plan
from backchannel_conformance.histories.pool.scenario import Step, histories
from backchannel_conformance.histories.pool.stage import PoolStage
from backchannel_conformance.histories.shrink import shrink
from backchannel_conformance.manifest import DEFAULTS

event = pytest.mark.classes("event")
CHUNK = 50
"""Histories that one pool lives through."""
SLOTS = 3
ORDER_DEADLINE = 0.2
"""Seconds: an order to a worker that is stopped has to expire before its client is served."""

LONG = "3600"
"""Seconds."""


def chunks() -> range:
    """The seeds, one for each pool."""
    return range(plan().seed, plan().seed + max(1, round(plan().histories / CHUNK)))


@pytest.mark.histories
@pytest.mark.kernel("established", "state")
@pytest.mark.needs("status", "order_deadline")
@pytest.mark.parametrize("seed", chunks())
@pytest.mark.parametrize("capacity", [1, pytest.param(3, marks=event)])
@pytest.mark.req("BC-LOSS-01", "BC-LOSS-02", "BC-LOAD-01", "BC-LOAD-02", "BC-SCALE-11", "BC-HERD-03")
def test_histories_of_a_pool(pools: Pools, capacity: int, seed: int) -> None:
    """Whatever happens, nobody is lost before accept, and the parent's figures are the kernel's."""
    reload = "reload" in pools.manifest.classes
    offered = pools.manifest.roles["pool"].placeholders
    # by level, as most systems can only, in every second one
    poller = "poll" if seed % 2 == 0 and "poller" in offered else "auto"
    # however slow the machine is, nobody is killed but by a step
    drain, silence = (LONG if name in offered else DEFAULTS[name] for name in ("drain_deadline", "silence_deadline"))

    def stage() -> PoolStage:
        pool = pools(
            SLOTS,
            capacity=capacity,
            order_deadline=ORDER_DEADLINE,
            poller=poller,
            drain_deadline=drain,
            silence_deadline=silence,
        )
        return PoolStage(pool, SLOTS, capacity)

    def told(error: RequirementViolated, played: PoolStage, note: str = "") -> RequirementViolated:
        script = "\n".join(f"    {number}. {line}" for number, line in enumerate(played.trace, 1))
        return RequirementViolated(
            error.requirement, f"{error.seen}\n  seed {seed}, capacity {capacity}{note}:\n{script}"
        )

    def again(steps: Sequence[Step]) -> tuple[Sequence[Step], RequirementViolated] | None:
        played = stage()
        try:
            for step in steps:
                played.play(step)
            played.finish()
        except RequirementViolated as error:
            return steps, told(error, played)
        finally:
            played.close()
        return None

    played = stage()
    done: list[Step] = []
    try:
        for steps in histories(seed, min(CHUNK, plan().histories), SLOTS, reload=reload):
            done.clear()
            played.trace.clear()
            for step in steps:
                done.append(step)
                played.play(step)
            played.finish()
        played.stop()
    except RequirementViolated as error:
        if not plan().shrinks:
            raise told(error, played) from None
        shorter = shrink(done, again)
        raise (
            shorter[1] if shorter else told(error, played, "; played again on a fresh pool, it did not fail")
        ) from None
    finally:
        played.close()
