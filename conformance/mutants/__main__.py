"""The mutant runner: ``python conformance/mutants``, which is ``nox -s mutants``.

Each mutant runs the cases that must kill it. A mutant that survives fails the run, and so does a case that neither a
mutant nor a control kills: it shows nothing. With ``--all`` each mutant runs all cases of its role, and the table shows
which other cases fail on it: a case that fails on many says little.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from backchannel_conformance import coverage, manifest
from backchannel_conformance.cli import CASES, QUIET, in_own_folder
from backchannel_conformance.fixtures import Fixtures
from backchannel_conformance.plugin import Suite
from backchannel_conformance.requirements import Requirements
from backchannel_conformance.waiting import scale
from wrong import Mutant, every

HERE = Path(__file__).parent
PROGRAM = str(HERE / "mutate.py")
REASONS = HERE / "reasons.toml"
"""Cases that no mutant kills, and requirements that none breaks."""


def reasons(kind: str) -> dict[str, str]:
    """Of one kind: the reason for each case that is ``excused``, or for each requirement that is ``unbroken``."""
    key = {"excused": "case", "unbroken": "requirement"}[kind]
    return {entry[key]: entry["why"] for entry in tomllib.loads(REASONS.read_text())[kind]}


def implementation(mutant: Mutant, whole: bool) -> manifest.Manifest:
    """The sync reference, with its commands going through :mod:`mutate`."""
    sync = manifest.find("sync")
    role = sync.roles[mutant.role]
    commands = {key: (command[0], PROGRAM, mutant.name, *command[1:]) for key, command in role.commands.items()}
    kills = frozenset() if whole else frozenset(mutant.kills)
    roles = {role.name: replace(role, commands=commands)}
    return replace(sync, name=mutant.name, roles=roles, must_fail=kills)


def run(mutants: list[Mutant], whole: bool, factor: float) -> dict[str, dict[str, tuple[str, str]]]:
    """What each case said of each mutant: its verdict and its message."""
    scale(factor)
    suite = Suite([implementation(mutant, whole) for mutant in mutants], strict=False)
    folders = sorted({str(CASES / mutant.role) for mutant in mutants})
    with contextlib.redirect_stdout(io.StringIO()):
        in_own_folder([*QUIET, *folders], [suite, Fixtures()])
    return {
        name: {case.id: (case.status, case.message) for case in target.cases}
        for name, target in suite.report.targets.items()
    }


def spread(mutants: list[Mutant], whole: bool, factor: float, jobs: int) -> dict[str, Any]:
    """:func:`run` in several processes."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        children = []
        for job in range(jobs):
            names = [mutant.name for mutant in mutants[job::jobs]]
            if names:
                out = f"{folder}/{job}.json"
                command = [sys.executable, str(HERE), "--result", out, "--time-scale", str(factor)]
                command += ["--all"] if whole else []
                children.append((subprocess.Popen([*command, *names]), out))
        for child, out in children:
            if child.wait():
                raise SystemExit(f"a part of the run ended with status {child.returncode}")
            found |= json.loads(Path(out).read_text())
    return found


def judge(mutants: list[Mutant], found: dict[str, Any]) -> list[str]:
    """Print the table; return what is wrong."""
    wrong = []
    for mutant in mutants:
        said = found[mutant.name]
        for case in mutant.kills:
            status, message = said.get(case, ("not run", ""))
            killed = status in ("fail", "warn")
            verdict = "killed by" if killed else "SURVIVES"
            print(f"{mutant.breaks:<14} {mutant.name:<36} {verdict:<9} {case}")
            if not killed:
                wrong.append(f"{mutant.name} survives {case}: {status}. {message}".rstrip())
    return wrong


def cross(mutants: list[Mutant], found: dict[str, Any]) -> None:
    """Print which other cases fail on each mutant, and how blunt each case is."""
    blunt: dict[str, list[str]] = defaultdict(list)
    print("\nwho else fails:")
    for mutant in mutants:
        others = [case for case, (status, _) in found[mutant.name].items() if status in ("fail", "error", "warn")]
        others = [case for case in others if case not in mutant.kills]
        print(f"{mutant.name:<36} {len(others):>3}  {' '.join(sorted(others))}")
        for case in others:
            blunt[case].append(mutant.name)
    print("\nbluntest cases (mutants on which they fail without being meant to):")
    for case, names in sorted(blunt.items(), key=lambda item: -len(item[1]))[:15]:
        print(f"{case:<50} {len(names):>3}")


def unkilled() -> list[str]:
    """Cases that no mutant and no control kills and that are not excused; and excuses that are not needed."""
    killed = coverage.killers([HERE.parent / "controls"])
    mine = {case for mutant in every() for case in mutant.kills}
    excused = reasons("excused")
    return [case.id for case in coverage.cases() if (case.id in killed or case.id in mine) is (case.id in excused)]


def whole() -> list[str]:
    """Requirements that bind, that a case checks, and that nothing wrong is known to break; reasons that are stale."""
    killed = set(coverage.killers([HERE.parent / "controls"])).union(*(mutant.kills for mutant in every()))
    broken = {mutant.breaks for mutant in every()}
    broken |= {name for case in coverage.cases() if case.id in killed for name in case.requirements}
    checked = {name for case in coverage.cases() for name in case.requirements}
    unbroken = reasons("unbroken")
    binding = {name for name, requirement in Requirements.load().items() if requirement.binds and name in checked}
    wrong = [f"nothing wrong breaks {name}, and no reason says why" for name in binding - broken - {*unbroken}]
    wrong += [f"{name} needs no reason for being unbroken" for name in unbroken if name not in binding - broken]
    return sorted(wrong)


def main() -> int:
    """Run; return the exit status."""
    parser = argparse.ArgumentParser(prog="python conformance/mutants", description="Prove that the cases can fail.")
    parser.add_argument("names", nargs="*", metavar="MUTANT", help="only these")
    parser.add_argument("--role", choices=manifest.ROLES, help="only mutants of this role")
    parser.add_argument("--all", action="store_true", help="each mutant against all cases of its role")
    # what is broken is waited for, as a rule, until its time is over
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1), metavar="N", help="default: %(default)s")
    parser.add_argument("--time-scale", type=float, default=0.5, metavar="F")
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    mutants = every()
    known = {mutant.name for mutant in mutants}
    for name in options.names:
        if name not in known:
            print(
                f"python conformance/mutants: there is no mutant {name!r}; they are the functions in {HERE.name}/wrong,"
                f" named like {mutants[0].name}",
                file=sys.stderr,
            )
            return 2
    chosen = [
        mutant
        for mutant in mutants
        if (not options.names or mutant.name in options.names) and options.role in (None, mutant.role)
    ]
    if options.result:
        options.result.write_text(json.dumps(run(chosen, options.all, options.time_scale)))
        return 0
    began = time.monotonic()
    found = spread(chosen, options.all, options.time_scale, max(1, options.jobs))
    wrong = judge(chosen, found)
    if options.all:
        cross(chosen, found)
    if len(chosen) == len(mutants):
        wrong += [f"{case}: nothing kills it and nothing excuses it, or both" for case in unkilled()]
        wrong += whole()
        excuses = reasons("excused")
        print(f"\ncases that no mutant kills yet: {len(excuses)}")
        for case, why in excuses.items():
            print(f"    {case}: {why}")
    roles = ", ".join(f"{count} {role}" for role, count in Counter(mutant.role for mutant in chosen).items())
    print(f"\n{len(chosen)} mutants ({roles}), {len(wrong)} wrong, {time.monotonic() - began:.0f} s")
    for line in wrong:
        print(f"WRONG: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
