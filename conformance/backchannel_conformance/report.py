"""The outcome of a run: ``report.json``, and the table that a person reads.

Stable keys of the JSON: ``suite``, ``spec``, ``platform``, ``implementations``, ``controls``; each of the last two
holds ``name``, ``language``, ``cases``, ``figures``; each case ``id``, ``requirements``, ``status``, ``seconds``,
``message``.
"""

from __future__ import annotations

import json
import platform
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import CONTRACT, SPEC, SUITE
from .html_report import render
from .manifest import Manifest
from .port_output import printable

__all__ = ["STATUSES", "Case", "Report", "Target"]

STATUSES = ("error", "fail", "known", "warn", "untestable", "pass", "not-applicable")
"""Worst first: what a case with several parameters comes to is its worst."""


@dataclass
class Case:
    """One case against one target."""

    id: str
    requirements: list[str]
    status: str
    seconds: float
    message: str = ""
    role: str = "pool"
    broke: str = ""
    """The requirement that does not hold, where one does not."""
    seen: str = ""
    """What was seen instead."""
    frames: list[str] = field(default_factory=list)
    """What went over the channels until then, if the suite was at one end of them."""


@dataclass
class Target:
    """What was tested: an implementation, or a control with the cases that it must fail."""

    manifest: Manifest
    cases: list[Case] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    partial: bool = False
    """Whether the user has chosen among the cases, and perhaps none that it must fail."""

    def record(self, case: Case) -> None:
        """Add what came of a case, or of one more of its parameters, or of its tear-down."""
        for known in self.cases:
            if known.id == case.id:
                seconds = round(known.seconds + case.seconds, 3)
                if STATUSES.index(case.status) < STATUSES.index(known.status):
                    self.cases[self.cases.index(known)] = known = case
                known.seconds = seconds
                return
        self.cases.append(case)

    @property
    def behaved(self) -> bool:
        """Of an implementation, whether nothing failed. Of a control, whether exactly those cases failed that it must
        fail, as far as they can be tested here: at least one, and none of them by an error.
        """
        expected = self.manifest.must_fail
        came = {case.status for case in self.cases if case.id in expected}
        if came - {"fail", "untestable"} or (expected and self.cases and not came and not self.partial):
            return False
        return not any(
            case.status == "error" or (case.status == "fail" and case.id not in expected) for case in self.cases
        )

    def as_json(self) -> dict[str, Any]:
        """As it stands in the report."""
        about = {"name": self.manifest.name, "language": self.manifest.language}
        more = (
            {"behaved": self.behaved, "must_fail": sorted(self.manifest.must_fail)} if self.manifest.is_control else {}
        )
        return {**about, **more, "cases": [asdict(case) for case in self.cases], "figures": self.figures}


class Report:
    """All targets of a run."""

    def __init__(self, manifests: list[Manifest]) -> None:
        self.targets = {manifest.name: Target(manifest) for manifest in manifests}

    def as_json(self) -> dict[str, Any]:
        """The document."""
        targets = self.targets.values()
        return {
            "suite": {"version": SUITE, "contract": CONTRACT},
            "spec": SPEC,
            "platform": {
                "system": platform.system(),
                "release": platform.release(),
                "machine": platform.machine(),
                "python": platform.python_version(),
            },
            "implementations": [target.as_json() for target in targets if not target.manifest.is_control],
            "controls": [target.as_json() for target in targets if target.manifest.is_control],
        }

    def write(self, folder: Path) -> None:
        """Write ``report.json`` and ``report.html`` into ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        document = self.as_json()
        (folder / "report.json").write_text(json.dumps(document, indent=2) + "\n")
        (folder / "report.html").write_text(render(document), encoding="utf-8")

    def table(self) -> list[str]:
        """The summary, as lines."""
        lines = []
        for target in self.targets.values():
            counts = Counter(case.status for case in target.cases)
            told = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status]) or "nothing run"
            if target.manifest.is_control:
                must = ", ".join(sorted(target.manifest.must_fail))
                kind = f"control, must fail {must}" if must else "control, for comparison"
                verdict = "as it should" if target.behaved else "NOT AS IT SHOULD"
            else:
                kind = "implementation"
                verdict = ("holds" if counts["pass"] else "not tested") if target.behaved else "BROKEN"
            lines.append(f"{target.manifest.name:<18} {verdict:<17} {told}   ({kind})")
            for case in target.cases:
                if case.status in ("fail", "error", "known", "warn", "untestable"):
                    lines.append(f"    {case.status:<11} {case.id}: {case.message.partition(chr(10))[0]}")
            lines += [f"    {name}: {_plain(value)}" for name, value in target.figures.items()]
        return lines


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} points"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    return f"{value:.4g}" if isinstance(value, float) else printable(value)
