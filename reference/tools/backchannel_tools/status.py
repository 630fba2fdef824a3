"""The status document of any pool, read, checked, and compared with the one before.

Its form is in the adapter contract. What the contract calls optional may be missing here: a port need not have it.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

__all__ = ["Rates", "Sample", "StatusError", "Worker", "read"]

PATIENCE = 5.0
"""Seconds for a pool to answer."""


class StatusError(Exception):
    """There is no status document to be had; the message says where, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker, as its parent sees it."""

    slot: int
    pid: int | None
    state: str
    open: int
    capacity: int
    orders: int
    accepted: int
    voids: int | None
    age: float | None
    generation: int | None


@dataclass(frozen=True, slots=True)
class Sample:
    """A pool at ``when``, on the monotonic clock."""

    when: float
    document: Mapping[str, Any]
    pid: int
    state: str
    addresses: tuple[str, ...]
    counters: Mapping[str, int]
    workers: tuple[Worker, ...]

    @classmethod
    def of(cls, document: Any, when: float) -> Self:
        """The sample in ``document``. Raises :class:`StatusError` naming what is missing or senseless."""
        try:
            return cls(
                when,
                document,
                int(document["pid"]),
                str(document["state"]),
                tuple(str(listener["address"]) for listener in document["listeners"]),
                {str(name): int(count) for name, count in document["counters"].items()},
                tuple(_worker(worker) for worker in document["workers"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StatusError(f"this is no status document of the adapter contract: {_what(error)}") from None

    @property
    def open(self) -> int:
        """Connections that are held."""
        return sum(worker.open for worker in self.workers)

    @property
    def capacity(self) -> int:
        """Connections that could be held."""
        return sum(worker.capacity for worker in self.workers)

    @property
    def spare(self) -> int:
        """What workers that are READY could still take, orders under way not counted."""
        return sum(max(0, worker.capacity - worker.open) for worker in self.workers if worker.state == "READY")

    @property
    def served(self) -> int:
        """Connections accepted, late answers included."""
        return self.counters.get("accepted", 0) + self.counters.get("late", 0)

    @property
    def bounds(self) -> tuple[int, int] | None:
        """Between what and what ``spare`` is kept; ``None`` if the pool does not say, or does not size itself."""
        rules = self.document.get("scaling")
        if not isinstance(rules, dict) or rules.get("min") == rules.get("max"):
            return None
        low, high = rules.get("min_spare"), rules.get("max_spare")
        return (low, high) if isinstance(low, int) and isinstance(high, int) else None

    @property
    def generation(self) -> int | None:
        """The newest one, which may not serve yet, or never; ``None`` if the pool does not say."""
        newest = self.document.get("generation")
        return newest if isinstance(newest, int) else None

    @property
    def serving(self) -> list[int]:
        """The generations of all workers that are READY."""
        return [worker.generation for worker in self.workers if worker.state == "READY" and worker.generation]

    @property
    def fell_through(self) -> bool:
        """Whether the last reload has failed: it is over, and an older generation serves."""
        if self.generation is None or self.document.get("reloading"):
            return False
        return bool(self.serving) and max(self.serving) < self.generation

    @property
    def board(self) -> str:
        """The board line; made up from the states if the pool has none."""
        board = self.document.get("board")
        if isinstance(board, str):
            return board
        letters = {worker.slot: _letter(worker) for worker in self.workers}
        return "".join(letters.get(slot, ".") for slot in range(max(letters, default=-1) + 1))


@dataclass(frozen=True, slots=True)
class Rates:
    """What changed between two samples of one pool, per second."""

    served: float
    voids: float
    wakeups: float
    workers: Mapping[int, float]
    """Connections accepted, by process id: a slot's next worker starts anew."""

    @classmethod
    def between(cls, before: Sample, after: Sample) -> Rates | None:
        """``None`` when the pool has been started anew in between."""
        seconds = after.when - before.when
        if before.pid != after.pid or seconds <= 0 or after.served < before.served:
            return None
        accepted = {worker.pid: worker.accepted for worker in before.workers}
        return cls(
            (after.served - before.served) / seconds,
            (after.counters.get("voids", 0) - before.counters.get("voids", 0)) / seconds,
            (after.counters.get("wakeups", 0) - before.counters.get("wakeups", 0)) / seconds,
            {
                worker.pid: (worker.accepted - accepted.get(worker.pid, 0)) / seconds
                for worker in after.workers
                if worker.pid is not None
            },
        )


def read(path: Path) -> Sample:
    """Ask the pool whose status socket is ``path``. Raises :class:`StatusError`."""
    deadline = time.monotonic() + PATIENCE
    pieces = []
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(str(path))
            while piece := sock.recv(65536):
                pieces.append(piece)
                sock.settimeout(max(0.001, deadline - time.monotonic()))
    except FileNotFoundError:
        raise StatusError(f"{path}: there is no such socket; start the pool with --status {path}") from None
    except ConnectionRefusedError:
        why = "nobody answers; the pool that made it has gone" if path.is_socket() else "this is no socket"
        raise StatusError(f"{path}: {why}") from None
    except TimeoutError:
        raise StatusError(f"{path}: no answer within {PATIENCE:g} s; is the parent stopped?") from None
    except OSError as error:
        raise StatusError(f"{path}: {error.strerror or error}") from None
    when = time.monotonic()
    try:
        document = json.loads(b"".join(pieces))
    except ValueError:
        raise StatusError(f"{path}: what answers there is no pool: it sent no JSON") from None
    return Sample.of(document, when)


def _worker(found: Mapping[str, Any]) -> Worker:
    pid, voids, age, generation = (found.get(name) for name in ("pid", "voids", "age", "generation"))
    return Worker(
        int(found["slot"]),
        None if pid is None else int(pid),
        str(found["state"]),
        int(found["open"]),
        int(found["capacity"]),
        int(found["orders"]),
        int(found["accepted"]),
        None if voids is None else int(voids),
        None if age is None else float(age),
        None if generation is None else int(generation),
    )


def _letter(worker: Worker) -> str:
    if worker.state == "READY":
        return "I" if not worker.open else "B" if worker.open >= worker.capacity else "b"
    return {"SUSPECT": "?"}.get(worker.state, worker.state[:1])


def _what(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)
