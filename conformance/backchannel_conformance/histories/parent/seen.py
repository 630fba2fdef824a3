"""What was seen of a parent in a step, and what of it is not explained yet."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...model import Action

__all__ = ["Seen"]

Line = dict[str, Any]


@dataclass(frozen=True)
class Seen:
    """What was seen in a step and is not explained yet: by slot what came over the channel, and the kill; the slots of
    new workers; the exit.
    """

    slots: Mapping[int, tuple[Action, ...]]
    spawns: tuple[int, ...]
    status: int | None
    hides: Callable[[str, int], bool]
    """Whether nobody can see that this is done to the worker in this slot."""

    @classmethod
    def of(cls, lines: Sequence[Line], hides: Callable[[str, int], bool]) -> Seen:
        """Sort the lines that :meth:`Stage.look` gives."""
        slots: dict[int, list[Action]] = {}
        spawns, status = [], None
        for line in lines:
            match line["out"]:
                case "Spawn":
                    spawns.append(line["slot"])
                case "Exit":
                    status = line["status"]
                case _:
                    slots.setdefault(line["slot"], []).append(Action.of(line))
        found = {slot: tuple(actions) for slot, actions in slots.items()}
        return cls(found, tuple(sorted(spawns)), status, hides)

    def without(self, action: Action) -> Seen | None:
        """What is left to be explained after ``action``; ``None``: this was not done."""
        do, slot = action.do, action.slot if action.slot is not None else -1
        if do == "Spawn":
            if slot not in self.spawns:
                return None
            at = self.spawns.index(slot)
            return replace(self, spawns=self.spawns[:at] + self.spawns[at + 1 :])
        if do == "GiveUp":
            # whoever is left is killed, or finds the parent gone
            return replace(self, slots={}, spawns=(), status=None) if self.status == action.status else None
        if do not in ("Send", "HalfClose", "Kill"):
            return self  # nothing to be seen
        actions = self.slots.get(slot, ())
        if actions[:1] == (action,):
            return replace(self, slots={**self.slots, slot: actions[1:]})
        if self.hides(do, slot):
            return self
        if do == "HalfClose" and actions and actions[0].do == "Kill":
            return self  # both in this step: the half-close cannot be seen any more
        return None

    @property
    def is_explained(self) -> bool:
        """Whether nothing is left."""
        return not any(self.slots.values()) and not self.spawns and self.status is None
