"""Run the suite against an implementation with one target changed, until a case fails: one mutant.

    python one.py TARGET PLACE RIGHT TIME-SCALE LIMIT ORDER

PLACE is what :func:`targets.prepare` made, and RIGHT the same without the change. LIMIT is how many seconds a case
may take: in one that takes longer the mutant has caught the suite, which counts as a failure of the case. ORDER is
JSON: the cases that are to be run first, and the one that noticed the mutant in an earlier run. Any other that fails
must fail three times, and must pass once where nothing is changed: a busy machine may fail a case. The last line says
what came of it. Exit status: 1 if a case failed; 0 if none did; any other: the run itself went wrong.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import FrameType

import pytest
from backchannel_conformance.cli import CASES, QUIET, in_own_folder
from backchannel_conformance.fixtures import Fixtures
from backchannel_conformance.histories.plan import Plan, plan
from backchannel_conformance.plugin import Suite, case_of, manifest_of
from backchannel_conformance.waiting import scale
from targets import TARGETS, changed

MEMORY = 2 << 30
"""Octets that a process of a mutant may have."""
HISTORIES = 100
"""Of each role: they look at everything, so they come before the cases that look at one thing."""
TIMES = 3
"""So often a case must fail."""
MUTANT, RIGHT = "mutant", "right"
"""Names of the two implementations."""


class Hung(Exception):
    """A case has come to no verdict."""


class Conduct:
    """The plugin of the run: which cases come when, how often, and how long each may take."""

    def __init__(self, first: list[str], last: str, limit: float) -> None:
        self._places = {case: place for place, case in reversed(list(enumerate(first)))}
        self._last = last
        self._limit = limit
        self._noticed = ""
        self.verdict = ""
        """The case that has noticed the mutant, and the requirement that it names, or what came instead."""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        self._controls = {_key(item): item for item in items if manifest_of(item).name == RIGHT}
        items[:] = [item for item in items if manifest_of(item).name == MUTANT]
        items.sort(key=self._place)

    def _place(self, item: pytest.Item) -> tuple[bool, bool, int]:
        case = case_of(item)
        return case != self._last, not _is_broad(item), self._places.get(case, len(self._places))

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        for item in session.items:
            if self._is_evidence(item):
                break
        return True

    def _is_evidence(self, item: pytest.Item) -> bool:
        """Whether the case notices the mutant. What fails once on a busy machine is no evidence, nor is what fails
        whatever it runs against.
        """
        is_known = case_of(item) == self._last
        if not all(self._notices(item) for _ in range(1 if is_known else TIMES)):
            return False
        said = self._noticed
        if not is_known and self._notices(self._controls[_key(item)]):
            return False
        self.verdict = said
        return True

    def _notices(self, item: pytest.Item) -> bool:
        """Run it; whether anything is wrong."""
        self._noticed = ""
        # again and again: the end of a case may be caught as well
        signal.setitimer(signal.ITIMER_REAL, self._limit, 10)
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return bool(self._noticed)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        case = report.case
        if case["status"] in ("fail", "error", "warn") and not self._noticed:
            self._noticed = f"{case['id']} {case['broke'] or case['status']}"

    def give_up(self, number: int, frame: FrameType | None) -> None:
        """End what the case waits for, in the case, so that all that it has started is ended by it."""
        raise Hung(f"no verdict within {self._limit:g} s")


def _key(item: pytest.Item) -> str:
    """The same for a case and for its control."""
    return item.nodeid.replace(f"[{MUTANT}", "[").replace(f"[{RIGHT}", "[")


def _is_broad(item: pytest.Item) -> bool:
    """Whether it looks at everything: a generated history."""
    return "histor" in item.path.name


def main() -> int:
    """Run; return the exit status."""
    target, place, right, factor, limit, order = sys.argv[1:]
    scale(float(factor))
    plan(Plan(histories=HISTORIES, shrinks=False))
    # inherited by all that is started: a mutant may ask for all the memory that there is
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    both = [replace(changed(target, Path(where)), name=name) for name, where in ((MUTANT, place), (RIGHT, right))]
    suite = Suite(both, strict=False)
    conduct = Conduct(**json.loads(order), limit=float(limit))
    signal.signal(signal.SIGALRM, conduct.give_up)
    folders = [str(CASES / case) for case in TARGETS[target].cases]
    with contextlib.redirect_stdout(io.StringIO()):
        status = in_own_folder([*QUIET, *folders], [suite, Fixtures(), conduct])
    if conduct.verdict:
        print(conduct.verdict)
        return 1
    ran = suite.report.targets[MUTANT].cases
    return 0 if ran and status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) else 2


if __name__ == "__main__":
    raise SystemExit(main())
