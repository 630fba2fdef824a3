"""Run the suite against an implementation with one target changed, until a case fails: one mutant.

    python one.py TARGET PLACE TIME-SCALE LIMIT ORDER

PLACE is what :func:`targets.prepare` made. LIMIT is how many seconds a case may take: in one that takes longer the
mutant has caught the suite, which counts as a failure of the case. ORDER is JSON: the cases that are to be run first,
and the one that noticed the mutant in an earlier run. Any other that fails must fail three times: a busy machine may
fail a case. The last line says what came of it. Exit status: 1 if a case failed; 0 if none did; any other: the run
itself went wrong.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest
from backchannel_conformance.cli import CASES
from backchannel_conformance.fixtures import Fixtures
from backchannel_conformance.plugin import Suite, case_of
from backchannel_conformance.waiting import scale
from targets import TARGETS, changed

MEMORY = 2 << 30
"""Octets that a process of a mutant may have."""


class Noticed(NamedTuple):
    """That something is wrong."""

    item: str
    """pytest's id."""
    case: str
    broke: str
    """The requirement, or what it was instead of a violation."""


class Hung(Exception):
    """A case has come to no verdict."""


class Conduct:
    """The plugin of a run: which cases come when, how long each may take, and that the first that fails is the last.

    ``skipped`` are left out; with ``only``, all others are.
    """

    def __init__(self, suite: Suite, first: list[str], limit: float, skipped: set[str], only: str) -> None:
        self._suite = suite
        self._places = {case: place for place, case in reversed(list(enumerate(first)))}
        self._limit = limit
        self._skipped = skipped
        self._only = only
        self.noticed: Noticed | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid not in self._skipped and self._only in ("", item.nodeid)]
        items.sort(key=lambda item: (self._places.get(case_of(item), len(self._places)), not _is_broad(item)))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        # again and again: the end of a case may be caught as well
        signal.setitimer(signal.ITIMER_REAL, self._limit, 10)
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            (target,) = self._suite.report.targets.values()
            for case in target.cases:
                if case.status in ("fail", "error", "warn"):  # pytest goes on after advice that is not followed
                    self.noticed = Noticed(item.nodeid, case.id, case.broke or case.status)
                    item.session.shouldstop = "noticed"

    def give_up(self, number: int, frame: FrameType | None) -> None:
        """End what the case waits for, in the case, so that all that it has started is ended by it."""
        raise Hung(f"no verdict within {self._limit:g} s")


def _is_broad(item: pytest.Item) -> bool:
    """Whether it looks at everything: a generated history."""
    return "histor" in item.path.name


def run(target: str, place: Path, limit: float, first: list[str], skipped: set[str], only: str = "") -> Noticed | None:
    """What the cases notice, if anything."""
    suite = Suite([changed(target, place)], strict=False)
    conduct = Conduct(suite, first, limit, skipped, only)
    signal.signal(signal.SIGALRM, conduct.give_up)
    folders = [str(CASES / case) for case in TARGETS[target].cases]
    options = ["-p", "no:terminal", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]
    with contextlib.redirect_stdout(io.StringIO()):
        status = pytest.main(
            ["-c", str(CASES.parent / "pytest.ini"), *folders, *options], plugins=[suite, Fixtures(), conduct]
        )
    if not conduct.noticed and status != pytest.ExitCode.OK:
        raise SystemExit(int(status) + 10)
    return conduct.noticed


def main() -> int:
    """Run; return the exit status."""
    target, place, factor, limit, order = sys.argv[1:]
    scale(float(factor))
    # inherited by all that is started: a mutant may ask for all the memory that there is
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    told: dict[str, Any] = json.loads(order)
    skipped: set[str] = set()
    while noticed := run(target, Path(place), float(limit), told["first"], skipped):
        # what fails once on a busy machine is no evidence, unless it is what failed the last time
        again = (run(target, Path(place), float(limit), [], set(), noticed.item) for _ in range(2))
        if noticed.case == told["last"] or all(again):
            print(f"{noticed.case} {noticed.broke}")
            return 1
        skipped.add(noticed.item)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
