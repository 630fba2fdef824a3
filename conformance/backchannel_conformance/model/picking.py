"""Which worker is ordered for which listener, and for how many: pure functions, written from the specification."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

__all__ = ["best", "choosable", "least_loaded", "lowest", "orders", "pick", "share", "wants"]


def lowest(held: Mapping[int, int], capacity: int) -> int | None:
    """BC-PICK-01: the lowest slot with room. ``held`` maps slots to connections; ``None``: nobody has room."""
    return min((slot for slot, count in held.items() if count < capacity), default=None)


def least_loaded(held: Mapping[int, int], capacity: int) -> int | None:
    """BC-PICK-02: the smallest share of its capacity, ties to the lowest slot."""
    free = [slot for slot, count in held.items() if count < capacity]
    return min(free, key=lambda slot: (Fraction(held[slot], capacity), slot), default=None)


def pick(policy: str, held: Mapping[int, int], capacities: Mapping[int, int]) -> int | None:
    """BC-PICK-01 and BC-PICK-02 for workers of different capacities."""
    free = [slot for slot in held if held[slot] < capacities[slot]]
    if policy == "lowest":
        return min(free, default=None)
    return min(free, key=lambda slot: (Fraction(held[slot], capacities[slot]), slot), default=None)


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
    """BC-PICK-03: a fair share of what is wanted."""
    return -(-wanted // len(choosable(pool)))


def wants(backlog: Mapping[str, Any]) -> tuple[int, bool]:
    """How many connections one order may be for now, and whether they are ones that expired orders were for.

    BC-PEND-01; BC-SILENT-03: the latter one at a time, and after the others.
    """
    free = backlog["pending"] - backlog["in_flight"]
    if free > backlog["owed"]:
        return free - backlog["owed"], False
    return (1, True) if free > 0 and not backlog["retrying"] else (0, False)
