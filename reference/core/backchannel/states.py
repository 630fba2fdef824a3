"""The state machines, as tables.

``TABLE[state][event]`` is the next state. An event that a state does not list cannot happen in it: looking it up
raises, so a forgotten transition is an error by construction. The tables are those of ``spec/1.0/protocol.toml``, and
a test keeps them equal.

The parent keeps one :data:`SLOT` machine for each worker, and is one :data:`PARENT` machine itself; a worker is one
:data:`WORKER` machine.

Members of the enumerations are the keys of the tables, and are looked up for each connection. So they hash by identity,
which is what they are compared by; by default Python would call a function that hashes their names.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = [
    "CLEAN",
    "CONFIGURATION",
    "DISPATCHING",
    "ENDING",
    "NEVER_AGAIN",
    "PARENT",
    "PROTOCOL",
    "READING",
    "SIZING",
    "SLOT",
    "WORKER",
    "ParentEvent",
    "ParentState",
    "SlotEvent",
    "SlotState",
    "WorkerEvent",
    "WorkerState",
]

CLEAN: Final = 0
"""Exit status of a worker: drained, nothing left to do."""
PROTOCOL: Final = 76
"""Exit status of a worker: the parent broke the protocol or speaks no version of ours (BC-VIOL-03)."""
CONFIGURATION: Final = 78
"""Exit status of a worker: it can never start; do not try again in a loop (BC-SCALE-13)."""
NEVER_AGAIN: Final = frozenset({PROTOCOL, CONFIGURATION})
"""Exit statuses of workers that can never start (BC-SCALE-13)."""


class SlotState(Enum):
    """What a worker is to its parent."""

    __hash__ = object.__hash__

    STARTING = "STARTING"
    READY = "READY"
    SUSPECT = "SUSPECT"
    DRAINING = "DRAINING"
    LOST = "LOST"
    KILLED = "KILLED"
    EXITED = "EXITED"


class SlotEvent(Enum):
    """What can happen to a worker, as its parent sees it."""

    __hash__ = object.__hash__

    HELLO = "hello"
    WELCOMED = "welcomed"
    EXPIRED = "expired"
    LATE_ANSWER = "late_answer"
    DRAIN = "drain"
    START_DEADLINE = "start_deadline"
    STOP = "stop"
    SILENCE_DEADLINE = "silence_deadline"
    DRAIN_DEADLINE = "drain_deadline"
    EXIT_DEADLINE = "exit_deadline"
    VIOLATION = "violation"
    EOF = "eof"
    EXIT = "exit"


_E = SlotEvent
_S = SlotState

SLOT: Final[dict[SlotState, dict[SlotEvent, SlotState]]] = {
    _S.STARTING: {
        _E.HELLO: _S.STARTING,
        _E.WELCOMED: _S.READY,
        _E.DRAIN: _S.DRAINING,
        _E.START_DEADLINE: _S.KILLED,
        _E.STOP: _S.KILLED,
        _E.VIOLATION: _S.KILLED,
        _E.EOF: _S.LOST,
        _E.EXIT: _S.EXITED,
    },
    _S.READY: {
        _E.EXPIRED: _S.SUSPECT,
        _E.DRAIN: _S.DRAINING,
        _E.VIOLATION: _S.KILLED,
        _E.EOF: _S.LOST,
        _E.EXIT: _S.EXITED,
    },
    _S.SUSPECT: {
        _E.LATE_ANSWER: _S.READY,
        _E.DRAIN: _S.DRAINING,
        _E.SILENCE_DEADLINE: _S.KILLED,
        _E.VIOLATION: _S.KILLED,
        _E.EOF: _S.LOST,
        _E.EXIT: _S.EXITED,
    },
    _S.DRAINING: {
        _E.HELLO: _S.DRAINING,
        _E.EXPIRED: _S.DRAINING,
        _E.LATE_ANSWER: _S.DRAINING,
        _E.DRAIN_DEADLINE: _S.KILLED,
        _E.VIOLATION: _S.KILLED,
        _E.EOF: _S.LOST,
        _E.EXIT: _S.EXITED,
    },
    _S.LOST: {
        _E.EXIT_DEADLINE: _S.KILLED,
        _E.EXIT: _S.EXITED,
    },
    _S.KILLED: {
        _E.EXIT: _S.EXITED,
    },
}

READING: Final = frozenset({SlotState.STARTING, SlotState.READY, SlotState.SUSPECT, SlotState.DRAINING})
"""States in which what a worker writes is read, and an order may still be answered."""


class WorkerState(Enum):
    """What a worker is to itself."""

    __hash__ = object.__hash__

    STARTING = "STARTING"
    GREETED = "GREETED"
    SERVING = "SERVING"
    RETIRING = "RETIRING"
    DRAINING = "DRAINING"
    EXITED = "EXITED"


class WorkerEvent(Enum):
    """What can happen to a worker, as it sees it."""

    __hash__ = object.__hash__

    HELLO = "hello"
    ORDER = "order"
    RETIRE = "retire"
    EOF = "eof"
    VIOLATION = "violation"
    FINISHED = "finished"
    DRAIN_DEADLINE = "drain_deadline"


_F = WorkerEvent
_W = WorkerState

WORKER: Final[dict[WorkerState, dict[WorkerEvent, WorkerState]]] = {
    _W.STARTING: {_F.HELLO: _W.GREETED, _F.EOF: _W.DRAINING, _F.VIOLATION: _W.DRAINING},
    _W.GREETED: {_F.ORDER: _W.SERVING, _F.EOF: _W.DRAINING, _F.VIOLATION: _W.DRAINING},
    _W.SERVING: {
        _F.ORDER: _W.SERVING,
        _F.RETIRE: _W.RETIRING,
        _F.EOF: _W.DRAINING,
        _F.VIOLATION: _W.DRAINING,
    },
    _W.RETIRING: {_F.ORDER: _W.RETIRING, _F.EOF: _W.DRAINING, _F.VIOLATION: _W.DRAINING},
    _W.DRAINING: {_F.FINISHED: _W.EXITED, _F.DRAIN_DEADLINE: _W.EXITED},
}


class ParentState(Enum):
    """What a parent is doing."""

    STANDBY = "STANDBY"
    """Its workers may start, but another parent has the listeners still."""
    RUNNING = "RUNNING"
    YIELDING = "YIELDING"
    """A successor is to have the listeners: nothing is ordered any more, what was ordered is waited for."""
    STOPPING = "STOPPING"
    """What is pending is served, then all workers are drained."""
    DRAINING = "DRAINING"


class ParentEvent(Enum):
    """What can happen to a parent."""

    BATON = "baton"
    HAND_OVER = "hand_over"
    KEEP = "keep"
    RELOAD = "reload"
    REPLACE = "replace"
    SETTLED = "settled"
    STOP = "stop"
    STOP_DEADLINE = "stop_deadline"


_G = ParentEvent
_P = ParentState


def _heeds(**events: ParentState) -> dict[ParentEvent, ParentState | None]:
    return {event: events.get(event.value) for event in ParentEvent}


PARENT: Final[dict[ParentState, dict[ParentEvent, ParentState | None]]] = {
    _P.STANDBY: _heeds(baton=_P.RUNNING, stop=_P.DRAINING),
    _P.RUNNING: _heeds(hand_over=_P.YIELDING, reload=_P.RUNNING, replace=_P.RUNNING, stop=_P.STOPPING),
    _P.YIELDING: _heeds(keep=_P.RUNNING, settled=_P.DRAINING, stop=_P.STOPPING),
    _P.STOPPING: _heeds(settled=_P.DRAINING, stop_deadline=_P.DRAINING),
    _P.DRAINING: _heeds(),
}
"""Anything may happen to a parent at any time, so every event stands in every state. ``None``: it has no effect."""

DISPATCHING: Final = frozenset({ParentState.RUNNING, ParentState.STOPPING})
"""States in which a parent orders what is pending."""
SIZING: Final = frozenset({ParentState.STANDBY, ParentState.RUNNING})
"""States in which a parent spawns and retires."""
ENDING: Final = frozenset({ParentState.STOPPING, ParentState.DRAINING})
"""States that a parent leaves only by its end."""
