"""A trace of a parent, checked: every input is replayed, and each action must be one that follows from it.

A parent's decisions are a function of what it has read, its settings and the time (BC-RULE-01). The trace's form is
that of ``spec/1.0/vectors/parent.json``: settings first, then inputs (``in``) and actions (``out``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from .actions import Action, Deviation
from .parent import Model

__all__ = ["Replay", "check_trace"]


def check_trace(lines: Iterable[str]) -> int:
    """Check a whole trace; return how many lines it had. Raises :class:`Deviation`."""
    replay, count, asked = None, 0, False
    for count, text in enumerate(lines, 1):
        if not text.endswith("\n"):
            break  # the process was killed while it wrote this one
        line = json.loads(text)
        try:
            if replay is None:
                replay = Replay(line)
            elif "in" in line:
                if asked:
                    replay.settled()
                replay.told(line)
            else:
                replay.asked(line)
            asked = "out" in line or line.get("in") == "scale"  # after which a pass does what it has decided
        except Deviation as deviation:
            raise Deviation(f"line {count}: {deviation}: {text.strip()[:200]}") from None
    return count


class Replay:
    """A model that is led through a trace, line by line."""

    def __init__(self, header: Mapping[str, Any]) -> None:
        self.model = Model(
            header["settings"],
            header["scaling"],
            header["listeners"],
            state=header.get("state", "RUNNING"),
            strict=True,
        )

    def told(self, line: Mapping[str, Any]) -> None:
        """An input."""
        self.model.told(line)

    def asked(self, line: Mapping[str, Any]) -> None:
        """An action. What the parent says to its log is its own affair."""
        if line["out"] != "Note":
            self.model.saw(Action.of(line))

    def settled(self) -> None:
        """Nothing more is asked for."""
        self.model.settled()
