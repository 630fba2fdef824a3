"""Every MUST has a case or a written reason why not, every case names what it checks, and an id is for ever."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from backchannel_conformance.coverage import Check, cases, checks, exclusions, gaps, generated_checks, killers
from backchannel_conformance.requirements import Requirements

ROOT = Path(__file__).parents[2]


def load() -> ModuleType:
    """``spec/ledger.py``, which is no module of any package."""
    spec = importlib.util.spec_from_file_location("ledger", ROOT / "spec" / "ledger.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


LEDGER = load()
REQUIREMENTS = Requirements.load()


def test_the_ledger_is_what_the_prose_says() -> None:
    written = json.loads((ROOT / "spec" / "1.0" / "requirements.json").read_text())
    found = LEDGER.extract()
    assert written["requirements"] == found, "run python spec/ledger.py"
    assert len(found) > 100
    assert not LEDGER.lost(written["requirements"], found)


def test_no_gap_in_either_direction() -> None:
    assert gaps(REQUIREMENTS, checks(), exclusions()) == []


NEW = replace(REQUIREMENTS["BC-HERD-01"], id="BC-NEW-01")


@pytest.mark.parametrize(
    ("requirements", "more", "excluded", "said"),
    [
        ({"BC-NEW-01": NEW}, [], {}, "BC-NEW-01 (MUST) has no case, no vector, no generated step and no exclusion"),
        ({}, ["BC-OLD-01"], {}, "test_x checks BC-OLD-01, which the specification does not have"),
        ({"BC-NEW-01": replace(NEW, withdrawn="why")}, ["BC-NEW-01"], {}, "BC-NEW-01, which was withdrawn"),
        ({"BC-NEW-01": NEW}, ["BC-NEW-01"], {"BC-NEW-01": "why"}, "BC-NEW-01 is excluded, and a case checks it"),
        ({"BC-NEW-01": NEW}, [], {"BC-NEW-01": " "}, "BC-NEW-01 is excluded without a reason"),
        ({}, [], {"BC-OLD-01": "why"}, "BC-OLD-01 is excluded, and the specification does not have it"),
        ({"BC-NEW-01": replace(NEW, level="SHOULD")}, [], {"BC-NEW-01": "why"}, "is excluded, and needs no check"),
        ({}, [], {}, "test_x names no requirement"),
    ],
)  # fmt: skip
def test_each_gap_is_found(
    requirements: dict[str, object], more: list[str], excluded: dict[str, str], said: str
) -> None:
    every = {**REQUIREMENTS, **requirements}
    found = gaps(every, [*checks(), Check("case", "test_x", "pool", tuple(more))], {**exclusions(), **excluded})  # type: ignore[arg-type]
    assert any(said in line for line in found)


@pytest.mark.parametrize("kind", ["case", "vector", "step"])
def test_each_kind_of_check_is_enough(kind: str) -> None:
    assert gaps({"BC-NEW-01": NEW}, [Check(kind, "x", "pool", ("BC-NEW-01",))], {}) == []


def test_generated_steps_are_read(tmp_path: Path) -> None:
    path = tmp_path / "parent" / "checks.toml"
    path.parent.mkdir()
    assert generated_checks(tmp_path) == []
    path.write_text('["BC-PICK-01"]\nrole = "parent"\nstep = "which worker is ordered"\n')
    assert generated_checks(tmp_path) == [Check("step", "which worker is ordered", "parent", ("BC-PICK-01",))]


BLOCK = ".. req:: BC-X-01\n   :level: MUST\n   :role: parent\n   :class: minimum\n\n   It MUST be ``one``.\n"


def test_a_block_is_read() -> None:
    [one] = LEDGER.parse("page", BLOCK + "\nProse.\n")
    assert one["text"] == "It MUST be one."
    assert (one["id"], one["level"], one["role"], one["since"], one["page"]) == (
        "BC-X-01", "MUST", ["parent"], "1.0", "page",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("BC-X-01", "X-1", "an id is BC-WORD-NN"),
        (":level: MUST", ":level: WILL", "the level is one of"),
        (":level: MUST", ":level: MUST NOT", "does not say MUST NOT"),
        (":role: parent", ":role: child", "the roles are from"),
        (":class: minimum", ":klass: minimum", "unknown options ['klass']"),
        ("   It MUST be ``one``.", "", "there is no sentence"),
        (".. req:: BC-X-01\n   :level", ".. req:: BC-X-01\n  :level", "indent them by three spaces"),
    ],
)
def test_a_wrong_block_is_named(old: str, new: str, said: str) -> None:
    with pytest.raises(LEDGER.Fault, match=said.replace("[", r"\[")):
        LEDGER.parse("page", BLOCK.replace(old, new))


def test_an_id_cannot_leave_or_stand_twice(tmp_path: Path) -> None:
    (tmp_path / "a.rst").write_text(BLOCK)
    (tmp_path / "b.rst").write_text(BLOCK)
    with pytest.raises(LEDGER.Fault, match="stands in a already"):
        LEDGER.extract(tmp_path)
    assert LEDGER.lost([{"id": "BC-X-01"}, {"id": "BC-X-02"}], [{"id": "BC-X-02"}]) == ["BC-X-01"]


def test_what_controls_and_mutants_kill_is_a_case() -> None:
    known = {case.id for case in cases()}
    killed = killers([ROOT / "conformance" / "controls", ROOT / "conformance" / "mutants"])
    assert killed
    assert killed.keys() <= known
