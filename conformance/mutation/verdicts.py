"""What came of the mutants: a report that a later run takes up, and the sites that need no verdict.

A report is the memory of the measurement. It says which mutants still survive, which need not be judged again, and
which case noticed each: the next run begins with that one, so that what was noticed before costs a second.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

__all__ = [
    "KILLED",
    "NO_MUTANT",
    "RESULTS",
    "SURVIVED",
    "Reason",
    "Report",
    "Verdict",
    "excuses",
    "survivors",
]

HERE: Final = Path(__file__).parent
EQUIVALENT: Final = HERE / "equivalent.toml"
SURVIVORS: Final = HERE / "survivors.toml"
RESULTS: Final = HERE / "results"
"""Reports of the measurements that the documentation shows."""

KILLED, SURVIVED, NO_MUTANT = "killed", "survived", "no mutant"


@dataclass(frozen=True)
class Verdict:
    """What came of one mutant."""

    site: str
    part: str
    module: str
    what: str
    """The change, in words."""
    verdict: str
    """*killed*, *survived*, or *no mutant* for what does not compile."""
    by: str = ""
    """The case that failed, and the requirement that it named."""
    seconds: float = 0.0


class Report:
    """Verdicts by site, in a file that is written after each."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self.verdicts: dict[str, Verdict] = {}

    def load(self) -> None:
        """Take up what an earlier run has left, if there was one."""
        if self._path and self._path.exists():
            for row in json.loads(self._path.read_text())["verdicts"]:
                self.verdicts[row["site"]] = Verdict(**row)

    def keep(self, known: Iterable[str]) -> None:
        """Forget what is of none of these sites: the source has changed since."""
        here = set(known)
        self.verdicts = {name: verdict for name, verdict in self.verdicts.items() if name in here}

    def add(self, verdict: Verdict) -> None:
        """Note it, and write the file, whole or not at all."""
        self.verdicts[verdict.site] = verdict
        if self._path:
            rows = [asdict(verdict) for _, verdict in sorted(self.verdicts.items())]
            beside = self._path.with_suffix(".new")
            beside.write_text(json.dumps({"verdicts": rows}, indent=1) + "\n")
            os.replace(beside, self._path)


@dataclass(frozen=True)
class Reason:
    """What is to be said of a site."""

    site: str
    line: str
    """The line of the source that is changed, as it stands there: a reader need not look for it, and a test does."""
    why: str


def excuses() -> dict[str, Reason]:
    """By site: why nothing outside can tell it from the reference."""
    return _reasons(EQUIVALENT, "equivalent")


def survivors() -> dict[str, Reason]:
    """By site that has survived: which check is missing."""
    return _reasons(SURVIVORS, "survivor")


def _reasons(path: Path, key: str) -> dict[str, Reason]:
    table = tomllib.loads(path.read_text()) if path.exists() else {}
    return {entry["site"]: Reason(**entry) for entry in table.get(key, [])}
