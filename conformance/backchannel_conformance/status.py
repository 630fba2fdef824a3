"""The status document of a pool: what its parent believes, to be held against what the kernel and the clients saw."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backchannel_conformance.clock import scaled
from backchannel_conformance.errors import HarnessError

COUNTERS = (
    "orders",
    "probes",
    "accepted",
    "late",
    "voids",
    "short",
    "dead",
    "wakeups",
    "spawned",
    "deaths",
    "kills",
    "retired",
)


@dataclass(frozen=True)
class WorkerStatus:
    slot: int
    pid: int
    state: str
    open: int
    capacity: int
    orders: int
    accepted: int


@dataclass(frozen=True)
class Status:
    pid: int
    state: str
    counters: Mapping[str, int]
    workers: tuple[WorkerStatus, ...]

    def __getitem__(self, counter: str) -> int:
        return self.counters[counter]

    def open_by_slot(self) -> dict[int, int]:
        return {worker.slot: worker.open for worker in self.workers}

    def pid_of(self, slot: int) -> int | None:
        return next((worker.pid for worker in self.workers if worker.slot == slot), None)

    def ready(self) -> list[WorkerStatus]:
        return [worker for worker in self.workers if worker.state == "READY"]

    def counting(self) -> list[WorkerStatus]:
        """The workers that count for scaling: all but those that drain."""
        return [worker for worker in self.workers if worker.state != "DRAINING"]

    @property
    def outstanding(self) -> int:
        """Connections ordered, and the order neither answered, void nor dropped."""
        return self["orders"] - self.ended

    @property
    def ended(self) -> int:
        return self["accepted"] + self["voids"] + self["short"] + self["dead"]


def read_status(path: Path, seconds: float = 10.0) -> Status:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(scaled(seconds))
        try:
            client.connect(str(path))
            octets = b"".join(iter(lambda: client.recv(65536), b""))
        except OSError as error:
            raise HarnessError(f"the status socket does not answer: {error}") from error
    return parse(octets)


def parse(octets: bytes) -> Status:
    """The document, or a HarnessError that says what it lacks; further keys may be present."""
    try:
        data: dict[str, Any] = json.loads(octets)
        workers = tuple(
            WorkerStatus(
                slot=int(item["slot"]),
                pid=int(item["pid"]),
                state=str(item["state"]),
                open=int(item["open"]),
                capacity=int(item["capacity"]),
                orders=int(item["orders"]),
                accepted=int(item["accepted"]),
            )
            for item in data["workers"]
        )
        counters = {name: int(data["counters"][name]) for name in COUNTERS}
        return Status(int(data["pid"]), str(data["state"]), counters, workers)
    except (ValueError, KeyError, TypeError) as error:
        shown = octets[:200].decode("utf-8", "replace")
        raise HarnessError(f"the status document is not one: {error!r} in {shown!r}") from error
