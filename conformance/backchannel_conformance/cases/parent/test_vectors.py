"""The vectors of a parent, which its core may have been tested with, played against the running parent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from backchannel_conformance.errors import NOT_APPLICABLE, UNTESTABLE, RequirementViolated
from backchannel_conformance.histories.parent import chart, trial
from backchannel_conformance.histories.parent.play import Abandoned, Deviation
from backchannel_conformance.histories.parent.vectors import scenario_of
from backchannel_conformance.manifest import Manifest
from backchannel_conformance.port_output import short_logs
from backchannel_conformance.requirements import folder

TRACES = json.loads((folder() / "vectors" / "parent.json").read_text())["traces"]


@pytest.mark.histories
@pytest.mark.parametrize("vector", [pytest.param(one, id=one["name"]) for one in TRACES])
@pytest.mark.req("BC-RULE-01")
def test_vectors(manifest: Manifest, tmp_path: Path, vector: dict[str, Any]) -> None:
    """What is read and what time it is, as in the vector: what the parent does is what the model does."""
    scenario = scenario_of(vector["trace"])
    fixed = scenario.options.get("start") == scenario.options.get("min") == scenario.options.get("max")
    implied = {"start", "min", "pass", "listen", "policy", "max_spare", *({"max_per_order"} if fixed else ())}
    missing = set(scenario.options) - manifest.roles["parent"].placeholders - implied
    if missing or ("scaling" not in manifest.classes and not fixed):
        pytest.skip(f"{NOT_APPLICABLE}{manifest.name} does not offer {', '.join(sorted(missing)) or 'scaling'}")
    if "listen" in scenario.options and "listeners" not in manifest.classes:
        pytest.skip(f"{NOT_APPLICABLE}{manifest.name} does not declare class 'listeners'")
    try:
        with short_logs(tmp_path):
            trial.play(manifest, scenario, tmp_path)
    except Deviation as deviation:
        raise RequirementViolated(deviation.clause, f"{deviation.what}; {chart.show(deviation)}") from None
    except Abandoned as reason:
        pytest.skip(f"{UNTESTABLE}{reason}")
