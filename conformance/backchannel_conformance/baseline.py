"""Known failures: a file lists what a port does not keep, so that a run fails only for what is not listed.

A baseline is TOML: a table for each implementation, and in it the requirements that do not hold, each with the reason.

    [mine]
    BC-BUSY-09 = "EMPTY and PEER are not told apart yet"

A failure that is listed does not fail the run. One that is not listed does, and so does a *stale* entry, one whose
requirement holds by now.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from .errors import UsageError
from .port_output import printable
from .report import Case, Target
from .requirements import Requirements

__all__ = ["Baseline"]

HEAD = """\
# Requirements that are known not to hold, by implementation, each with the reason: see --baseline.
"""


class Baseline:
    """The failures that are known, by implementation and requirement."""

    def __init__(self, entries: Mapping[str, Mapping[str, str]], *, records: bool = False) -> None:
        self._entries = entries
        self._records = records
        self._found: dict[str, dict[str, str]] = {}

    @classmethod
    def load(cls, path: Path) -> Baseline:
        """Read and check a file. Raises :class:`UsageError`."""
        try:
            entries = tomllib.loads(path.read_text())
        except OSError as error:
            raise UsageError(f"--baseline {path}: {error.strerror}; --write-baseline {path} writes one") from None
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"--baseline {path} is not TOML: {error}") from None
        known = Requirements.load()
        for name, table in entries.items():
            if not isinstance(table, dict):
                raise UsageError(f"--baseline {path}: {name} stands outside a table; write [IMPLEMENTATION] above it")
            for requirement, reason in table.items():
                if requirement not in known:
                    near = difflib.get_close_matches(requirement, list(known), 1)
                    hint = f"; did you mean {near[0]}?" if near else ""
                    raise UsageError(f"--baseline {path}: the specification has no {requirement}{hint}")
                if not isinstance(reason, str) or not reason.strip():
                    raise UsageError(f"--baseline {path}: {name}.{requirement} has no reason; say why it does not hold")
        return cls(entries)

    @classmethod
    def recorder(cls, path: Path) -> Baseline:
        """One that takes every failure as known, to be written to ``path``; reasons that stand there are kept."""
        return cls(cls.load(path)._entries if path.exists() else {}, records=True)

    def reason(self, implementation: str, case: Case) -> str | None:
        """Why ``case`` is known to fail; ``None`` if it is not known to."""
        requirement = broken_by(case)
        reason = self._entries.get(implementation, {}).get(requirement)
        reason = reason and printable(reason)
        if self._records:
            reason = reason or (case.seen or case.message).partition("\n")[0]
            self._found.setdefault(implementation, {})[requirement] = reason
        return reason

    def stale(self, target: Target) -> list[str]:
        """Entries for requirements that hold: at least one case ran for them, and all that ran have passed."""
        return [] if self._records else [name for name in self._listed(target) if _holds(name, target.cases)]

    def _listed(self, target: Target) -> Iterable[str]:
        return self._entries.get(target.manifest.name, {})

    def write(self, path: Path) -> int:
        """Write what was recorded; returns how many entries there are."""
        tables = [
            f"\n[{json.dumps(name)}]\n" + "".join(f"{key} = {json.dumps(table[key])}\n" for key in sorted(table))
            for name, table in sorted(self._found.items())
        ]
        path.write_text(HEAD + "".join(tables))
        return sum(map(len, self._found.values()))


def broken_by(case: Case) -> str:
    """The requirement that a failure is known by. An error knows none: it goes by the first that its case checks."""
    return case.broke or case.requirements[0]


def _holds(requirement: str, cases: Iterable[Case]) -> bool:
    ran = {
        case.status
        for case in cases
        if requirement in (*case.requirements, case.broke) and case.status not in ("not-applicable", "untestable")
    }
    return ran == {"pass"}
