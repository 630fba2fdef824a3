"""What a pool says of itself: the status document, the one-line board, and both of them as log lines.

The board has one letter for each slot, as users of SpamAssassin and Apache know it: ``IIBBS`` is two idle workers, two
busy ones and one that starts.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from backchannel import Parent, ParentState, SlotState
from backchannel.slots import Worker

__all__ = ["board", "document", "log_status"]

log = logging.getLogger("backchannel.status")

_LETTERS: Final = {
    SlotState.STARTING: "S",
    SlotState.SUSPECT: "?",
    SlotState.DRAINING: "D",
    SlotState.LOST: "L",
    SlotState.KILLED: "K",
}

_STATES: Final = {
    ParentState.STANDBY: "standby",
    ParentState.RUNNING: "running",
    ParentState.YIELDING: "yielding",
    ParentState.STOPPING: "stopping",
    ParentState.DRAINING: "stopping",
}


def board(parent: Parent) -> str:
    """One letter for each slot: ``I`` idle, ``b`` busy with room left, ``B`` full, ``S`` starting, ``D`` draining,
    ``?`` suspect, ``L`` has closed its channel, ``K`` killed and not gone yet, ``.`` no worker.
    """
    slots = range(max(parent.workers, default=-1) + 1)
    return "".join(_letter(worker) if (worker := parent.workers.get(slot)) else "." for slot in slots)


def _letter(worker: Worker) -> str:
    if worker.state is not SlotState.READY:
        return _LETTERS[worker.state]
    if not worker.open + worker.reserved:
        return "I"
    return "b" if worker.room else "B"


def document(
    parent: Parent,
    names: Sequence[str],
    pids: Mapping[int, int],
    wakeups: int,
    now: float,
    successor: int | None = None,
) -> dict[str, Any]:
    """The status document of the adapter contract. ``names`` are the listeners' addresses, ``pids`` by slot;
    ``successor`` is the process id of a parent that is to replace this one.
    """
    return {
        "spec": "1.0",
        "pid": os.getpid(),
        "state": _STATES[parent.state],
        "generation": parent.generation,
        "reloading": parent.reloading,
        "successor": successor,
        "board": board(parent),
        "scaling": {name: getattr(parent.scaling, name) for name in ("min", "max", "min_spare", "max_spare")},
        "listeners": [{"address": name} for name in names],
        "counters": {**asdict(parent.counters), "wakeups": wakeups},
        "workers": [_worker(worker, pids.get(slot), now) for slot, worker in sorted(parent.workers.items())],
    }


def _worker(worker: Worker, pid: int | None, now: float) -> dict[str, Any]:
    return {
        "slot": worker.slot,
        "pid": pid,
        "state": worker.state.value,
        "generation": worker.generation,
        "open": worker.open,
        "capacity": worker.capacity,
        "orders": worker.ordered,
        "accepted": worker.accepted,
        "expired": worker.expired,
        "age": round(now - worker.spawned_at, 3),
    }


def log_status(status: Mapping[str, Any]) -> None:
    """A line for the pool and a line for each worker; the same figures are attributes of the log records."""
    counters = status["counters"]
    log.info(
        "%s %s: %d orders, %d accepted, %d expired, %d workers spawned, %d died",
        status["board"],
        status["state"],
        counters["orders"],
        counters["accepted"],
        counters["expired"],
        counters["spawned"],
        counters["deaths"],
        extra={"event": "status", "board": status["board"], "counters": counters},
    )
    for worker in status["workers"]:
        log.info(
            "worker in slot %(slot)d (pid %(pid)s) %(state)s: %(open)d of %(capacity)d open, %(orders)d ordered, "
            "%(accepted)d accepted, %(expired)d expired, generation %(generation)d, %(age).0f s old",
            worker,
            extra={"event": "worker status", "worker": worker},
        )
