"""How many histories, from which seed on, and where a failing one is saved: what ``run`` was told, for its cases."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Plan", "plan"]

HISTORIES = 0
"""As many as a run plays that is not told how many: they are not in the default run before they never call a right
parent wrong."""
CHUNK = 15
"""Histories that are played on one parent, one after the other."""
STEPS = 10
"""Of one history."""


@dataclass(frozen=True)
class Plan:
    """What is to be played."""

    seed: int = 1
    histories: int = HISTORIES
    save: Path | None = None
    shrinks: bool = True
    """Whether one that fails is made as short as it can be."""

    @property
    def seeds(self) -> range:
        """One for each parent."""
        return range(self.seed, self.seed + max(1, -(-self.histories // CHUNK)))


_plan = Plan()


def plan(new: Plan | None = None) -> Plan:
    """The plan of this run; sets it when one is given."""
    global _plan
    if new is not None:
        _plan = new
    return _plan
