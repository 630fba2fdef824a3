"""The drawings show every transition and every message, and are well-formed."""

from __future__ import annotations

import sys
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
pytest.importorskip("sphinx")


@pytest.fixture
def charts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "docs" / "_ext"))
    sys.modules.pop("charts", None)
    import charts

    return charts


@pytest.mark.parametrize("name", ["slot", "worker", "parent"])
def test_machine(charts: ModuleType, name: str) -> None:
    table = tomllib.loads((ROOT / "spec" / "1.0" / "protocol.toml").read_text())[name]
    svg = ET.fromstring(charts.machine(name))
    drawn = [text.text or "" for text in svg.iter("text")]
    events = [event for label in drawn for event in label.split(", ")]
    for state in table:
        assert state in drawn
    for transitions in table.values():
        for event, after in transitions.items():
            assert event in events or after == "no effect"
    pairs = {(state, after) for state, events in table.items() for after in events.values() if after != "no effect"}
    assert sum(path.get("class") == "tip" for path in svg.iter("path")) == len(pairs)


def test_messages(charts: ModuleType) -> None:
    svg = ET.fromstring(charts.messages("A worker dies in the middle of an order"))
    drawn = [text.text for text in svg.iter("text")]
    assert drawn[:3] == ["parent", "worker A", "worker B"]
    assert "ACCEPT order=2 listener=0 max=1" in drawn
    assert sum(path.get("class") == "tip" for path in svg.iter("path")) == 3
