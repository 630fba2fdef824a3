"""What checks which requirement, which requirement nothing checks and why, and what fails on purpose in which case.

There are three kinds of checks, and this is the ledger of all of them:

- *cases*: read as text and not run. Each test function under ``cases/<role>/`` names its requirements in
  ``@pytest.mark.req("BC-...")``.
- *vectors*: each names its requirements in ``req``. A port plays them against its own core.
- *generated steps*: the comparisons that are made after each step of a generated history, as
  ``checks.toml`` in the folder of each role of ``histories`` states them: a table for each requirement, with the
  ``role`` and the ``step``.

Exclusions are data, in ``exclusions.toml`` beside this file. :func:`gaps` compares everything with the specification's
ledger, in both directions; the project's own tests fail if it finds any.
"""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from .requirements import Requirement, folder

__all__ = ["Check", "by_requirement", "cases", "checks", "exclusions", "gaps", "generated_checks", "killers", "vectors"]

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Check:
    """One case, vector or generated step: which ``kind`` it is, its name, the role that it belongs to (none, for a
    vector), the ids that it checks, and a line about it.
    """

    kind: str
    id: str
    role: str
    requirements: tuple[str, ...]
    about: str = ""


def checks() -> list[Check]:
    """All of the three kinds."""
    return [*cases(), *vectors(), *generated_checks()]


def by_requirement(checks: Iterable[Check]) -> dict[str, list[Check]]:
    """The checks of each requirement that has any, by its id."""
    found: dict[str, list[Check]] = {}
    for check in checks:
        for name in check.requirements:
            found.setdefault(name, []).append(check)
    return found


def cases(under: Path = HERE / "cases") -> list[Check]:
    """All cases, by role and file. Raises ``ValueError`` for a case that is not told apart by its name."""
    found = [
        Check(
            "case", node.name, path.parent.name, tuple(_marks(node)), (ast.get_docstring(node) or "").partition("\n")[0]
        )
        for path in sorted(under.glob("*/test_*.py"))
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


def vectors() -> list[Check]:
    """All vectors of the specification at hand, by file; none if it is not at hand."""
    return [
        Check("vector", f"{path.name}: {one['name']}", "", tuple(one["req"]))
        for path in sorted((folder() / "vectors").glob("*.json"))
        if path.name != "schema.json"
        for group in json.loads(path.read_text()).values()
        if isinstance(group, list)
        for one in group
    ]


def generated_checks(folder: Path = HERE / "histories") -> list[Check]:
    """What the generated histories compare, by role and requirement."""
    return [
        Check("step", table["step"], table["role"], (name,))
        for path in sorted(folder.glob("*/checks.toml"))
        for name, table in tomllib.loads(path.read_text()).items()
    ]


def exclusions() -> dict[str, str]:
    """Why nothing checks a requirement, by its id."""
    sections = tomllib.loads((HERE / "exclusions.toml").read_text())
    return {name: reason for section in sections.values() for name, reason in section.items()}


def gaps(requirements: Mapping[str, Requirement], checks: Iterable[Check], exclusions: Mapping[str, str]) -> list[str]:
    """What is missing or stale, one line each; empty when ledger, checks and exclusions fit together."""
    found = []
    checked: dict[str, str] = {}
    for check in checks:
        if not check.requirements:
            found.append(f"{check.id} names no requirement")
        for name in check.requirements:
            if name not in requirements:
                found.append(f"{check.id} checks {name}, which the specification does not have")
            elif requirements[name].withdrawn:
                found.append(f"{check.id} checks {name}, which was withdrawn")
            checked.setdefault(name, check.kind)
    for name, requirement in requirements.items():
        if requirement.binds and name not in checked and name not in exclusions:
            found.append(f"{name} ({requirement.level}) has no case, no vector, no generated step and no exclusion")
    for name, reason in exclusions.items():
        if name not in requirements:
            found.append(f"{name} is excluded, and the specification does not have it")
        elif name in checked:
            found.append(f"{name} is excluded, and a {checked[name]} checks it: take it out of exclusions.toml")
        elif not requirements[name].binds:
            found.append(f"{name} is excluded, and needs no check")
        if not reason.strip():
            found.append(f"{name} is excluded without a reason")
    return found


def killers(folders: Iterable[Path]) -> dict[str, list[str]]:
    """The controls and mutants that fail a case, by the case's id, from their manifests and tables."""
    found: dict[str, list[str]] = {}
    for place in folders:
        for path in sorted(place.glob("*.toml")):
            manifest = tomllib.loads(path.read_text())
            for case in manifest.get("expect", {}).get("must_fail", []):
                found.setdefault(case, []).append(manifest["implementation"]["name"])
            for mutant in manifest.get("mutant", []):
                for case in mutant["kills"]:
                    found.setdefault(case, []).append(mutant["name"])
    return found
