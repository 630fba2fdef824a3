"""The table of mutants: none is stale, and every case is in somebody's list. ``nox -s mutants`` runs them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from backchannel_conformance import coverage
from backchannel_conformance.manifest import ROLES
from backchannel_conformance.requirements import Requirements

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "conformance" / "mutants"


def module_at(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"mutants_{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MUTATE = module_at(FOLDER / "mutate.py")
TABLE = MUTATE.table()
CASES = {case.id: case.role for case in coverage.cases()}


def source_of(name: str) -> str:
    spec = importlib.util.find_spec(name)
    assert spec
    assert spec.origin
    return Path(spec.origin).read_text()


@pytest.mark.parametrize("mutant", TABLE, ids=lambda mutant: mutant["name"])
def test_mutant_fits_the_source(mutant: dict[str, Any]) -> None:
    compile(MUTATE.changed(mutant, source_of(mutant["module"])), mutant["module"], "exec")
    assert mutant["role"] in ROLES
    assert mutant["breaks"] in Requirements.load()
    assert mutant["kills"]
    assert {CASES[case] for case in mutant["kills"]} == {mutant["role"]}


def test_names_are_unique() -> None:
    names = [mutant["name"] for mutant in TABLE]
    assert len(names) == len(set(names)) >= 15


def test_each_requirement_is_broken_by_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    runner = module_at(FOLDER / "__main__.py")
    assert runner.whole() == []
    assert runner.unkilled() == []


def test_stale_mutant_is_named() -> None:
    with pytest.raises(MUTATE.Stale, match=r"'m' is stale; fix mutants\.toml: x holds this 0 times, not once: 'a'"):
        MUTATE.changed({"name": "m", "module": "x", "old": "a", "new": "b"}, "c")


def test_rule_is_broken_in_that_process_alone(tmp_path: Path) -> None:
    script = tmp_path / "say.py"
    script.write_text("from backchannel import Gone, encode, decode\nprint(encode(Gone(1, 2)).hex())\n")
    command = [sys.executable, str(FOLDER / "mutate.py"), "reserved-octet-ignored", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1047000000000000000000000000000100000002"


def test_unknown_mutant(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(FOLDER), "no-such"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there is no mutant 'no-such'" in done.stderr
