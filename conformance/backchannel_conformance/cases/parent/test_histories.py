"""Random histories of a pool, each step compared with what the specification leads to."""

from __future__ import annotations

from pathlib import Path

import pytest
from backchannel_conformance.errors import UNTESTABLE, RequirementViolated
from backchannel_conformance.histories.parent import trial
from backchannel_conformance.histories.plan import plan
from backchannel_conformance.manifest import Manifest
from backchannel_conformance.port_output import short_logs

LEAST = 10
"""Steps of a seed that say something."""


@pytest.mark.histories
@pytest.mark.parametrize("seed", plan().seeds)
@pytest.mark.req("BC-RULE-01")
def test_histories_of_a_parent(manifest: Manifest, tmp_path: Path, seed: int) -> None:
    """Whatever workers, clients and time do: all that can be seen of the parent is what the model does."""
    with short_logs(tmp_path):
        done = trial.run(manifest, seed, tmp_path)
    if done.clause:
        raise RequirementViolated(done.clause, done.report)
    if done.abandoned and done.steps < LEAST:
        pytest.skip(f"{UNTESTABLE}only {done.steps} steps could be judged: {done.abandoned[0]}")
