"""The backchannel protocol without I/O.

Bytes, events and monotonic time in; bytes and actions out. Put it under any loop:

- :class:`~backchannel.worker.WorkerSide` is a worker's end of its channel,
- :class:`~backchannel.parent.Parent` is the parent's end of all channels; it stands on :mod:`backchannel.roster`, the
  workers' lives, and :mod:`backchannel.dispatching`, who is ordered to accept what,
- :mod:`backchannel.frames` is the codec, :mod:`backchannel.machines` the state tables.

No module of this package imports a socket, a selector, a process or a clock. A worker loads nothing of the parent's.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .actions import Action, CloseListeners, GiveUp, HalfClose, Kill, Note, Release, Reloaded, Send, Spawn
from .binding import ExecStart, read_variables
from .errors import SettingError, Violation
from .frames import (
    FRAME_SIZE,
    VERSION,
    Accept,
    Busy,
    Features,
    Frame,
    FrameReader,
    Gone,
    Hello,
    Idle,
    Reason,
    Type,
    decode,
    decode_hello,
    encode,
)
from .machines import PoolState, State, WorkerState
from .scaling import Decision, Memory, WorkerView, decide
from .settings import POLICIES, Scaling, Settings
from .worker import CLEAN, CONFIGURATION, PROTOCOL, WorkerSide

if TYPE_CHECKING:
    from .parent import Parent
    from .roster import Counters
else:
    _THE_PARENTS = {"Parent": ".parent", "Counters": ".roster"}

    def __getattr__(name: str) -> object:
        """What is the parent's is loaded when somebody asks for it."""
        if name in _THE_PARENTS:
            return getattr(import_module(_THE_PARENTS[name], __name__), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "CLEAN",
    "CONFIGURATION",
    "FRAME_SIZE",
    "POLICIES",
    "PROTOCOL",
    "VERSION",
    "Accept",
    "Action",
    "Busy",
    "CloseListeners",
    "Counters",
    "Decision",
    "ExecStart",
    "Features",
    "Frame",
    "FrameReader",
    "GiveUp",
    "Gone",
    "HalfClose",
    "Hello",
    "Idle",
    "Kill",
    "Memory",
    "Note",
    "Parent",
    "PoolState",
    "Reason",
    "Release",
    "Reloaded",
    "Scaling",
    "Send",
    "SettingError",
    "Settings",
    "Spawn",
    "State",
    "Type",
    "Violation",
    "WorkerSide",
    "WorkerState",
    "WorkerView",
    "decide",
    "decode",
    "decode_hello",
    "encode",
    "read_variables",
]
