"""No file of the specification changes without its candidate's number and a line that says why."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

SPEC = Path(__file__).parents[2] / "spec"


@pytest.fixture
def candidate(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.syspath_prepend(str(SPEC))
    for name in ("candidate", "ledger"):
        sys.modules.pop(name, None)
    import candidate

    return candidate


def test_nothing_has_changed_since_the_candidate() -> None:
    done = subprocess.run(
        [sys.executable, str(SPEC / "candidate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_number_stands_everywhere() -> None:
    name = json.loads((SPEC / "candidate.json").read_text())["candidate"]
    assert f":Status: release candidate {name}\n" in (SPEC / "1.0" / "index.rst").read_text()
    assert tomllib.loads((SPEC / "1.0" / "protocol.toml").read_text())["protocol"]["status"] == name
    changes = (SPEC / "1.0" / "changes.rst").read_text()
    assert [f"1.0rc{number}" for number in range(int(name.partition("rc")[2]), 0, -1)] == [
        line for line in changes.splitlines() if line.startswith("1.0rc")
    ]


def test_a_change_is_found(candidate) -> None:  # type: ignore[no-untyped-def]
    found = candidate.sums()
    assert {"index.rst", "protocol.toml", "requirements.json", "vectors/frames.json", "model/pool.pml"} <= found.keys()
    assert candidate.changed(found, found) == []
    assert candidate.changed(found, {**found, "index.rst": "0"}) == ["index.rst"]
    assert candidate.changed(found, {**found, "new.rst": "0"}) == ["new.rst"]
    assert candidate.changed({**found, "old.rst": "0"}, found) == ["old.rst"]


@pytest.mark.parametrize("arguments", [[], [""], ["--chekc"], ["a", "b"]])
def test_without_a_line_it_says_what_to_do(candidate, capsys, arguments: list[str]) -> None:  # type: ignore[no-untyped-def]
    assert candidate.main(arguments) == 2
    assert capsys.readouterr().err.startswith("candidate: say what has changed")
