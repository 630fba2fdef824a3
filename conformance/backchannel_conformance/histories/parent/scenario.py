"""A scenario: what a parent is started with, and the steps that are played against it, as plain data.

The steps name workers by slot and leave out what follows from the history, such as the number of the order that is
answered. So a scenario whose first half is left out is still one, which is what makes it possible to shrink it.

======== ==========================================================================================================
step     what it is
======== ==========================================================================================================
connect  ``count`` clients connect to ``listener``
take     ``count`` connections of ``listener`` are accepted by nobody in particular
write    the worker in ``slot`` writes ``frames``, in one piece or in several, cut after the octets in ``cuts``
end      the worker in ``slot`` ends its channel: ``how`` is ``close``, or ``half`` for its own half
exit     the worker in ``slot`` exits with ``status``, by a signal if that is below 0; ``channel`` says when the channel
         ends: ``before`` the exit, with it (``close``), or not (``keep``)
signal   the parent is sent the signal ``name``
together the ``steps`` are done while the parent is stopped: it finds all of it at once
wait     until the parent's next deadline has passed, or ``seconds``
======== ==========================================================================================================

A frame is ``{"type": "HELLO" | "BUSY" | "STATUS" | "octets", ...}``; of a ``BUSY`` a step may say ``accepted``,
``reason``, ``ended`` (connections whose end is folded in) and ``capacity``; ``wrong`` adds to fields of the frame. Any
other figure is the one that a correct worker would report.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Line", "Scenario"]

Line = dict[str, Any]


@dataclass
class Scenario:
    """``options`` are placeholders of the contract that are not at their defaults."""

    options: Mapping[str, str]
    steps: list[Line] = field(default_factory=list)
    seed: int | None = None

    def but(self, steps: Sequence[Line]) -> Scenario:
        """The same with other steps."""
        return Scenario(self.options, list(steps), self.seed)

    @property
    def listeners(self) -> int:
        """How many."""
        return len(self.options.get("listen", "one").split(","))

    def dumps(self) -> str:
        """As JSON, a step on each line."""
        steps = ",\n  ".join(json.dumps(step) for step in self.steps)
        head = json.dumps({"seed": self.seed, "options": self.options})
        return f'{head[:-1]}, "steps": [\n  {steps}\n]}}\n'

    @classmethod
    def load(cls, path: Path) -> Scenario:
        """One that was saved."""
        data = json.loads(path.read_text(encoding="utf-8"))
        return cls(data["options"], data["steps"], data.get("seed"))
