"""What a parent may be seen to do, and what it still has to do.

An :class:`Action` is one visible step of a parent. :class:`Due` holds the actions that must come, in a partial order:
what goes to one worker comes in the order in which it was decided, and what goes to different workers at once may be
seen in any order. In a trace the decisions themselves are seen, so there a pass is in its own order as well
(BC-PASS-01).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import frames

__all__ = ["Action", "Deviation", "Due"]


class Deviation(Exception):
    """Something is not what the specification leads to. The message names the requirement, and both sides."""


@dataclass(frozen=True, slots=True)
class Action:
    """One visible step of a parent. ``clause`` says which requirement asks for it, and has no part in comparisons."""

    do: str
    """``Send`` (always an ACCEPT), ``Spawn``, ``HalfClose``, ``Kill``, ``CloseListeners``, ``Release``, ``Reloaded``,
    ``GiveUp``.
    """
    slot: int | None = None
    order: int = 0
    """The order number of an ACCEPT."""
    listener: int = 0
    max: int = 0
    status: int | None = None
    """Of ``GiveUp``."""
    failed: bool = False
    """Of ``Reloaded``."""
    other: str = ""
    """The octets of a ``Send`` that are no ACCEPT of this version."""
    clause: str = field(default="", compare=False)

    @classmethod
    def of(cls, line: Mapping[str, Any]) -> Action:
        """The action in a line of a trace."""
        slot = line.get("slot")
        match line["out"]:
            case "Send":
                return cls.accept(slot, bytes.fromhex(line["data"]))
            case "GiveUp":
                return cls("GiveUp", status=line["status"])
            case "Reloaded":
                return cls("Reloaded", failed=bool(line["failure"]))
            case name:
                return cls(name, slot)

    @classmethod
    def accept(cls, slot: int | None, octets: bytes) -> Action:
        """The action behind ``octets`` that were read from the channel of ``slot``."""
        try:
            message = frames.decode(octets, "parent")
        except (frames.Violation, ValueError):
            return cls("Send", slot, other=octets.hex())
        return cls("Send", slot, message["order"], message["listener"], message["max"])

    def __str__(self) -> str:
        match self.do:
            case "Send" if self.other:
                return f"the octets {self.other} to worker {self.slot}"
            case "Send":
                return f"ACCEPT order={self.order} listener={self.listener} max={self.max} to worker {self.slot}"
            case "Spawn":
                return f"a spawn in slot {self.slot}"
            case "HalfClose":
                return f"a half-close of the channel of worker {self.slot} (its drain)"
            case "Kill":
                return f"SIGKILL to worker {self.slot} and the end of its channel"
            case "CloseListeners":
                return "the close of all listeners"
            case "Release":
                return "the close of the baton"
            case "Reloaded":
                return "the end of the reload, which has " + ("failed" if self.failed else "succeeded")
            case _:
                return f"the end of the parent with status {self.status}"


class Due:
    """Actions that must come, in a partial order. ``strict``: as in a trace, where each decision is seen by itself."""

    __slots__ = ("_actions", "_rank", "strict")

    def __init__(self, *, strict: bool = False) -> None:
        self.strict = strict
        self._actions: list[tuple[int, Action]] = []
        self._rank = 0

    def __iter__(self) -> Any:
        return (action for _, action in self._actions)

    def __len__(self) -> int:
        return len(self._actions)

    def copy(self) -> Due:
        """The same actions, apart from these."""
        other = Due(strict=self.strict)
        other._actions, other._rank = self._actions[:], self._rank
        return other

    def then(self) -> None:
        """What is added from now on was decided after what has been added before."""
        self._rank += 1

    def add(self, action: Action) -> None:
        """``action`` has been decided."""
        self._actions.append((self._rank, action))

    def next(self) -> list[Action]:
        """What may come next."""
        return [
            action
            for at, (rank, action) in enumerate(self._actions)
            if not any(self._before(*other, rank, action) for other in self._actions[:at])
        ]

    def came(self, action: Action) -> bool:
        """``action`` was seen; ``False`` if it is not one of those that may come next."""
        if action not in self.next():
            return False
        at = next(at for at, (_, due) in enumerate(self._actions) if due == action)
        del self._actions[at]
        return True

    def _before(self, rank: int, first: Action, later: int, second: Action) -> bool:
        """Whether ``second`` must not come before ``first``."""
        if "GiveUp" in (first.do, second.do) or "Reloaded" in (first.do, second.do):
            return False  # these are said to the log: no requirement says when
        if first.slot is not None and first.slot == second.slot:
            return True  # one channel keeps the order: an ACCEPT comes before the half-close (BC-DRAIN-01)
        if first.do == "Release":
            return second.do in ("HalfClose", "Kill")  # BC-BATON-02
        if not self.strict:
            return False
        return rank < later or first.do == second.do == "Spawn"  # the smallest slot first (BC-SCALE-10)
