"""Run the suite against the sync reference with one module changed, until a case fails.

    python one.py MODULE FILE TIME-SCALE ROLE...

FILE holds the module as it is to be. Exit status: 1 if a case failed, and the last line says which; 0 if none did; any
other: the run itself went wrong.
"""

from __future__ import annotations

import contextlib
import io
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from backchannel_conformance import manifest
from backchannel_conformance.cli import CASES
from backchannel_conformance.fixtures import Fixtures
from backchannel_conformance.plugin import Suite
from backchannel_conformance.waiting import scale

PROGRAM = str(Path(__file__).parents[1] / "mutants" / "mutate.py")


def changed(module: str, file: str, roles: list[str]) -> manifest.Manifest:
    """The sync reference, with its commands loading ``file`` as ``module``."""
    sync = manifest.find("sync")
    wrong = {}
    for name in roles:
        role = sync.roles[name]
        commands = {key: (line[0], PROGRAM, f"{module}={file}", *line[1:]) for key, line in role.commands.items()}
        wrong[name] = replace(role, commands=commands)
    return replace(sync, roles=wrong)


def main() -> int:
    """Run; return the exit status."""
    module, file, factor, *roles = sys.argv[1:]
    scale(float(factor))
    suite = Suite([changed(module, file, roles)], strict=False)
    folders = [str(CASES / role) for role in roles]
    options = ["-x", "-p", "no:terminal", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
    with contextlib.redirect_stdout(io.StringIO()):
        status = pytest.main(["-c", str(CASES.parent / "pytest.ini"), *folders, *options], plugins=[suite, Fixtures()])
    (target,) = suite.report.targets.values()
    failed = [case for case in target.cases if case.status in ("fail", "error", "warn")]
    if not target.cases:
        return 2
    if failed:
        broke = f" ({failed[0].broke})" if failed[0].broke else f" ({failed[0].status})"
        print(f"by {failed[0].id}{broke}")
        return 1
    return 0 if status == pytest.ExitCode.OK else 2


if __name__ == "__main__":
    raise SystemExit(main())
