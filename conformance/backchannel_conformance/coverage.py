"""Which case checks which requirement, which requirement has no case and why, and what fails on purpose in which case.

The cases are read as text and not run: each test function under ``cases/<role>/`` names its requirements in
``@pytest.mark.req("BC-...")``. Exclusions are data, in ``exclusions.toml`` beside this file. :func:`gaps` compares both
with the ledger, in both directions; the project's own tests fail if it finds any.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .requirements import Requirement

__all__ = ["CaseInfo", "cases", "exclusions", "gaps", "killers"]

HERE = Path(__file__).parent


@dataclass(frozen=True)
class CaseInfo:
    """One case: its name, the role that it belongs to, the ids that it checks, its first line."""

    id: str
    role: str
    requirements: tuple[str, ...]
    about: str


def cases(folder: Path = HERE / "cases") -> list[CaseInfo]:
    """All cases, by role and file. Raises ``ValueError`` for a case that is not told apart by its name."""
    found = [
        CaseInfo(node.name, path.parent.name, tuple(_marks(node)), (ast.get_docstring(node) or "").partition("\n")[0])
        for path in sorted(folder.glob("*/test_*.py"))
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]
    names = [case.id for case in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"cases of one name: {', '.join(twice)}")
    return found


def _marks(node: ast.FunctionDef) -> Iterator[str]:
    """The ids in ``pytest.mark.req(...)``, on the function itself or on its parameters."""
    for decorator in node.decorator_list:
        for call in ast.walk(decorator):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "req":
                for argument in call.args:
                    if not isinstance(argument, ast.Constant) or not isinstance(argument.value, str):
                        raise ValueError(f"{node.name}: the ids in its req mark must be written out")
                    yield argument.value


def exclusions() -> dict[str, str]:
    """Why a requirement has no case, by its id."""
    sections = tomllib.loads((HERE / "exclusions.toml").read_text())
    return {name: reason for section in sections.values() for name, reason in section.items()}


def gaps(
    requirements: Mapping[str, Requirement], cases: Iterable[CaseInfo], exclusions: Mapping[str, str]
) -> list[str]:
    """What is missing or stale, one line each; empty when ledger, cases and exclusions fit together."""
    found = []
    checked = set()
    for case in cases:
        if not case.requirements:
            found.append(f"{case.id} names no requirement")
        for name in case.requirements:
            if name not in requirements:
                found.append(f"{case.id} checks {name}, which the specification does not have")
            elif requirements[name].withdrawn:
                found.append(f"{case.id} checks {name}, which was withdrawn")
            checked.add(name)
    for name, requirement in requirements.items():
        if requirement.binds and name not in checked and name not in exclusions:
            found.append(f"{name} ({requirement.level}) has neither a case nor an exclusion")
    for name, reason in exclusions.items():
        if name not in requirements:
            found.append(f"{name} is excluded, and the specification does not have it")
        elif name in checked:
            found.append(f"{name} is excluded, and a case checks it: take it out of exclusions.toml")
        elif not requirements[name].binds:
            found.append(f"{name} is excluded, and needs no case")
        if not reason.strip():
            found.append(f"{name} is excluded without a reason")
    return found


def killers(folders: Iterable[Path]) -> dict[str, list[str]]:
    """The controls and mutants that fail a case, by the case's id, from their manifests and tables."""
    found: dict[str, list[str]] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.toml")):
            manifest = tomllib.loads(path.read_text())
            for case in manifest.get("expect", {}).get("must_fail", []):
                found.setdefault(case, []).append(manifest["implementation"]["name"])
            for mutant in manifest.get("mutant", []):
                for case in mutant["kills"]:
                    found.setdefault(case, []).append(mutant["name"])
    return found
