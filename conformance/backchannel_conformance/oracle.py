"""The suite's own idea of dispatch and scaling, written from the specification and not from any implementation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

__all__ = ["Sizer", "best", "growth", "least_loaded", "lowest", "orders", "pick", "room", "wants"]


def lowest(held: Mapping[int, int], capacity: int) -> int | None:
    """BC-PICK-01: the lowest slot with room. ``held`` maps slots to connections; ``None``: nobody has room."""
    return min((slot for slot, count in held.items() if count < capacity), default=None)


def least_loaded(held: Mapping[int, int], capacity: int) -> int | None:
    """BC-PICK-02, BC-PICK-07: the smallest share of its capacity, ties to the lowest slot."""
    free = [slot for slot, count in held.items() if count < capacity]
    return min(free, key=lambda slot: (Fraction(held[slot], capacity), slot), default=None)


def pick(policy: str, held: Mapping[int, int], capacities: Mapping[int, int]) -> int | None:
    """BC-PICK-01 and BC-PICK-02 for workers of different capacities."""
    free = [slot for slot in held if held[slot] < capacities[slot]]
    if policy == "lowest":
        return min(free, default=None)
    return min(free, key=lambda slot: (Fraction(held[slot], capacities[slot]), slot), default=None)


def growth(start: int, most: int, min_spare: int, capacity: int) -> list[int]:
    """BC-SCALE-04, BC-SCALE-05 and BC-SCALE-22: the sizes of a pool whose workers all stay STARTING, pass by pass."""
    sizes, rate = [start], 1
    while (spare := sizes[-1] * capacity) < min_spare and sizes[-1] < most:
        lacking = -((spare - min_spare) // capacity)
        sizes.append(sizes[-1] + min(rate, lacking, most - sizes[-1]))
        rate = min(2 * rate, 32)
    return sizes


def choosable(pool: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The workers that may be chosen.

    A worker is a mapping with ``slot``, ``state``, ``open``, ``capacity``, ``reserved`` (``max`` of its unanswered
    order), and, where they are not empty, ``ordered`` (it owes an answer), ``cooling``, ``passed_over``.
    """
    return [
        worker
        for worker in pool
        if worker["state"] == "READY"
        and not worker.get("ordered", worker["reserved"] > 0)
        and not worker.get("cooling")
        and worker["open"] + worker["reserved"] < worker["capacity"]
    ]


def best(policy: str, pool: Iterable[Mapping[str, Any]], listener: int) -> list[int]:
    """The slots that may be chosen for ``listener``, best first; passed over ones only if there are no others."""
    may = choosable(pool)
    fresh = [worker for worker in may if listener not in worker.get("passed_over", ())]

    def rank(worker: Mapping[str, Any]) -> tuple[Fraction, int]:
        load = Fraction(worker["open"] + worker["reserved"], worker["capacity"])
        return (load if policy == "least-loaded" else Fraction(0)), worker["slot"]

    return [worker["slot"] for worker in sorted(fresh or may, key=rank)]


def orders(case: Mapping[str, Any]) -> list[dict[str, int]]:
    """The orders of one dispatch, as in ``vectors/dispatch.json``."""
    pool = [dict(worker) for worker in case["workers"]]
    backlogs = [dict(backlog) for backlog in case["listeners"]]
    turn = case["turn"]
    made: list[dict[str, int]] = []
    for backlog in backlogs:
        backlog["retrying"] = backlog.get("retrying", False)
    while True:
        for step in range(len(backlogs)):
            listener = (turn + step) % len(backlogs)
            backlog = backlogs[listener]
            wanted, again = wants(backlog)
            slots = best(case["policy"], pool, listener)
            if wanted and slots and not backlog.get("cooling"):
                break
        else:
            return made
        worker = next(worker for worker in pool if worker["slot"] == slots[0])
        if listener in worker.get("passed_over", ()):
            for other in pool:
                if other["slot"] in slots:
                    other["passed_over"] = [index for index in other.get("passed_over", ()) if index != listener]
        most = min(share(wanted, pool), worker["capacity"] - worker["open"], case["max_per_order"])
        made.append({"slot": slots[0], "listener": listener, "max": most})
        worker["reserved"], worker["ordered"] = most, True
        backlog["in_flight"] += most
        if again:
            backlog["retrying"] = True
            backlog["owed"] -= most
        turn = (listener + 1) % len(backlogs)


def share(wanted: int, pool: Iterable[Mapping[str, Any]]) -> int:
    """BC-PICK-10, BC-PICK-11: a fair share of what is wanted."""
    return -(-wanted // len(choosable(pool)))


def wants(backlog: Mapping[str, Any]) -> tuple[int, bool]:
    """How many connections one order may be for now, and whether they are ones that expired orders were for.

    BC-PEND-01; BC-SILENT-03: the latter one at a time, and after the others.
    """
    free = backlog["pending"] - backlog["in_flight"]
    if free > backlog["owed"]:
        return free - backlog["owed"], False
    return (1, True) if free > 0 and not backlog["retrying"] else (0, False)


@dataclass
class Sizer:
    """Scaling, pass by pass (the rules of scaling.rst). ``rules`` are the ``[scaling]`` settings."""

    rules: Mapping[str, Any]
    capacity: int
    rate: int = 1
    last: float = float("-inf")
    deaths: int = 0
    not_before: float = float("-inf")
    failures: int = 0
    no_start_before: float = float("-inf")

    def could_not_start(self, now: float) -> None:
        """The system gave nothing to make a worker of (BC-SCALE-14)."""
        delay = min(self.rules["early_exit_delay"] * 2**self.failures, self.rules["early_exit_delay_ceiling"])
        self.failures += 1
        self.no_start_before = now + delay

    def early_exit(self, now: float) -> None:
        """A worker exited early."""
        delay = min(self.rules["early_exit_delay"] * 2**self.deaths, self.rules["early_exit_delay_ceiling"])
        self.deaths += 1
        self.not_before = max(self.not_before, now + delay)

    def served(self) -> None:
        """The series of early exits is broken."""
        self.deaths, self.not_before = 0, float("-inf")

    def turn(self, now: float, pool: Sequence[Mapping[str, Any]]) -> tuple[int, int | None]:
        """One pass: how many to spawn, and the slot to retire."""
        rules = self.rules
        count = [worker for worker in pool if worker["state"] != "DRAINING"]
        ready = [worker for worker in pool if worker["state"] == "READY"]
        starting = sum(worker["state"] == "STARTING" for worker in pool)
        spare = sum(map(room, ready))
        by_spare = -(-(rules["min_spare"] - spare - starting * self.capacity) // self.capacity)
        lacking = max(rules["min"] - len(count), by_spare, 0)
        left = rules["max"] - len(count)
        short = lacking > 0 and left > 0
        if not short:
            self.rate = 1
        if now < self.last + rules["pass"]:
            return 0, None
        if short:
            if now < max(self.not_before, self.no_start_before):
                return 0, None
            spawned = min(self.rate, lacking, left)
            self.rate, self.last = min(2 * self.rate, rules["spawn_rate_ceiling"]), now
            return spawned, None
        draining = len(pool) - len(count)
        if spare <= rules["max_spare"] or len(count) <= rules["min"] or draining >= rules["max_draining"] or not ready:
            return 0, None
        victim = min(ready, key=lambda worker: (worker["open"] + worker["reserved"], -worker["slot"]))
        if spare - room(victim) < rules["min_spare"]:
            return 0, None
        self.last = now
        return 0, victim["slot"]


def room(worker: Mapping[str, Any]) -> int:
    """What it could still be given."""
    return max(0, int(worker["capacity"] - worker["open"] - worker["reserved"]))
