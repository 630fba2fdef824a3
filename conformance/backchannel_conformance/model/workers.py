"""What the parent knows of one worker and of one listener, and how a worker's state moves.

States move by the table of ``protocol.toml`` alone. A state that does not last for ever has one deadline, which begins
when the state is entered.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import cache
from operator import attrgetter
from typing import Any

from ..requirements import folder
from .actions import Deviation

__all__ = ["COUNTING", "LATE", "READING", "Backlog", "Order", "Worker", "protocol"]

READING = frozenset({"STARTING", "READY", "SUSPECT", "DRAINING"})
"""States in which the channel is still read."""
COUNTING = frozenset({"STARTING", "READY", "SUSPECT"})
"""States of a worker that is not on its way out."""
LATE = {
    "STARTING": ("start_deadline", "BC-KILL-03"),
    "SUSPECT": ("silence_deadline", "BC-SILENT-05"),
    "DRAINING": ("drain_deadline", "BC-DRAIN-02"),
    "LOST": ("exit_deadline", "BC-DEATH-03"),
}
"""What a worker that stays in a state for too long is killed by: event and setting at once, and the requirement."""


@cache
def protocol() -> dict[str, Any]:
    """``protocol.toml``."""
    return tomllib.loads((folder() / "protocol.toml").read_text())


@dataclass(eq=False, slots=True)
class Order:
    """An ACCEPT that has not been answered."""

    number: int
    listener: int
    max: int
    again: bool
    """It is for a connection that an expired order was for (BC-SILENT-03)."""
    due: float | None
    """When it expires; ``None``: it is a welcome (BC-SILENT-01)."""
    expired: bool = False


@dataclass(eq=False, slots=True)
class Worker:
    """A worker as its parent knows it."""

    slot: int
    born: float
    generation: int
    newcomer: bool = False
    """A reload has spawned it, and it has replaced nobody yet."""
    state: str = ""
    until: float | None = None
    """When it will have been in this state for too long."""
    open: int = 0
    capacity: int = 0
    responsive: bool = False
    order: Order | None = None
    last_order: int = 0
    rest: bytes = b""
    """The part of a frame that has been read."""
    said_hello: bool = False
    was_ready: bool = False
    drained: bool = False
    accepted: int = 0
    cool_until: float = float("-inf")
    series: dict[int, int] = field(default_factory=dict)
    """Short answers in a row that accepted nothing, for each listener (BC-SHORT-02)."""
    passed_over: set[int] = field(default_factory=set)
    """Listeners for which others come first (BC-SHORT-01)."""

    def copy(self) -> Worker:
        """The same worker, apart from this one."""
        other = Worker(*_WORKER(self))
        other.order = Order(*_ORDER(self.order)) if self.order else None
        other.series, other.passed_over = dict(self.series), set(self.passed_over)
        return other

    def step(self, event: str, now: float, settings: dict[str, Any]) -> None:
        """Move by the state table. Raises :class:`Deviation` for an event that cannot happen."""
        after = protocol()["slot"][self.state].get(event)
        if after is None:
            raise Deviation(f"{event} of worker {self.slot} cannot happen while it is {self.state} (table slot)")
        if after != self.state:
            self.enter(after, now, settings)

    def enter(self, state: str, now: float, settings: dict[str, Any]) -> None:
        """Be in ``state`` from now on."""
        self.state = state
        self.until = now + settings[LATE[state][0]] if state in LATE else None

    @property
    def next_order(self) -> int:
        """The number of its next order (BC-ACCEPT-01)."""
        return self.last_order + 1 if self.last_order < 0xFFFFFFFF else 1

    @property
    def reserved(self) -> int:
        """Room that its order reserves, expired or not (BC-ROOM-01)."""
        return self.order.max if self.order else 0

    @property
    def load(self) -> int:
        """Open plus reserved."""
        return self.open + self.reserved

    def view(self, now: float) -> dict[str, Any]:
        """As in ``vectors/dispatch.json`` and ``vectors/scaling.json``."""
        order = self.order
        return {
            "slot": self.slot,
            "state": "DRAINING" if self.drained else self.state,  # until it has exited (BC-SCALE-03)
            "open": self.open,
            "capacity": self.capacity,
            "reserved": order.max if order else 0,
            "ordered": order is not None,
            "cooling": self.cool_until > now,
            "passed_over": self.passed_over,
        }


@dataclass(eq=False, slots=True)
class Backlog:
    """What the parent knows of one listener."""

    pending: int = 0
    """As last read."""
    in_flight: int = 0
    owed: int = 0
    retrying: bool = False
    """An owed connection has been ordered again, and that order is neither answered nor expired."""
    stale: bool = True
    """The pending count must be read again before an order relies on it (BC-PEND-02)."""
    cool_until: float = float("-inf")
    drained: bool = False
    """It was last read as 0 while nothing was in flight (BC-STOP-01)."""
    alone: bool = False
    """Nothing was in flight at the last reading (BC-WATCH-04)."""
    left: int = 0
    """What was pending then and has had no order since."""

    def copy(self) -> Backlog:
        """The same, apart from this one."""
        return Backlog(*_BACKLOG(self))

    def look_again(self) -> None:
        """What was read is no longer to be relied on."""
        self.stale, self.drained = True, False


# copies are made of a model at each of many turns that are tried, and `dataclasses.replace` takes five times as long
_WORKER, _ORDER, _BACKLOG = (attrgetter(*kind.__slots__) for kind in (Worker, Order, Backlog))
