"""The status document of a pool, read with suspicion: a port may send anything, of any length, without end."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import processes
from .errors import ContractError
from .waiting import deadline_in, scale

__all__ = ["Status", "read"]

MOST = 1 << 22
"""Octets: a pool of ten thousand workers needs half of it."""
LIMIT = 15.0


@dataclass(frozen=True)
class Status:
    """A status document."""

    counters: Mapping[str, int]
    workers: tuple[Mapping[str, Any], ...]
    state: str
    generation: int = 1
    reloading: bool = False
    successor: int | None = None
    pid: int = 0

    def slots(self, state: str | None = None) -> dict[int, Mapping[str, Any]]:
        """Workers by slot; only those in ``state`` if one is given."""
        return {worker["slot"]: worker for worker in self.workers if state in (None, worker["state"])}

    def pids(self) -> dict[int, int]:
        """Process ids by slot."""
        return {worker["slot"]: worker["pid"] for worker in self.workers}

    @property
    def open(self) -> int:
        """Connections that all workers hold, by the parent's figures."""
        return sum(worker["open"] for worker in self.workers)

    @property
    def quiet(self) -> bool:
        """Every worker is READY and holds nothing."""
        return all(worker["state"] == "READY" and not worker["open"] for worker in self.workers)


def read(path: str) -> Status:
    """Ask for the document, and check it: each process that it names must exist, and be one that the suite may touch.

    Raises ``OSError`` where nothing listens, and :class:`ContractError` for anything that is not a status document.
    """
    found = _checked(_fetch(path))
    gone = _ended(found)
    if gone:
        # it may have ended since the document was written; the next one says what the parent knows by now
        again = _checked(_fetch(path))
        for what, pid in _ended(again).items():
            if gone.get(what) == pid:
                raise ContractError(f"{what} is process {pid}, which has ended: {processes.RIGHT}")
        return again
    return found


def _ended(status: Status) -> dict[str, int]:
    return {what: pid for what, pid in _named(status) if processes.ended(pid)}


def _named(status: Status) -> list[tuple[str, int]]:
    """Each process that it names, and for what."""
    where = "the status document says that"
    named = [(f"{where} the worker in slot {worker['slot']}", worker["pid"]) for worker in status.workers]
    if status.pid:
        named.append((f"{where} the parent", status.pid))
    if status.successor is not None:
        named.append((f"{where} the successor", status.successor))
    return named


def _fetch(path: str) -> object:
    """The document, whatever it is. It is read for a limited time and to a limited length."""
    deadline = deadline_in(LIMIT)
    data = bytearray()
    with socket.socket(socket.AF_UNIX) as reader:
        reader.settimeout(LIMIT * scale())
        reader.connect(path)
        while part := _receive(reader, deadline):
            data += part
            if len(data) > MOST:
                raise ContractError(f"the status document has more than {MOST} octets")
    try:
        found: object = json.loads(data)
    except (ValueError, RecursionError):
        raise ContractError(f"the status document is not JSON; it begins {bytes(data[:100])!r}") from None
    return found


def _receive(reader: socket.socket, deadline: float) -> bytes:
    left = deadline - time.monotonic()
    if left <= 0:
        raise ContractError(f"the status document had not ended after {LIMIT * scale():g} s")
    reader.settimeout(left)
    try:
        return reader.recv(1 << 16)
    except TimeoutError:
        raise ContractError(f"the status document had not ended after {LIMIT * scale():g} s") from None


def _checked(document: object) -> Status:
    """Its shape, and whose processes it names."""
    if not isinstance(document, dict):
        raise ContractError("the status document is not a JSON object")
    counters, workers, state = (document.get(key) for key in ("counters", "workers", "state"))
    if not isinstance(counters, dict) or not all(map(_is_count, counters.values())):
        raise ContractError("the status document has no 'counters', an object of whole numbers, none below 0")
    if not isinstance(workers, list) or not all(map(_is_worker, workers)):
        raise ContractError(
            "the status document has no 'workers', a list of objects with 'slot', 'open', 'capacity', 'orders' and "
            "'accepted', whole numbers from 0 up, 'pid' and 'state'"
        )
    if not isinstance(state, str):
        raise ContractError("the status document has no 'state', a string")
    more = {}
    for key, right in (("generation", _is_count), ("reloading", _is_flag), ("successor", None), ("pid", None)):
        if key in document:
            more[key] = document[key]
            if right is not None and not right(document[key]):
                raise ContractError(f"the status document says that {key!r} is {str(document[key])[:60]!r}")
    where = "the status document says that"
    for worker in workers:
        processes.claimed(worker["pid"], f"{where} the worker in slot {worker['slot']}")
    if "pid" in more:
        processes.claimed(more["pid"], f"{where} the parent")
    if more.get("successor") is not None:
        processes.claimed(more["successor"], f"{where} the successor")
    return Status(counters, tuple(workers), state, **more)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 64


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_worker(value: object) -> bool:
    figures = ("slot", "open", "capacity", "orders", "accepted")
    return (
        isinstance(value, dict)
        and all(_is_count(value.get(key)) for key in figures)
        and isinstance(value.get("state"), str)
        and "pid" in value
    )
