"""The mutants: none is stale, and every case is in somebody's list. ``nox -s mutants`` runs them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from backchannel_conformance import coverage
from backchannel_conformance.manifest import ROLES
from backchannel_conformance.requirements import Requirements

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "conformance" / "mutants"


def module_at(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"mutants_{path.parent.name}_{path.stem}", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wrong() -> ModuleType:
    return module_at(FOLDER / "wrong" / "__init__.py")


def test_none_is_stale(apply_each: Callable[..., dict[str, str]]) -> None:
    said = apply_each("wrong", FOLDER)
    assert len(said) >= 200
    assert not {name: text for name, text in said.items() if text}


def test_each_says_what_it_breaks(wrong: ModuleType) -> None:
    roles = {case.id: case.role for case in coverage.cases()}
    known = Requirements.load()
    for mutant in wrong.every():
        assert mutant.role in ROLES, mutant.name
        assert mutant.breaks in known, mutant.name
        assert {roles.get(case) for case in mutant.kills} == {mutant.role}, mutant.name


def test_names_are_unique_without_their_module(wrong: ModuleType) -> None:
    names = Counter(mutant.name.partition(":")[2] for mutant in wrong.every())
    assert [name for name, count in names.items() if count > 1] == []


def test_each_requirement_is_broken_by_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    runner = module_at(FOLDER / "__main__.py")
    assert runner.whole() == []
    assert runner.unkilled() == []


def unchanged(number: int, *, more: int = 1) -> int:
    """Something to break."""
    return number + more


class Something:
    """With a property to break."""

    @property
    def figure(self) -> int:
        return 1


@pytest.mark.parametrize(("old", "count"), [("nowhere", 0), ("number", 2)])
def test_stale_text_is_named(wrong: ModuleType, old: str, count: int) -> None:
    with pytest.raises(wrong.Stale, match=rf"unchanged holds this {count} times, not once: '{old}'"):
        wrong.rewrite(unchanged, old, "x")


@pytest.fixture
def put_back() -> Callable[[], None]:
    code, figure = unchanged.__code__, Something.figure.fget.__code__  # type: ignore[attr-defined]
    defaults = unchanged.__kwdefaults__

    def restore() -> None:
        unchanged.__code__, unchanged.__kwdefaults__ = code, defaults
        Something.figure.fget.__code__ = figure  # type: ignore[attr-defined]

    return restore


def test_function_is_changed_where_it_is_known_already(wrong: ModuleType, put_back: Callable[[], None]) -> None:
    known, something = unchanged, Something()
    try:
        wrong.rewrite(unchanged, "more: int = 1", "more: int = 2")
        wrong.rewrite(unchanged, "return number", "return 10 * number")
        wrong.rewrite(Something.figure, "return 1", "return 3")
        assert known(1) == 12, "both pieces are changed"
        assert something.figure == 3
    finally:
        put_back()
    assert (known(1), something.figure) == (2, 1)


def test_rule_is_broken_in_that_process_alone(tmp_path: Path) -> None:
    script = tmp_path / "say.py"
    script.write_text("from backchannel import Gone, encode, decode\nprint(encode(Gone(1, 2)).hex())\n")
    name = "core_frames:reserved-octet-ignored"
    command = [sys.executable, str(FOLDER / "mutate.py"), name, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1047000000000000000000000000000100000002"


@pytest.mark.parametrize("name", ["no-such", "core_frames:no-such", "no_such:x"])
def test_unknown_mutant(name: str) -> None:
    done = subprocess.run([sys.executable, str(FOLDER), name], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"there is no mutant {name!r}" in done.stderr
