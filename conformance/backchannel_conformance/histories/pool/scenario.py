"""Histories of role *pool*, made up by chance: the same ones for the same seed.

Nothing is said about which worker serves whom. A step names clients by number, and a worker by the client that it
serves or by its place among the slots, so that every part of a history can be played.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Step", "histories"]

STEPS: Final = 12
"""Of one history."""
MOST: Final = 9
"""Clients that a history keeps open: more than there is room for at capacity 1."""
WEIGHTS: Final = {
    "hold": 24,
    "who": 16,
    "burst": 8,
    "again": 6,
    "release": 18,
    "reset": 4,
    "kill server": 5,
    "kill holder": 4,
    "freeze": 5,
    "thaw": 0,
    "kill stopped": 0,
    "stop parent": 3,
    "reload": 3,
}
"""How often each is chosen."""


@dataclass(frozen=True, slots=True)
class Step:
    """What happens next. ``number`` names the client, the slot, or how many."""

    what: str
    number: int = 0

    def __str__(self) -> str:
        at = self.number
        return {
            "hold": f"client {at} connects and stays",
            "who": f"{at} clients connect, one after another",
            "burst": f"{at} clients connect at once",
            "again": f"client {at} asks once more",
            "release": f"client {at} closes",
            "reset": f"client {at} resets its connection",
            "kill server": "a client connects, and the worker that served it is killed",
            "kill holder": f"the worker that serves client {at} is killed",
            "freeze": f"the worker in slot {at} is stopped",
            "thaw": "the worker that was stopped goes on",
            "kill stopped": "the worker that was stopped is killed",
            "stop parent": f"the parent is stopped, {at} clients connect, and it goes on",
            "reload": "the pool is reloaded (SIGHUP)",
        }[self.what]


def histories(seed: int, count: int, slots: int, *, reload: bool) -> Iterator[list[Step]]:
    """``count`` of them, which one pool of ``slots`` workers can live through one after the other."""
    for at in range(count):
        yield _history(random.Random(f"{seed}/{at}"), slots, reload)


def _history(dice: random.Random, slots: int, reload: bool) -> list[Step]:
    steps: list[Step] = []
    clients: list[int] = []
    frozen = 0
    made = 0
    while len(steps) < STEPS:
        weights = dict(WEIGHTS, reload=WEIGHTS["reload"] * reload)
        if frozen:
            # soon, because each order that it gets meanwhile costs a deadline; and only a whole pool is reloaded
            weights |= {"freeze": 0, "reload": 0, "kill server": 0, "kill holder": 0}
            weights |= {"thaw": 20 * frozen, "kill stopped": 10 * frozen}
            frozen += 1
        if len(clients) >= MOST:
            weights["hold"] = 0
        if not clients:
            weights |= dict.fromkeys(("again", "release", "reset", "kill holder"), 0)
        what = dice.choices(list(weights), list(weights.values()))[0]
        number = 0
        match what:
            case "hold":
                number = made
                made += 1
                clients.append(number)
            case "again" | "kill holder":
                number = dice.choice(clients)
            case "release" | "reset":
                number = clients.pop(dice.randrange(len(clients)))
            case "who" | "burst" | "stop parent":
                number = dice.randint(1, 8)
            case "freeze":
                number, frozen = dice.randrange(slots), 1
            case "thaw" | "kill stopped":
                frozen = 0
        steps.append(Step(what, number))
    return steps
