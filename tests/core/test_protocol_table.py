"""The core and ``spec/1.0/protocol.toml`` say the same."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import backchannel
import pytest
from backchannel import FRAME_SIZE, VERSION, Features, Reason, Scaling, Settings, Type
from backchannel.states import PARENT, SLOT, WORKER, ParentEvent, ParentState
from backchannel_server.accepting import reason_for

ROOT = Path(__file__).parents[2]
PROTOCOL: dict[str, Any] = tomllib.loads((ROOT / "spec" / "1.0" / "protocol.toml").read_text())


def test_frame_layout() -> None:
    assert PROTOCOL["protocol"]["wire_version"] == VERSION
    assert PROTOCOL["protocol"]["frame_size"] == FRAME_SIZE == sum(part["size"] for part in PROTOCOL["layout"])
    ends = 0
    for part in PROTOCOL["layout"]:
        assert part["offset"] == ends
        ends += part["size"]


def test_messages() -> None:
    assert {name: message["type"] for name, message in PROTOCOL["message"].items()} == {
        kind.name: kind for kind in Type
    }


def test_reasons_and_features() -> None:
    assert PROTOCOL["reason"] == {reason.name: reason for reason in Reason}
    assert PROTOCOL["features"] == {"RESPONSIVE": Features.RESPONSIVE}


def test_the_pages_tell_the_numbers() -> None:
    """Who has only the rendered specification must find them."""
    page = (ROOT / "spec" / "1.0" / "messages.rst").read_text()
    for name, number in PROTOCOL["reason"].items():
        assert f"   * - {number}\n     - ``{name}``\n" in page
    assert (
        f"``{PROTOCOL['features']['RESPONSIVE']:#06x}``, is *RESPONSIVE*"
        in (ROOT / "spec" / "1.0" / "versioning.rst").read_text()
    )


@pytest.mark.parametrize("name", ["EMPTY", "PEER", "WORKER", "SYSTEM"])
def test_errnos(name: str) -> None:
    import errno

    for code in PROTOCOL["errno"][name]:
        if hasattr(errno, code):
            assert reason_for(getattr(errno, code)) is Reason[name]
    assert reason_for(errno.EBADF) is Reason.UNUSABLE


@pytest.mark.parametrize(("table", "machine"), [("slot", SLOT), ("worker", WORKER), ("parent", PARENT)])
def test_machines(table: str, machine: dict[Any, dict[Any, Any]]) -> None:
    written = {
        state.value: {event.value: after.value if after else "no effect" for event, after in events.items()}
        for state, events in machine.items()
    }
    assert written == PROTOCOL[table]


def test_the_parents_own_table_is_total() -> None:
    """Signals, workers and other parents ask nobody what the parent is doing."""
    events = {event for state in PROTOCOL["parent"].values() for event in state}
    assert events == {event.value for event in ParentEvent}
    assert {state: set(listed) for state, listed in PROTOCOL["parent"].items()} == {
        state.value: events for state in ParentState
    }
    page = (ROOT / "spec" / "1.0" / "lifecycle.rst").read_text()
    assert [event for event in events if f"\n``{event}``\n" not in page] == []


def test_every_setting_is_explained() -> None:
    page = (ROOT / "spec" / "1.0" / "defaults.rst").read_text()
    names = [*PROTOCOL["defaults"], *PROTOCOL["scaling"]]
    assert [name for name in names if f"   * - *{name}*\n" not in page] == []


def test_defaults() -> None:
    settings = {field.name: field.default for field in fields(Settings)}
    defaults = PROTOCOL["defaults"]
    assert {name: settings[name] for name in defaults} == defaults
    scaling = {field.name: field.default for field in fields(Scaling)}
    renamed = {"period" if name == "pass" else name: value for name, value in PROTOCOL["scaling"].items()}
    assert renamed == scaling


def test_exit_statuses() -> None:
    assert {name: getattr(backchannel, name) for name in PROTOCOL["exit_status"]} == PROTOCOL["exit_status"]
