"""The backchannel protocol without I/O.

Bytes, events and monotonic time in; bytes and actions out. Put it under any loop:

- :class:`~backchannel.worker.WorkerSide` is a worker's end of its channel,
- :class:`~backchannel.parent.Parent` is the parent's end of all channels,
- :mod:`backchannel.frames` is the codec, :mod:`backchannel.states` the state tables.

No module of this package imports a socket, a selector, a process or a clock. A worker loads nothing of the parent's.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .errors import SettingError, Violation
from .exec_binding import ExecStart, read_variables
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
from .states import CLEAN, CONFIGURATION, PROTOCOL, ParentState, SlotState, WorkerState
from .worker import WorkerSide

if TYPE_CHECKING:
    from .actions import Action, CloseListeners, GiveUp, HalfClose, Kill, Note, Release, Reloaded, Send, Spawn
    from .counters import Counters
    from .parent import Parent
    from .settings import POLICIES, Scaling, Settings
    from .sizing import Decision, Memory, WorkerView, decide
else:
    _ACTIONS = "Action CloseListeners GiveUp HalfClose Kill Note Release Reloaded Send Spawn"
    _THE_PARENTS = {
        **dict.fromkeys(_ACTIONS.split(), ".actions"),
        "Counters": ".counters",
        "Parent": ".parent",
        **dict.fromkeys(("POLICIES", "Scaling", "Settings"), ".settings"),
        **dict.fromkeys(("Decision", "Memory", "WorkerView", "decide"), ".sizing"),
    }

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
    "ParentState",
    "Reason",
    "Release",
    "Reloaded",
    "Scaling",
    "Send",
    "SettingError",
    "Settings",
    "SlotState",
    "Spawn",
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
